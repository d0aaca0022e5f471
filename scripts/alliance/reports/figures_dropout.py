"""Figures of leaving treatment: risk by session, and predicted beside observed risks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from alliance.reports import numbers
from alliance.reports.drawing import BLUE, BLUE_SOFT, LINE, ORANGE, SOFT, canvas, style, svg, ticks, write

GREY, ORANGE_SOFT = "#6b7683", "#f0d9c4"
AT_RISK_EVERY = 5


@dataclass(frozen=True)
class Curve:
    """One group's cumulative risk after each session from the first on, with its interval and the clients at risk (nan: not shown)."""

    label: str
    values: Sequence[float]
    lows: Sequence[float]
    highs: Sequence[float]
    at_risk: Sequence[float]


@dataclass(frozen=True)
class Dot:
    """A group's predicted risk with the observed one and its interval."""

    predicted: float
    observed: float
    low: float
    high: float


LOOKS = (
    {"color": ORANGE, "linestyle": "-", "linewidth": 2.2},
    {"color": GREY, "linestyle": (0, (4, 2)), "linewidth": 1.5},
    {"color": BLUE, "linestyle": "-", "linewidth": 1.4},
)
BANDS = (ORANGE_SOFT, None, BLUE_SOFT)


def risk_curves(curves: Sequence[Curve], *, axis: str, across: str) -> bytes:
    """Return steps of cumulative risk by session, intervals as bands of the first and the last group, and the numbers at risk below.

    Parameters
    ----------
    curves : sequence of Curve
        Up to three groups.
    axis, across : str
        What the upright and the level axis measure.

    Returns
    -------
    bytes
        SVG, narrow enough for a 320 px screen.
    """
    width = 3.4
    left, right, top = 0.55, width - 0.15, 0.42
    bottom = top + 2.1
    last = max(len(curve.values) for curve in curves)
    ends = [value for curve in curves for value in (*curve.values, *curve.highs) if numbers.known(value)]
    high = min(1.0, max(math.ceil(max(ends, default=0.1) * 10) / 10, 0.1))
    below = 0.74 + 0.2 * len(curves)

    def x(session: float) -> float:
        return left + (right - left) * session / last

    def y(value: float) -> float:
        return bottom - (bottom - top) * value / high

    with style():
        figure, axes = canvas(width, bottom + below + 0.12 + 0.22 * len(curves))
        write(axes, 0.1, 0.17, axis, 8.5, va="center")
        for tick in ticks(0.0, high):
            axes.plot([left, right], [y(tick)] * 2, color=LINE if tick else SOFT, linewidth=0.6 if tick else 0.9, zorder=0)
            write(axes, left - 0.08, y(tick), numbers.percent(tick), 8, ha="right", va="center", color=SOFT)
        shown = [session for session in range(1, last + 1) if session == 1 or session % AT_RISK_EVERY == 0]
        for session in shown:
            write(axes, x(session), bottom + 0.08, str(session), 8, ha="center", va="top", color=SOFT)
        write(axes, (left + right) / 2, bottom + 0.27, across, 8.5, ha="center", va="top")
        for curve, look, band in zip(curves, LOOKS, BANDS):
            steps = [(0, 0.0)]
            for session, value in enumerate(curve.values, start=1):
                steps += [(session, steps[-1][1]), (session, value)]
            axes.plot([x(at) for at, _ in steps], [y(value) for _, value in steps], zorder=3, solid_joinstyle="miter", **look)
            if band:
                edges = _edges(curve)
                corners = [x(at) for at, _, _ in edges], [y(low) for _, low, _ in edges], [y(top_end) for _, _, top_end in edges]
                axes.fill(corners[0] + corners[0][::-1], corners[1] + corners[2][::-1], facecolor=band, alpha=0.5, linewidth=0, zorder=1)
        row = bottom + 0.62
        write(axes, 0.1, row, "Clients at risk", 8, va="center", color=SOFT)
        for number, curve in enumerate(curves):
            place = row + 0.2 * (number + 1)
            for session in shown:
                if session <= len(curve.at_risk):
                    text = numbers.count(curve.at_risk[session - 1])
                    write(axes, x(session), place, text, 8, ha="center", va="center", color=LOOKS[number]["color"])
        for number, curve in enumerate(curves):
            place = row + 0.2 * len(curves) + 0.26 + 0.22 * number
            axes.plot([0.13, 0.48], [place, place], **LOOKS[number])
            write(axes, 0.58, place, curve.label, 8, va="center", color=SOFT)
        return svg(figure)


def _edges(curve: Curve) -> list[tuple[float, float, float]]:
    """Return session and limits along the steps of a curve, from its first known interval on."""
    edges: list[tuple[float, float, float]] = []
    for session, (low, high) in enumerate(zip(curve.lows, curve.highs), start=1):
        if numbers.known(low) and numbers.known(high):
            edges += ([(session, *edges[-1][1:])] if edges else []) + [(session, low, high)]
    return edges


def calibration(dots: Sequence[Dot], *, axis: str, across: str) -> bytes:
    """Return observed against predicted risks of groups, with the line on which they agree.

    Parameters
    ----------
    dots : sequence of Dot
        Groups of clients.
    axis, across : str
        What the upright and the level axis measure.

    Returns
    -------
    bytes
        SVG, narrow enough for a 320 px screen.
    """
    side = 2.55
    left, top = 0.6, 0.42
    values = [value for dot in dots for value in (dot.predicted, dot.observed, dot.high) if numbers.known(value)]
    high = min(1.0, math.ceil(max(values, default=0.5) * 10) / 10)

    def x(value: float) -> float:
        return left + side * value / high

    def y(value: float) -> float:
        return top + side - side * value / high

    with style():
        figure, axes = canvas(left + side + 0.25, top + side + 0.6)
        write(axes, 0.1, 0.17, axis, 8.5, va="center")
        for tick in ticks(0.0, high):
            axes.plot([left, left + side], [y(tick)] * 2, color=LINE, linewidth=0.6, zorder=0)
            write(axes, left - 0.08, y(tick), numbers.percent(tick), 8, ha="right", va="center", color=SOFT)
            write(axes, x(tick), top + side + 0.08, numbers.percent(tick), 8, ha="center", va="top", color=SOFT)
        axes.plot([x(0), x(high)], [y(0), y(high)], color=SOFT, linewidth=1.0, linestyle=(0, (3, 2)), zorder=1)
        write(axes, left + side / 2, top + side + 0.3, across, 8.5, ha="center", va="top")
        for dot in dots:
            if numbers.known(dot.low) and numbers.known(dot.high):
                axes.plot([x(dot.predicted)] * 2, [y(dot.low), y(dot.high)], color=BLUE, linewidth=1.3, zorder=2, solid_capstyle="butt")
            axes.plot([x(dot.predicted)], [y(dot.observed)], marker="o", markersize=6.5, color=BLUE, zorder=3)
        return svg(figure)
