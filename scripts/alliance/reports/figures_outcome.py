"""Figures of the alliance and its outcome: who rated what, when, and at which level the differences lie."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from alliance.reports import numbers
from alliance.reports.drawing import BLUE, LINE, ORANGE, SOFT, STEPS, canvas, fitted, ink_on, style, svg, tick_text, ticks, write

AVERAGED = "averaged"
PART_SHADES = (STEPS[-1], STEPS[2], STEPS[1], STEPS[0])


@dataclass(frozen=True)
class Square:
    """A square of a matrix: a correlation, its interval as printed, and whether it is marked."""

    value: float = math.nan
    interval: str = ""
    marked: bool = False


@dataclass(frozen=True)
class Series:
    """Points with intervals along the phases of a curve, with published figures beside them; NaN where there is none."""

    label: str
    values: Sequence[float]
    lows: Sequence[float]
    highs: Sequence[float]
    published: Sequence[float] = ()


def rater_matrix(
    rows: Sequence[str],
    columns: Sequence[str],
    squares: Sequence[Sequence[Square]],
    *,
    row_title: str,
    column_title: str,
    mark: str,
    decimals: int = 2,
    narrow: bool = False,
) -> bytes:
    """Return correlations of every rater of one thing with every rater of another as shaded squares.

    Parameters
    ----------
    rows, columns : sequence of str
        Raters.
    squares : sequence of sequences of Square
        One row a rater of ``rows``.
    row_title, column_title : str
        What was rated.
    mark : str
        What marked squares are.
    decimals : int
        Decimals of the correlations.
    narrow : bool
        True for a 320 px screen.

    Returns
    -------
    bytes
        SVG.
    """
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    width = 3.4 if narrow else 6.4
    left = 0.95 if narrow else 1.75
    cell = min((width - left - 0.12) / max(len(columns), 1), 1.4)
    tall = 0.6 if narrow else 0.76
    top = 0.72
    bottom = top + tall * len(rows)
    colours = LinearSegmentedColormap.from_list("correlation", [ORANGE, "#ffffff", BLUE])
    scale = Normalize(-0.8, 0.8)
    size = 7.5 if narrow else 8.5
    with style():
        figure, axes = canvas(width, bottom + 0.5)
        start = 0.1 if narrow else left + 0.03
        write(axes, start, 0.17, fitted(column_title, width - start - 0.05, size, True), size, True, va="center")
        write(axes, 0.1, top - 0.22, row_title, size, True, va="center")
        for column, label in enumerate(columns):
            write(axes, left + cell * (column + 0.5), top - 0.22, label, size, ha="center", va="center")
        for row, label in enumerate(rows):
            y = top + tall * row
            write(axes, 0.1, y + tall / 2, label, size, va="center")
            for column, square in enumerate(squares[row]):
                x = left + cell * column
                x_corners = [x + 0.03, x + cell - 0.03, x + cell - 0.03, x + 0.03]
                y_corners = [y + 0.03, y + 0.03, y + tall - 0.03, y + tall - 0.03]
                centred = {"ha": "center", "va": "center"}
                if not numbers.known(square.value):
                    axes.fill(x_corners, y_corners, facecolor="#f1f3f5", linewidth=0)
                    write(axes, x + cell / 2, y + tall / 2, numbers.UNKNOWN, size, color=SOFT, **centred)
                    continue
                axes.fill(x_corners, y_corners, facecolor=colours(scale(square.value)), linewidth=0)
                ink = ink_on(colours(scale(square.value)))
                shown = numbers.bounded(square.value, decimals)
                write(axes, x + cell / 2, y + tall * 0.37, shown, size + 2, True, color=ink, **centred)
                write(axes, x + cell / 2, y + tall * 0.7, square.interval, size - (1.7 if narrow else 0.8), color=ink, **centred)
                if square.marked:
                    outline = [*x_corners, x_corners[0]], [*y_corners, y_corners[0]]
                    axes.plot(*outline, color=ORANGE, linewidth=2.2, solid_joinstyle="miter", zorder=4)
        y = bottom + 0.26
        axes.plot([0.13, 0.31, 0.31, 0.13, 0.13], [y - 0.07, y - 0.07, y + 0.07, y + 0.07, y - 0.07], color=ORANGE, linewidth=2)
        write(axes, 0.41, y, mark, 7.5 if narrow else 8, va="center", color=SOFT)
        return svg(figure)


def phase_curve(phases: Sequence[str], series: Sequence[Series], *, axis: str, narrow: bool = False) -> bytes:
    """Return points with intervals along the phases of treatment; the average of all phases stands apart, not joined by a line.

    Parameters
    ----------
    phases : sequence of str
        From left to right.
    series : sequence of Series
        One or two.
    axis : str
        What the upright axis measures.
    narrow : bool
        True for a 320 px screen.

    Returns
    -------
    bytes
        SVG.
    """
    has_published = any(numbers.known(value) for one in series for value in one.published)
    entries = len(series) + has_published
    width, height = (3.4, 2.9 + 0.22 * entries) if narrow else (6.4, 3.4)
    left, right, top = 0.5, width - 0.2, 0.42
    bottom = height - 0.5 - 0.22 * (entries if narrow else 1)
    values = [0.0]
    for one in series:
        values += [value for value in (*one.values, *one.lows, *one.highs, *one.published) if numbers.known(value)]
    edge = 0.05 * max(max(values) - min(values), 0.2)
    low, high = max(min(values) - edge, -1.0), min(max(values) + edge, 1.0)

    def across(position: float) -> float:
        return left + (right - left) * (position + 0.5) / max(len(phases), 1)

    def up(value: float) -> float:
        return bottom - (bottom - top) * (min(max(value, low), high) - low) / (high - low)

    hollow = {"markerfacecolor": "white", "markeredgewidth": 1.3}
    looks = (
        {"color": BLUE, "marker": "o", "markersize": 6.5},
        {"color": ORANGE, "marker": "s", "markersize": 6, **hollow},
    )
    joined = [position for position, phase in enumerate(phases) if phase != AVERAGED]
    with style():
        figure, axes = canvas(width, height)
        write(axes, 0.1, 0.17, axis, 8.5, va="center")
        for tick in ticks(low, high):
            zero = abs(tick) < 1e-9
            axes.plot([left, right], [up(tick)] * 2, color=SOFT if zero else LINE, linewidth=0.9 if zero else 0.6, zorder=0)
            write(axes, left - 0.08, up(tick), tick_text(tick, numbers.bounded), 8, ha="right", va="center", color=SOFT)
        for position, phase in enumerate(phases):
            write(axes, across(position), bottom + 0.1, phase, 8.5, ha="center", va="top")
        for number, one in enumerate(series):
            look = looks[number % 2]
            shift = 0.0 if len(series) == 1 else (-0.09, 0.09)[number % 2]
            known = [position for position in joined if numbers.known(one.values[position])]
            line = {"color": look["color"], "linestyle": ("-", (0, (3, 2)))[number % 2], "linewidth": 1.2, "zorder": 1}
            axes.plot([across(position) + shift for position in known], [up(one.values[position]) for position in known], **line)
            for position, value in enumerate(one.values):
                if not numbers.known(value):
                    continue
                x, ends = across(position) + shift, (one.lows[position], one.highs[position])
                if all(numbers.known(end) for end in ends):
                    whisker = {"color": look["color"], "linewidth": 1.3, "zorder": 2, "solid_capstyle": "butt"}
                    axes.plot([x, x], [up(end) for end in ends], **whisker)
                axes.plot([x], [up(value)], linestyle="none", zorder=3, **look)
            for position, value in enumerate(one.published):
                if numbers.known(value):
                    axes.plot([across(position) - 0.28], [up(value)], marker="D", markersize=5, color=SOFT, zorder=4, **hollow)
        x, y = 0.2, bottom + 0.5
        for number, one in enumerate(series):
            axes.plot([x], [y], **looks[number % 2])
            write(axes, x + 0.15, y, one.label, 8, va="center", color=SOFT)
            x, y = (x, y + 0.22) if narrow else (x + 2.3, y)
        if has_published:
            axes.plot([x], [y], marker="D", markersize=5, color=SOFT, **hollow)
            write(axes, x + 0.15, y, "figure of the review", 8, va="center", color=SOFT)
        return svg(figure)


def stacked_shares(bars: Sequence[str], parts: Sequence[str], shares: Sequence[Sequence[float]], *, narrow: bool = False) -> bytes:
    """Return shares of a whole as stacked bars.

    Parameters
    ----------
    bars : sequence of str
        What each bar splits.
    parts : sequence of str
        Names of the parts, in the order in which they are stacked; at most four.
    shares : sequence of sequences of float
        One share (0 to 1) a bar and part; NaN where a bar has no such part.
    narrow : bool
        True draws labels above the bars, for a 320 px screen.

    Returns
    -------
    bytes
        SVG.
    """
    width = 3.4 if narrow else 7.2
    left, right = (0.15, width - 0.15) if narrow else (2.75, width - 0.2)
    step = 0.6 if narrow else 0.44
    per_row = 1 if narrow else max(len(parts), 1)
    top = 0.22 + 0.22 * math.ceil(len(parts) / per_row)
    with style():
        figure, axes = canvas(width, top + step * len(bars) + 0.12)
        for index, part in enumerate(parts):
            x, y = 0.15 + (index % per_row) * (width - 0.3) / per_row, 0.16 + 0.22 * (index // per_row)
            axes.fill([x, x + 0.16, x + 0.16, x], [y - 0.06, y - 0.06, y + 0.06, y + 0.06], color=PART_SHADES[index % 4], linewidth=0)
            write(axes, x + 0.23, y, part, 8, va="center", color=SOFT)
        for row, label in enumerate(bars):
            y = top + step * (row + (0.66 if narrow else 0.5))
            room = width - 0.3 if narrow else left - 0.2
            write(axes, left if narrow else 0.1, y - 0.25 if narrow else y, fitted(label, room, 8.5), 8.5, va="center")
            start = 0.0
            for index, share in enumerate(shares[row]):
                if not numbers.known(share) or share <= 0:
                    continue
                x0, x1 = (left + (right - left) * min(value, 1.0) for value in (start, start + share))
                shade = PART_SHADES[index % 4]
                axes.fill([x0, x1, x1, x0], [y - 0.13, y - 0.13, y + 0.13, y + 0.13], facecolor=shade, edgecolor="white", linewidth=0.8)
                if x1 - x0 > 0.29:
                    ink = ink_on(shade)
                    write(axes, (x0 + x1) / 2, y, numbers.percent(share), 8, ha="center", va="center", color=ink)
                start += share
        return svg(figure)
