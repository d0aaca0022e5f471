"""Figures of aggregated results as SVG: the same bytes for the same data, no point or line that stands for one client."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from alliance.reports import numbers
from alliance.reports.drawing import (
    BLUE,
    INK,
    LABELLED_ROWS,
    LINE,
    ORANGE,
    SOFT,
    STEPS,
    canvas,
    style,
    svg,
    tick_text,
    ticks,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes


@dataclass(frozen=True)
class ForestRow:
    """One row of a forest plot; a heading has no estimate, a pooled row is drawn as a diamond."""

    label: str
    estimate: float = math.nan
    low: float = math.nan
    high: float = math.nan
    kind: str = "estimate"
    weight: float = 1.0
    prediction: tuple[float, float] | None = None
    published: float = math.nan


@dataclass(frozen=True)
class Arrow:
    """An arrow of a path diagram."""

    source: str
    target: str
    text: str
    clear: bool


def _limits(rows: Sequence[ForestRow], bounds: tuple[float, float]) -> tuple[float, float]:
    values = [0.0]
    for row in rows:
        values.extend(v for v in (row.low, row.high, row.estimate, row.published, *(row.prediction or ())) if numbers.known(v))
    low, high = min(values), max(values)
    edge = 0.06 * max(high - low, 0.2)
    return max(low - edge, bounds[0]), min(high + edge, bounds[1])


def forest(
    rows: Sequence[ForestRow],
    *,
    axis: str,
    decimals: int = 2,
    bound: bool = True,
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
    legend_rows = (has_published + has_prediction) if narrow else int(has_published or has_prediction)
    height = bottom + 0.62 + 0.22 * legend_rows
    form = numbers.bounded if bound else numbers.decimal
    bounds = (-1.0, 1.0) if bound else (-math.inf, math.inf)
    low, high = _limits(rows, bounds)

    def place(value: float) -> float:
        return left + (right - left) * (value - low) / (high - low)

    with style():
        figure, axes = canvas(width, height)
        for tick in ticks(low, high):
            axes.plot([place(tick)] * 2, [top, bottom], color=LINE, linewidth=0.6, zorder=0)
            write(
                axes,
                place(tick),
                bottom + 0.09,
                tick_text(tick, form),
                8,
                ha="center",
                va="top",
                color=SOFT,
            )
        axes.plot([place(0)] * 2, [top, bottom], color=SOFT, linewidth=1.0, zorder=0)
        axes.plot([left, right], [bottom] * 2, color=SOFT, linewidth=0.8)
        write(axes, (left + right) / 2, bottom + 0.31, axis, 8.5, ha="center", va="top")
        largest = max((row.weight for row in rows if row.kind == "estimate" and numbers.known(row.weight)), default=1.0)
        for index, row in enumerate(rows):
            y = top + step * (index + (0.72 if narrow and labelled else 0.5))
            if labelled:
                shown = textwrap.shorten(row.label, 44 if narrow else 36, placeholder="…") or row.label[:36]
                write(
                    axes,
                    left if narrow else 0.1,
                    y - 0.2 if narrow else y,
                    shown,
                    8.5,
                    row.kind != "estimate",
                    va="center",
                    zorder=5,
                    **({"bbox": {"facecolor": "white", "edgecolor": "none", "pad": 0.8}} if narrow else {}),
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
            (has_prediction, "prediction interval for a new site", "prediction"),
        ):
            if not present:
                continue
            if mark == "published":
                axes.plot([x + 0.08], [y], marker="D", markersize=5, markerfacecolor="white", markeredgecolor=ORANGE, markeredgewidth=1.3)
            else:
                axes.plot([x, x + 0.18], [y, y], color=BLUE, linewidth=1.2, linestyle=(0, (2, 1.5)))
            write(axes, x + 0.26, y, text, 8, va="center", color=SOFT)
            x, y = (x, y + 0.22) if narrow else (x + 1.6, y)
        return svg(figure)


def _draw_row(axes: Axes, row: ForestRow, y: float, place: Any, largest: float, step: float) -> None:
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


def layers(nodes: Sequence[str], arrows: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Return how many steps each variable of a path model lies from its outermost causes (longest way; 0 for a cause)."""
    depth = dict.fromkeys(nodes, 0)
    for _ in nodes:
        for source, target in arrows:
            depth[target] = max(depth[target], min(depth[source] + 1, len(nodes) - 1))
    return depth


def path_diagram(nodes: dict[str, str], paths: Sequence[Arrow]) -> bytes:
    """Return a path diagram, causes above, outcome below, narrow enough for a 320 px screen.

    Parameters
    ----------
    nodes : dict of str to str
        Label of each variable.
    paths : sequence of Arrow
        Arrows with their printed coefficients; ``clear`` arrows have an interval that leaves out zero.

    Returns
    -------
    bytes
        SVG.
    """
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
    from matplotlib.path import Path as Outline

    depth = layers(list(nodes), [(path.source, path.target) for path in paths])
    levels = [[name for name in nodes if depth[name] == level] for level in range(max(depth.values(), default=0) + 1)]
    widest = max(len(level) for level in levels)
    width = max(3.4, 1.65 * widest)
    gap, box_width, box_height = 1.5, min(1.3, 0.8 * width / widest), 0.52
    height = gap * (len(levels) - 1) + box_height + 0.75
    centre: dict[str, tuple[float, float]] = {}
    for level, names in enumerate(levels):
        for index, name in enumerate(names):
            spread = width * (index + 0.5) / len(names)
            inside = min(max(spread, box_width / 2 + 0.1), width - box_width / 2 - 0.1)
            centre[name] = (inside, 0.2 + box_height / 2 + gap * level)
    with style():
        figure, axes = canvas(width, height)
        for path in paths:
            (x0, y0), (x1, y1) = centre[path.source], centre[path.target]
            colour, line = (BLUE, "-") if path.clear else (SOFT, (0, (3, 2)))
            if depth[path.target] - depth[path.source] > 1:
                side = -1 if x0 < width / 2 else 1
                edge = box_width / 2 * side
                outer = width / 2 + side * (width / 2 - 0.12)
                start, end = (x0 + edge * 0.7, y0 + box_height / 2), (x1 + edge, y1)
                outline = Outline(
                    [start, (outer, y0 + gap * 0.6), (outer, y1 - 0.05), end],
                    [Outline.MOVETO, Outline.CURVE4, Outline.CURVE4, Outline.CURVE4],
                )
                arrow = FancyArrowPatch(
                    path=outline, arrowstyle="-|>", mutation_scale=11, color=colour, linestyle=line, linewidth=1.4, zorder=1
                )
                t = 0.62
                label = tuple(
                    (1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t**2 * c + t**3 * d for a, b, c, d in zip(*outline.vertices)
                )
                margin = 0.47
                label = (min(max(label[0], margin), width - margin), label[1])
            else:
                sign = 1 if y1 >= y0 else -1
                start, end = (x0 + 0.15 * (x1 - x0), y0 + sign * box_height / 2), (x1 + 0.12 * (x0 - x1), y1 - sign * box_height / 2)
                arrow = FancyArrowPatch(
                    start,
                    end,
                    arrowstyle="-|>",
                    mutation_scale=11,
                    color=colour,
                    linestyle=line,
                    linewidth=1.4,
                    shrinkA=0,
                    shrinkB=0,
                    zorder=1,
                )
                label = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
            axes.add_patch(arrow)
            write(
                axes,
                *label,
                path.text,
                9.2,
                ha="center",
                va="center",
                linespacing=1.25,
                color=INK if path.clear else SOFT,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
                zorder=3,
            )
        for name, (x, y) in centre.items():
            box = FancyBboxPatch(
                (x - box_width / 2, y - box_height / 2),
                box_width,
                box_height,
                boxstyle="round,pad=0,rounding_size=0.08",
                facecolor="#eef4f8",
                edgecolor=BLUE,
                linewidth=1.2,
                zorder=4,
            )
            axes.add_patch(box)
            text = "\n".join(textwrap.wrap(nodes[name], 16)[:2]) or name
            write(axes, x, y, text, 9.8, True, ha="center", va="center", zorder=5)
        foot = height - 0.22
        axes.plot([0.12, 0.42], [foot] * 2, color=BLUE, linewidth=1.4)
        write(axes, 0.48, foot, "interval leaves out 0", 8, va="center", color=SOFT)
        axes.plot([width / 2 + 0.15, width / 2 + 0.45], [foot] * 2, color=SOFT, linewidth=1.4, linestyle=(0, (3, 2)))
        write(axes, width / 2 + 0.51, foot, "interval holds 0", 8, va="center", color=SOFT)
        return svg(figure)


def correlation_map(labels: Sequence[str], matrix: Sequence[Sequence[float]], *, narrow: bool = False) -> bytes:
    """Return the lower half of a correlation matrix as shaded squares.

    Parameters
    ----------
    labels : sequence of str
        One a measure; squares of the map are numbered in this order.
    matrix : sequence of sequences of float
        Correlations; NaN where none was estimated.
    narrow : bool
        True leaves out the numbers inside the squares, for a 320 px screen.

    Returns
    -------
    bytes
        SVG.
    """
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    size = len(labels)
    width = 3.4 if narrow else 7.2
    name_width = 1.75 if narrow else 2.6
    cell = min((width - name_width - 0.15) / max(size, 1), 0.5)
    top = 0.12
    bottom = top + cell * size
    colours = LinearSegmentedColormap.from_list("correlation", [ORANGE, "#ffffff", BLUE])
    scale = Normalize(-1, 1)
    with style():
        figure, axes = canvas(width, bottom + 0.75)
        for row, label in enumerate(labels):
            y = top + cell * row
            shown = textwrap.shorten(label, 24 if narrow else 36, placeholder="…") or label[:24]
            write(axes, name_width - 0.08, y + cell / 2, f"{shown}  {row + 1}", 8, ha="right", va="center")
            write(axes, name_width + cell * (row + 0.5), bottom + 0.05, str(row + 1), 8, ha="center", va="top", color=SOFT)
            for column in range(row + 1):
                x = name_width + cell * column
                if column == row:
                    axes.fill([x, x + cell, x + cell, x], [y, y, y + cell, y + cell], color="#eceff2", linewidth=0)
                    continue
                value = matrix[row][column]
                if not numbers.known(value):
                    axes.plot([x + cell * 0.4, x + cell * 0.6], [y + cell / 2] * 2, color=LINE, linewidth=1)
                    continue
                shade = colours(scale(value))
                axes.fill([x, x + cell, x + cell, x], [y, y, y + cell, y + cell], facecolor=shade, edgecolor="white", linewidth=1)
                if not narrow and cell >= 0.27:
                    write(
                        axes,
                        x + cell / 2,
                        y + cell / 2,
                        numbers.bounded(value),
                        7.5,
                        ha="center",
                        va="center",
                        color="white" if abs(value) > 0.55 else INK,
                    )
        key_left, key_width, y = name_width, min(2.0, width - name_width - 0.3), bottom + 0.38
        for index in range(41):
            x = key_left + key_width * index / 41
            axes.fill([x, x + key_width / 40, x + key_width / 40, x], [y, y, y + 0.1, y + 0.1], color=colours(index / 40), linewidth=0)
        for value, text in ((0.0, f"{numbers.MINUS}1"), (0.5, "0"), (1.0, "1")):
            write(axes, key_left + key_width * value, y + 0.14, text, 7.5, ha="center", va="top", color=SOFT)
        write(axes, key_left - 0.12, y + 0.05, "correlation", 7.5, ha="right", va="center", color=SOFT)
        return svg(figure)


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
                shown = textwrap.shorten(site, 40 if narrow else 34, placeholder="…") or site[:34]
                write(axes, left if narrow else 0.15, y - 0.2 if narrow else y, shown, 8.5, va="center")
            half = min(0.11, step_height / 2.4)
            known = [value for value in counts[row] if numbers.known(value)]
            for value, shade in zip(counts[row], shades):
                if numbers.known(value):
                    end = left + (right - left) * value / largest
                    axes.fill([left, end, end, left], [y - half, y - half, y + half, y + half], color=shade, linewidth=0)
            if labelled and known:
                write(axes, left + (right - left) * max(known) / largest + 0.06, y, numbers.count(max(known)), 8, va="center", color=SOFT)
        return svg(figure)
