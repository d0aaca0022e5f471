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
        for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
            axes.plot([x(tick)] * 2, [top, bottom], color=LINE, linewidth=0.6, zorder=0)
            write(axes, x(tick), bottom + 0.06, numbers.percent(tick), 8, ha="center", va="top", color=SOFT)
        for place, row in enumerate(rows):
            y = top + step * place
            write(axes, left, y + 0.12, row.label, 8, va="center")
            y += 0.31
            if numbers.known(row.low) and numbers.known(row.high):
                axes.plot([x(row.low), x(row.high)], [y, y], color=BLUE, linewidth=1.4, zorder=2, solid_capstyle="butt")
            if numbers.known(row.observed):
                axes.plot([x(row.observed)], [y], marker="o", markersize=6, color=BLUE, zorder=4)
            for share, (marker, color) in zip(row.noise, (("|", ORANGE), ("x", GREY))):
                if numbers.known(share):
                    axes.plot([x(share)], [y], marker=marker, markersize=8, markeredgewidth=2, color=color, zorder=3)
        legend = (("o", BLUE, "Observed, with interval"), ("|", ORANGE, kinds[0]), ("x", GREY, kinds[1]))
        for place, (marker, color, text) in enumerate(legend):
            y = bottom + 0.48 + 0.26 * place
            axes.plot([0.28], [y], marker=marker, markersize=7, markeredgewidth=2, color=color, linestyle="none")
            write(axes, 0.48, y, text, 8, va="center", color=SOFT)
        return svg(figure)
