"""The mean course of the alliance with the band of single clients."""

from __future__ import annotations

import math
from collections.abc import Sequence

from alliance.reports import numbers
from alliance.reports.drawing import BLUE, BLUE_SOFT, LINE, SOFT, canvas, style, svg, tick_text, ticks, write


def mean_course(
    sessions: Sequence[int], means: Sequence[float], spreads: Sequence[float], clients: Sequence[int], *, axis: str, across: str
) -> bytes:
    """Return the mean at each session, a band of one standard deviation of clients on either side, and the clients below.

    Parameters
    ----------
    sessions : sequence of int
    means, spreads : sequence of float
        Mean, and standard deviation of clients, at each session.
    clients : sequence of int
        Clients behind them.
    axis, across : str
        What the upright and the level axis measure.

    Returns
    -------
    bytes
        SVG, narrow enough for a 320 px screen.
    """
    width = 3.4
    left, right, top = 0.5, width - 0.18, 0.42
    bottom = top + 2.1
    ends = [mean + sign * spread for mean, spread in zip(means, spreads) for sign in (-1, 1)]
    low, high = math.floor(min(ends) * 2) / 2, math.ceil(max(ends) * 2) / 2
    first, last = sessions[0], max(sessions[-1], sessions[0] + 1)

    def x(session: float) -> float:
        return left + (right - left) * (session - first) / (last - first)

    def y(value: float) -> float:
        return bottom - (bottom - top) * (value - low) / (high - low)

    with style():
        figure, axes = canvas(width, bottom + 1.3)
        write(axes, 0.1, 0.17, axis, 8.5, va="center")
        for tick in ticks(low, high):
            axes.plot([left, right], [y(tick)] * 2, color=LINE if abs(tick) > 1e-9 else SOFT, linewidth=0.6, zorder=0)
            write(axes, left - 0.08, y(tick), tick_text(tick, numbers.decimal), 8, ha="right", va="center", color=SOFT)
        across_at = [x(session) for session in sessions]
        lower, upper = ([y(mean + sign * spread) for mean, spread in zip(means, spreads)] for sign in (-1, 1))
        axes.fill(across_at + across_at[::-1], lower + upper[::-1], facecolor=BLUE_SOFT, alpha=0.6, linewidth=0, zorder=1)
        axes.plot(across_at, [y(mean) for mean in means], color=BLUE, linewidth=2.0, marker="o", markersize=3, zorder=3)
        shown = [session for session in sessions if session == first or session % 5 == 0]
        for session in shown:
            write(axes, x(session), bottom + 0.08, str(session), 8, ha="center", va="top", color=SOFT)
        write(axes, (left + right) / 2, bottom + 0.27, across, 8.5, ha="center", va="top")
        write(axes, 0.1, bottom + 0.6, "Clients", 8, va="center", color=SOFT)
        for session in shown:
            text = numbers.count(clients[list(sessions).index(session)])
            write(axes, x(session), bottom + 0.78, text, 8, ha="center", va="center", color=SOFT)
        axes.plot([0.13, 0.43], [bottom + 1.02] * 2, color=BLUE, linewidth=2.0)
        write(axes, 0.52, bottom + 1.02, "mean of all clients", 8, va="center", color=SOFT)
        axes.fill([1.78, 2.08, 2.08, 1.78], [bottom + end for end in (0.95, 0.95, 1.09, 1.09)], facecolor=BLUE_SOFT, alpha=0.6, linewidth=0)
        write(axes, 2.16, bottom + 1.02, "clients, ± 1 SD", 8, va="center", color=SOFT)
        return svg(figure)
