"""Figure of ruptures: shares by criterion beside what noise alone gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alliance.reports import numbers
from alliance.reports.drawing import BLUE, LINE, ORANGE, SOFT, canvas, style, svg, write

GREY = "#6b7683"


@dataclass(frozen=True)
class Beside:
    """The share of clients with a rupture by one criterion, its interval, and the shares that two kinds of noise give (NaN: not known)."""

    label: str
    observed: float
    low: float
    high: float
    noise: Sequence[float]


def panel(rows: Sequence[Beside], *, axis: str, kinds: Sequence[str]) -> bytes:
    """Return one line a criterion: the observed share with its interval, and the shares of noise as marks.

    Parameters
    ----------
    rows : sequence of Beside
    axis : str
        What the level axis measures.
    kinds : sequence of str
        Names of the two kinds of noise.

    Returns
    -------
    bytes
        SVG, narrow enough for a 320 px screen.
    """
    width, step, top = 3.4, 0.46, 0.42
    left, right = 0.2, width - 0.25
    bottom = top + step * len(rows)

    def x(share: float) -> float:
        return left + (right - left) * share

    with style():
        figure, axes = canvas(width, bottom + 1.3)
        write(axes, 0.1, 0.17, axis, 8.5, va="center")
        for tick in (0.0, 0.5, 1.0):
            axes.plot([x(tick)] * 2, [top, bottom], color=LINE, linewidth=0.6, zorder=0)
            write(axes, x(tick), bottom + 0.06, numbers.percent(tick), 8, ha="center", va="top", color=SOFT)
        for place, row in enumerate(rows):
            y = top + step * place
            write(axes, left, y + 0.12, row.label, 8, va="center")
            if numbers.known(row.low) and numbers.known(row.high):
                axes.plot([x(row.low), x(row.high)], [y + 0.31] * 2, color=BLUE, linewidth=1.4, zorder=2, solid_capstyle="butt")
        looks = (("|", ORANGE, 8), ("x", GREY, 7), ("o", BLUE, 6))
        shares = [*zip(*(row.noise for row in rows)), [row.observed for row in rows]]
        # All marks of a kind at once: a drawing of each would be many times larger.
        for (marker, color, size), values in zip(looks, shares):
            places = [(x(share), top + step * place + 0.31) for place, share in enumerate(values) if numbers.known(share)]
            if places:
                axes.plot(*zip(*places), marker=marker, markersize=size, markeredgewidth=2, color=color, linestyle="none", zorder=4)
        legend = (("o", BLUE, "Found"), ("|", ORANGE, kinds[0]), ("x", GREY, kinds[1]))
        for place, (marker, color, text) in enumerate(legend):
            y = bottom + 0.48 + 0.26 * place
            axes.plot([0.28], [y], marker=marker, markersize=7, markeredgewidth=2, color=color, linestyle="none")
            write(axes, 0.48, y, text, 8, va="center", color=SOFT)
        return svg(figure)
