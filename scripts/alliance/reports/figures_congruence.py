"""Response surfaces seen from above: the expected outcome by two ratings, in bands, where there are data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from alliance.reports import numbers
from alliance.reports.drawing import INK, LINE, ORANGE, SOFT, STEPS, canvas, fitted, style, svg, tick_text, write

REACH = 2.0
_ROUND, _OUTWARDS = 40, 12


@dataclass(frozen=True)
class Region:
    """Where two ratings lie: means, standard deviations, and their correlation."""

    x_mean: float
    y_mean: float
    x_sd: float
    y_sd: float
    correlation: float


def expected(b: Sequence[float], x: float, y: float) -> float:
    """Return the outcome that polynomial coefficients ``b0`` to ``b5`` expect."""
    return b[0] + b[1] * x + b[2] * y + b[3] * x * x + b[4] * x * y + b[5] * y * y


def points(region: Region) -> list[list[tuple[float, float]]]:
    """Return rings of points from the middle of the data to two standard deviations."""
    rest = math.sqrt(max(1 - region.correlation**2, 0.0))
    rings = []
    for step in range(_OUTWARDS + 1):
        reach = REACH * step / _OUTWARDS
        ring = []
        for turn in range(_ROUND + 1):
            first, second = (reach * part for part in (math.cos(2 * math.pi * turn / _ROUND), math.sin(2 * math.pi * turn / _ROUND)))
            along = region.correlation * first + rest * second
            ring.append((region.x_mean + region.x_sd * first, region.y_mean + region.y_sd * along))
        rings.append(ring)
    return rings


def surface_map(
    b: Sequence[float],
    region: Region,
    *,
    x_label: str,
    y_label: str,
    outcome: str,
    opposite: bool = False,
    ridge: tuple[float, float] | None = None,
) -> bytes:
    """Return a response surface in five bands over the ellipse in which about 86 % of cases lie, for screens of any width.

    Parameters
    ----------
    b : sequence of float
        ``b0`` to ``b5``.
    region : Region
        Where the ratings lie.
    x_label, y_label : str
        The ratings, in SD about their common constant.
    outcome : str
        What the bands show.
    opposite : bool
        True draws the line of opposites in place of the line of agreement.
    ridge : tuple of float, optional
        Intercept and slope of the first principal axis.

    Returns
    -------
    bytes
        SVG.
    """
    import numpy as np

    rings = np.array(points(region))
    height = expected(b, rings[..., 0], rings[..., 1])
    low, high = float(height.min()), float(height.max())
    edges = np.linspace(low, high if high > low else low + 1e-6, len(STEPS) + 1)
    extent = float(np.abs(rings).max()) * 1.04
    width, left, top = 3.4, 0.62, 0.3
    side = width - left - 0.15
    bottom = top + side

    def across(value: float) -> float:
        return left + side * (value + extent) / (2 * extent)

    def up(value: float) -> float:
        return bottom - side * (value + extent) / (2 * extent)

    with style():
        figure, axes = canvas(width, bottom + 1.02)
        axes.plot([left, left + side, left + side, left, left], [top, top, bottom, bottom, top], color=LINE, linewidth=0.8)
        axes.contourf(across(rings[..., 0]), up(rings[..., 1]), height, levels=edges, colors=STEPS)
        for tick in (-1.0, 0.0, 1.0):
            write(axes, across(tick), bottom + 0.08, tick_text(tick, numbers.decimal), 7.5, ha="center", va="top", color=SOFT)
            write(axes, left - 0.07, up(tick), tick_text(tick, numbers.decimal), 7.5, ha="right", va="center", color=SOFT)
        slope = -1.0 if opposite else 1.0
        for look in ({"color": "white", "linewidth": 2.4}, {"color": INK, "linewidth": 1, "linestyle": (0, (4, 3))}):
            axes.plot([across(-extent), across(extent)], [up(-slope * extent), up(slope * extent)], **look)
        drawn = _inside(ridge, extent)
        if drawn:
            axes.plot([across(x) for x, _ in drawn], [up(y) for _, y in drawn], color=ORANGE, linewidth=1.6)
        write(axes, 0.08, 0.15, fitted(f"Upwards: {y_label}", width - 0.16, 8), 8, va="center")
        write(axes, left + side / 2, bottom + 0.34, fitted(x_label, width - 0.16, 8), 8, ha="center", va="center")
        y = bottom + 0.62
        write(axes, 0.08, y, fitted(outcome, width - 0.16, 8), 8, va="center", color=SOFT)
        y += 0.24
        write(axes, 0.08, y, numbers.decimal(low), 7.5, va="center", color=SOFT)
        for place, shade in enumerate(STEPS):
            x = 0.5 + 0.2 * place
            axes.fill([x, x + 0.2, x + 0.2, x], [y - 0.07, y - 0.07, y + 0.07, y + 0.07], facecolor=shade, edgecolor=LINE, linewidth=0.5)
        write(axes, 1.56, y, numbers.decimal(high), 7.5, va="center", color=SOFT)
        axes.plot([2.05, 2.27], [y, y], color=INK, linewidth=1, linestyle=(0, (4, 3)))
        write(axes, 2.35, y, "opposite" if opposite else "alike", 7.5, va="center", color=SOFT)
        if drawn:
            axes.plot([2.05, 2.27], [y - 0.24] * 2, color=ORANGE, linewidth=1.6)
            write(axes, 2.35, y - 0.24, "ridge", 7.5, va="center", color=SOFT)
        return svg(figure)


def _inside(line: tuple[float, float] | None, extent: float) -> list[tuple[float, float]]:
    """Return the ends of ``y = intercept + slope x`` inside a square; empty where it misses the square."""
    if line is None or not all(map(math.isfinite, line)):
        return []
    intercept, slope = line
    ends = []
    for x in (-extent, extent):
        y = intercept + slope * x
        if abs(y) <= extent:
            ends.append((x, y))
        elif slope:
            edge = math.copysign(extent, y)
            ends.append(((edge - intercept) / slope, edge))
    return ends if len(ends) == 2 and all(abs(x) <= extent * (1 + 1e-9) for x, _ in ends) else []
