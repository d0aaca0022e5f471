"""The specification curve: every estimate of a multiverse in order of size, above the choices that made it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from alliance.reports import numbers
from alliance.reports.drawing import BLUE, BLUE_SOFT, INK, LINE, ORANGE, SOFT, canvas, style, svg, tick_text, ticks, write

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GREY = "#6b7683"
ROW, NODE_GAP = 0.17, 0.27
REACH = 4.0


@dataclass(frozen=True)
class Curve:
    """The specifications that can be estimated, in order of size.

    Attributes
    ----------
    values, lows, highs : ndarray, shape (m,)
        Estimates and limits, NaN where there is no interval; natural scale.
    standing : int or None
        Place of the configuration as it stands.
    nodes : list of (str, list of (str, ndarray of bool))
        Each decision with its options, and which specifications chose it.
    """

    values: np.ndarray
    lows: np.ndarray
    highs: np.ndarray
    standing: int | None
    nodes: Sequence[tuple[str, Sequence[tuple[str, np.ndarray]]]]


def limits(curve: Curve, reference: float) -> tuple[float, float]:
    """Return the ends of the axis of estimates.

    All estimates and no effect lie inside, and of the limits of the intervals those that are not farther from the estimates than
    :data:`REACH` times as far as half of the limits are: one interval without end would make a line of all estimates.
    """
    known = np.isfinite(curve.lows) & np.isfinite(curve.highs)
    values = curve.values[known]
    inside = [*curve.values[np.isfinite(curve.values)], reference]
    for ends in (curve.lows[known], curve.highs[known]):
        apart = np.abs(ends - values)
        if len(apart):
            inside += list(ends[apart <= REACH * np.median(apart)])
    low, high = float(min(inside)), float(max(inside))
    margin = 0.04 * max(high - low, 0.1)
    return low - margin, high + margin


def beyond(curve: Curve, reference: float) -> int:
    """Return how many intervals reach beyond the axis of estimates."""
    low, high = limits(curve, reference)
    return int(np.sum((curve.lows < low) | (curve.highs > high)))


def specification_curve(curve: Curve, *, axis: str, reference: float, bound: bool = False, narrow: bool = False) -> bytes:
    """Return the estimates with their intervals, and below them a row of marks an option: where it stands in the order.

    Parameters
    ----------
    curve : Curve
    axis : str
        What is measured.
    reference : float
        No effect.
    bound : bool
        True where estimates lie in -1 to 1: no leading zeros.
    narrow : bool
        For screens too narrow for the wide drawing.

    Returns
    -------
    bytes
        SVG.
    """
    width, label = (3.4, 1.28) if narrow else (7.4, 1.95)
    left, right, top, high = label, width - 0.12, 0.36, 1.9 if narrow else 2.4
    bottom = top + high
    count = len(curve.values)
    low_end, high_end = limits(curve, reference)
    rows = sum(len(options) for _, options in curve.nodes)

    def x(place: np.ndarray | float) -> np.ndarray | float:
        return left + (right - left) * (np.asarray(place) + 0.5) / count

    def y(value: np.ndarray | float) -> np.ndarray | float:
        return bottom - (bottom - top) * (np.asarray(value) - low_end) / (high_end - low_end)

    with style():
        figure, axes = canvas(width, bottom + 0.24 + ROW * rows + NODE_GAP * len(curve.nodes) + 0.1)
        write(axes, 0.08, 0.16, axis, 8.5, va="center")
        for tick in ticks(low_end, high_end):
            at = float(y(tick))
            none = abs(tick - reference) < 1e-9
            axes.plot([left, right], [at] * 2, color=SOFT if none else LINE, linewidth=0.9 if none else 0.6, zorder=0)
            form = numbers.bounded if bound else numbers.decimal
            write(axes, left - 0.06, at, tick_text(tick, form), 7.5, ha="right", va="center", color=SOFT)
        place = np.arange(count)
        decided = (curve.lows > reference) | (curve.highs < reference)
        known = np.isfinite(curve.lows) & np.isfinite(curve.highs)
        thin = max(min(60.0 * (right - left) / count, 2.2), 0.5)
        _strokes(
            axes,
            x(place[known]),
            y(np.maximum(curve.lows[known], low_end)),
            x(place[known]),
            y(np.minimum(curve.highs[known], high_end)),
            BLUE_SOFT,
            thin,
        )
        for chosen, colour in ((~decided, GREY), (decided, BLUE)):
            across, up = x(place[chosen]), y(curve.values[chosen])
            _strokes(axes, across, up, across, up, colour, 2.2, round_ends=True)
        if curve.standing is not None:
            at = float(x(float(curve.standing)))
            axes.plot([at], [float(y(float(curve.values[curve.standing])))], marker="D", markersize=6.5, color=ORANGE, zorder=5)
        line = bottom + 0.24
        for node, options in curve.nodes:
            write(axes, 0.08, line + 0.1, node, 7.5 if narrow else 8, bold=True, va="center")
            line += NODE_GAP - 0.05
            for option, chosen in options:
                write(axes, 0.16, line + ROW / 2, option, 7 if narrow else 7.5, va="center", color=INK)
                starts, stops = _runs(chosen)
                at = np.full(len(starts), line + ROW / 2)
                _strokes(axes, x(starts - 0.5), at, x(stops + 0.5), at, BLUE, 5.5)
                if curve.standing is not None and chosen[curve.standing]:
                    axes.plot([float(x(float(curve.standing)))], [line + ROW / 2], marker="D", markersize=4, color=ORANGE, zorder=5)
                line += ROW
            line += 0.05
        return svg(figure)


def _strokes(
    axes: Axes, x1: np.ndarray, y1: np.ndarray, x2: np.ndarray, y2: np.ndarray, colour: str, width: float, round_ends: bool = False
) -> None:
    """Draw many lines as one path, which takes a tenth of the room of single ones."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    if not len(x1):
        return
    points = np.stack([np.column_stack([x1, y1]), np.column_stack([x2, y2])], axis=1).reshape(-1, 2)
    codes = np.tile([Path.MOVETO, Path.LINETO], len(x1))
    ends = "round" if round_ends else "butt"
    # The axes have their limits: to find those of every line, as add_patch does, took a third of the drawing.
    axes.add_artist(PathPatch(Path(points, codes), fill=False, edgecolor=colour, linewidth=width, capstyle=ends))


def _runs(chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first and the last place of every run of specifications that chose an option."""
    edges = np.diff(np.concatenate([[False], chosen, [False]]).astype(int))
    return np.flatnonzero(edges == 1).astype(float), np.flatnonzero(edges == -1).astype(float) - 1.0
