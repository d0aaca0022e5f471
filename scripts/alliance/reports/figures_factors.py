"""Figures of client factors: the map of which site measured what."""

from __future__ import annotations

from collections.abc import Sequence

from alliance.reports import numbers
from alliance.reports.drawing import LINE, SOFT, STEPS, canvas, fitted, ink_on, style, svg, write

FEWEST = 10
FEW = "#edf1f4"
SMALLEST_WITH_NUMBERS = 0.22
WIDTH, LEFT, TALL, TOP = 3.4, 1.5, 0.22, 0.26


def measured_map(factors: Sequence[str], counts: Sequence[Sequence[float]]) -> bytes:
    """Return squares of factors by sites, shaded by how many clients a site has with the factor and the alliance.

    One drawing for all screens, 320 px wide.

    Parameters
    ----------
    factors : sequence of str
        Labels of the rows.
    counts : sequence of sequences of float
        Clients by factor and site, sites in the order of their numbers; 0 or NaN where the site has none. Counts below ten are
        not written and all shaded alike.

    Returns
    -------
    bytes
        SVG.
    """
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    sites = len(counts[0]) if counts else 0
    cell = min((WIDTH - LEFT - 0.1) / max(sites, 1), 0.45)
    bottom = TOP + TALL * len(factors)
    every = 1 if cell >= 0.15 else 5
    largest = max([FEWEST + 1.0, *(value for row in counts for value in row if numbers.known(value))])

    def step(value: float) -> int:
        return min(int((value - FEWEST) / (largest - FEWEST) * len(STEPS)), len(STEPS) - 1)

    squares: dict[str, list[tuple[float, float]]] = {}
    gaps: tuple[list[float], list[float]] = ([], [])
    with style():
        figure, axes = canvas(WIDTH, bottom + 0.42)
        for column in range(sites):
            if column == 0 or (column + 1) % every == 0:
                write(axes, LEFT + cell * (column + 0.5), TOP - 0.05, str(column + 1), 7, ha="center", va="bottom", color=SOFT)
        for row, label in enumerate(factors):
            y = TOP + TALL * row
            write(axes, LEFT - 0.07, y + TALL / 2, fitted(label, LEFT - 0.12, 7), 7, ha="right", va="center")
            for column, value in enumerate(counts[row]):
                x = LEFT + cell * column
                if not numbers.known(value) or value <= 0:
                    gaps[0].extend((x + cell * 0.4, x + cell * 0.6, float("nan")))
                    gaps[1].extend((y + TALL / 2, y + TALL / 2, float("nan")))
                    continue
                squares.setdefault(FEW if value < FEWEST else STEPS[step(value)], []).append((x, y))
                if value >= FEWEST and cell >= SMALLEST_WITH_NUMBERS:
                    ink = ink_on(STEPS[step(value)])
                    write(axes, x + cell / 2, y + TALL / 2, numbers.count(value), 7, ha="center", va="center", color=ink, zorder=3)
        for colour, corners in sorted(squares.items()):
            points = [(x + dx, y + dy) for x, y in corners for dx, dy in ((0, 0), (cell, 0), (cell, TALL), (0, TALL), (0, 0))]
            codes = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY] * len(corners)
            axes.add_patch(PathPatch(Path(points, codes), facecolor=colour, edgecolor="white", linewidth=1))
        axes.plot(*gaps, color=LINE, linewidth=1)
        x, y = 0.12, bottom + 0.22
        shades = ((FEW, f"below {FEWEST}", 0.8), (STEPS[0], str(FEWEST), 0.45), (STEPS[-1], f"{numbers.count(largest)} clients", 0.95))
        for colour, text, room in shades:
            axes.fill([x, x + 0.13, x + 0.13, x], [y - 0.06, y - 0.06, y + 0.06, y + 0.06], facecolor=colour, edgecolor=LINE, linewidth=0.5)
            write(axes, x + 0.18, y, text, 7, va="center", color=SOFT)
            x += room + 0.1
        axes.plot([x, x + 0.1], [y, y], color=SOFT, linewidth=1)
        write(axes, x + 0.15, y, "none", 7, va="center", color=SOFT)
        return svg(figure)
