"""Figures of aggregated results as SVG: the same bytes for the same data, no point or line that stands for one client."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from alliance.reports import numbers
from alliance.reports.drawing import (
    BLUE,
    BLUE_SOFT,
    LABELLED_ROWS,
    LINE,
    ORANGE,
    SOFT,
    STEPS,
    canvas,
    capitalised,
    fitted,
    style,
    svg,
    tick_text,
    ticks,
    width_of,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes


RATIO_TICKS = (0.05, 0.1, 0.25, 0.5, 1, 2, 4, 10, 20)
RATIO_REACH = 3.0
ABSENT = ": not estimable"


@dataclass(frozen=True)
class ForestRow:
    """One row of a forest plot; a heading has no estimate, a pooled row is drawn as a diamond.

    ``spread`` holds the ends of the middle 80 % of the sites, where these have no rows of their own.
    """

    label: str
    estimate: float = math.nan
    low: float = math.nan
    high: float = math.nan
    kind: str = "estimate"
    weight: float = 1.0
    prediction: tuple[float, float] | None = None
    published: float = math.nan
    spread: tuple[float, float] | None = None


def _limits(rows: Sequence[ForestRow], bounds: tuple[float, float], reference: float) -> tuple[float, float]:
    values = [reference]
    for row in rows:
        ends = (*(row.prediction or ()), *(row.spread or ()))
        values.extend(v for v in (row.low, row.high, row.estimate, row.published, *ends) if numbers.known(v))
    low, high = min(values), max(values)
    edge = 0.06 * max(high - low, 0.2)
    return max(low - edge, bounds[0]), min(high + edge, bounds[1])


def forest(
    rows: Sequence[ForestRow],
    *,
    axis: str,
    decimals: int = 2,
    bound: bool = True,
    reference: float = 0.0,
    ratio: bool = False,
    narrow: bool = False,
) -> bytes:
    """Return a forest plot.

    Parameters
    ----------
    rows : sequence of ForestRow
        From top to bottom.
    axis : str
        What the axis measures.
    decimals : int
        Decimals of the printed estimates.
    bound : bool
        True where the estimate lies in -1 to 1: no leading zeros, and the axis ends there.
    reference : float
        Value of the upright line, which the axis always shows.
    ratio : bool
        True where estimates are ratios: the axis is that of their logarithm, and ends where a ratio is a twentieth or twenty.
    narrow : bool
        True draws labels above the intervals and leaves out the column of numbers, for a 320 px screen.

    Returns
    -------
    bytes
        SVG.
    """
    labelled = len(rows) <= LABELLED_ROWS
    width = 3.4 if narrow else 7.2
    step = (0.44 if narrow else 0.29) if labelled else max(0.02, 8 / len(rows))
    left, right = (0.15, width - 0.15) if narrow or not labelled else (2.45, width - 1.75)
    top = 0.2
    bottom = top + step * len(rows)
    has_published = any(numbers.known(row.published) for row in rows)
    has_prediction = any(row.prediction for row in rows)
    has_spread = any(row.spread for row in rows)
    entries = has_published + has_prediction + has_spread
    legend_rows = entries if narrow else int(entries > 0)
    height = bottom + 0.62 + 0.22 * legend_rows
    form = numbers.bounded if bound else numbers.decimal
    bounds = (-1.0, 1.0) if bound else (-math.inf, math.inf)
    if ratio:
        bounds = (math.exp(-RATIO_REACH), math.exp(RATIO_REACH))
    low, high = _limits(rows, bounds, reference)
    low = max(low, min(RATIO_TICKS)) if ratio else low

    def place(value: float) -> float:
        if ratio:
            return left + (right - left) * math.log(min(max(value, low), high) / low) / math.log(high / low)
        return left + (right - left) * (value - low) / (high - low)

    with style():
        figure, axes = canvas(width, height)
        for tick in [one for one in RATIO_TICKS if low <= one <= high] if ratio else ticks(low, high):
            axes.plot([place(tick)] * 2, [top, bottom], color=LINE, linewidth=0.6, zorder=0)
            write(
                axes,
                place(tick),
                bottom + 0.09,
                f"{tick:g}" if ratio else tick_text(tick, form),
                8,
                ha="center",
                va="top",
                color=SOFT,
            )
        axes.plot([place(reference)] * 2, [top, bottom], color=SOFT, linewidth=1.0, zorder=0)
        axes.plot([left, right], [bottom] * 2, color=SOFT, linewidth=0.8)
        write(axes, (left + right) / 2, bottom + 0.31, capitalised(axis), 8.5, ha="center", va="top")
        largest = max((row.weight for row in rows if row.kind == "estimate" and numbers.known(row.weight)), default=1.0)
        for index, row in enumerate(rows):
            y = top + step * (index + (0.72 if narrow and labelled else 0.5))
            if labelled:
                room = width - left - 0.1 if narrow else width - 0.2 if row.kind == "heading" else left - 0.15
                absent = narrow and row.kind != "heading" and not numbers.known(row.estimate)
                room -= width_of(ABSENT, 8.5) if absent else 0
                shown = fitted(row.label, room, 8.5, row.kind != "estimate") + (ABSENT if absent else "")
                write(
                    axes,
                    left if narrow else 0.1,
                    y - 0.2 if narrow else y,
                    shown,
                    8.5,
                    row.kind != "estimate",
                    va="center",
                    zorder=5,
                    **({"bbox": {"facecolor": "white", "edgecolor": "none", "pad": 0.8}} if narrow or row.kind == "heading" else {}),
                )
            if not numbers.known(row.estimate):
                if labelled and not narrow and row.kind != "heading":
                    write(axes, width - 0.1, y, "not estimable", 8, ha="right", va="center", color=SOFT)
                continue
            if labelled and not narrow:
                shown = f"{form(row.estimate, decimals)} {numbers.interval(row.low, row.high, decimals, bound)}"
                write(axes, width - 0.1, y, shown, 8.5, row.kind == "pooled", ha="right", va="center")
            _draw_row(axes, row, y, place, largest, step)
        y = bottom + 0.62
        x = left
        for present, text, mark in (
            (has_published, "published figure", "published"),
            (has_spread, "middle 80% of the sites", "spread"),
            (has_prediction, "prediction interval for a new site", "prediction"),
        ):
            if not present:
                continue
            if mark == "spread":
                axes.plot([x, x + 0.18], [y, y], color=BLUE_SOFT, linewidth=7, solid_capstyle="butt")
            elif mark == "published":
                axes.plot([x + 0.08], [y], marker="D", markersize=5, markerfacecolor="white", markeredgecolor=ORANGE, markeredgewidth=1.3)
            else:
                axes.plot([x, x + 0.18], [y, y], color=BLUE, linewidth=1.2, linestyle=(0, (2, 1.5)))
            write(axes, x + 0.26, y, text, 8, va="center", color=SOFT)
            x, y = (x, y + 0.22) if narrow else (x + 2.0, y)
        return svg(figure)


def _draw_row(axes: Axes, row: ForestRow, y: float, place: Any, largest: float, step: float) -> None:
    if row.spread:
        ends = [place(value) for value in row.spread]
        axes.plot(ends, [y, y], color=BLUE_SOFT, linewidth=7, zorder=0.5, solid_capstyle="butt")
    if row.prediction:
        axes.plot(
            [place(value) for value in row.prediction],
            [y, y],
            color=BLUE,
            linewidth=1.2,
            linestyle=(0, (2, 1.5)),
            zorder=1,
            solid_capstyle="butt",
        )
    known_interval = numbers.known(row.low) and numbers.known(row.high)
    if row.kind == "pooled" and known_interval:
        half = min(0.09, step / 3)
        x = [place(row.low), place(row.estimate), place(row.high), place(row.estimate)]
        axes.fill(x, [y, y - half, y, y + half], color=BLUE, zorder=3, linewidth=0)
    else:
        if known_interval:
            axes.plot([place(row.low), place(row.high)], [y, y], color=SOFT, linewidth=1.3, zorder=2, solid_capstyle="butt")
        share = row.weight / largest if numbers.known(row.weight) and largest > 0 else 1.0
        size = min(3.5 + 4.5 * math.sqrt(share), 30 * step)
        axes.plot([place(row.estimate)], [y], marker="s", markersize=size, color=BLUE, markeredgewidth=0, zorder=3)
    if numbers.known(row.published):
        axes.plot(
            [place(row.published)],
            [y],
            marker="D",
            markersize=5,
            markerfacecolor="white",
            markeredgecolor=ORANGE,
            markeredgewidth=1.3,
            zorder=4,
        )


def flow(sites: Sequence[str], steps: Sequence[str], counts: Sequence[Sequence[float]], *, narrow: bool = False) -> bytes:
    """Return the flow of clients per site: one bar a site, each later step drawn over the one before.

    Parameters
    ----------
    sites, steps : sequence of str
        Labels of rows and of steps, first step first.
    counts : sequence of sequences of float
        Clients per site and step; NaN where a site has no such step.
    narrow : bool
        True draws labels above the bars, for a 320 px screen.

    Returns
    -------
    bytes
        SVG.
    """
    labelled = len(sites) <= LABELLED_ROWS
    width = 3.4 if narrow else 7.2
    left = 0.15 if narrow or not labelled else 2.45
    right = width - 0.55
    step_height = (0.48 if narrow else 0.36) if labelled else max(0.02, 8 / len(sites))
    per_row = 1 if narrow else 2
    legend = 0.22 * math.ceil(len(steps) / per_row)
    top = legend + 0.2
    largest = max((value for row in counts for value in row if numbers.known(value)), default=1) or 1
    shades = [STEPS[round(index * (len(STEPS) - 1) / max(len(steps) - 1, 1))] for index in range(len(steps))]
    with style():
        figure, axes = canvas(width, top + step_height * len(sites) + 0.12)
        for index, step in enumerate(steps):
            x, y = 0.15 + (index % per_row) * 3.5, 0.16 + 0.22 * (index // per_row)
            axes.fill([x, x + 0.16, x + 0.16, x], [y - 0.06, y - 0.06, y + 0.06, y + 0.06], color=shades[index], linewidth=0)
            write(axes, x + 0.24, y, step, 8, va="center", color=SOFT)
        for row, site in enumerate(sites):
            y = top + step_height * (row + (0.68 if narrow and labelled else 0.5))
            if labelled:
                room = width - 0.3 if narrow else left - 0.25
                write(axes, left if narrow else 0.15, y - 0.2 if narrow else y, fitted(site, room, 8.5), 8.5, va="center")
            half = min(0.11, step_height / 2.4)
            known = [value for value in counts[row] if numbers.known(value)]
            for value, shade in zip(counts[row], shades):
                if numbers.known(value):
                    end = left + (right - left) * value / largest
                    axes.fill([left, end, end, left], [y - half, y - half, y + half, y + half], color=shade, linewidth=0)
            if labelled and known:
                write(axes, left + (right - left) * max(known) / largest + 0.06, y, numbers.count(max(known)), 8, va="center", color=SOFT)
        return svg(figure)
