"""Figures of measurement: the map of overlap."""

from __future__ import annotations

import math
from collections.abc import Sequence

from alliance.reports import numbers
from alliance.reports.drawing import BLUE, LINE, ORANGE, SOFT, canvas, fitted, ink_on, style, svg, width_of, write

SMALLEST_WITH_NUMBERS = 0.27


def _fitted(label: str, room: float, size: float) -> str:
    """Return a label cut to a width in inches so that its rater, which tells measures apart, stays."""
    name, comma, rater = label.rpartition(", ")
    if width_of(label, size) <= room or not comma or (own := width_of(ending := comma + rater, size)) > room / 2:
        return fitted(label, room, size)
    return fitted(name, room - own, size) + ending


def overlap_map(
    labels: Sequence[str],
    shared: Sequence[Sequence[float]],
    corrected: Sequence[Sequence[float]],
    *,
    narrow: bool = False,
) -> bytes:
    """Return shared variances as shaded squares: below the diagonal as they are, above it corrected for unreliability.

    Parameters
    ----------
    labels : sequence of str
        One a measure; rows and columns are numbered in this order.
    shared, corrected : sequence of sequences of float
        Square matrices of shared variances (0 to 1); NaN where there is none. ``corrected`` may exceed 1; such squares are outlined.
    narrow : bool
        True for a 320 px screen: numbers stand in the squares only where they are wide enough.

    Returns
    -------
    bytes
        SVG.
    """
    from matplotlib.colors import LinearSegmentedColormap

    size = len(labels)
    width = 3.4 if narrow else 7.2
    name_width = 1.45 if narrow else 2.6
    cell = min((width - name_width - 0.12) / max(size, 1), 0.55)
    tall = max(cell, 0.14)
    every = 1 if cell >= 0.15 else 5
    top = 0.42
    bottom = top + tall * size
    colours = LinearSegmentedColormap.from_list("shared", ["#f4f8fa", BLUE])
    beyond = False
    dashes: tuple[list[float], list[float]] = ([], [])
    with style():
        figure, axes = canvas(width, bottom + 0.62)
        for row, label in enumerate(labels):
            y = top + tall * row
            number, letters = f"  {row + 1}", 6.6 if narrow else 8
            shown = _fitted(label, name_width - 0.1 - width_of(number, letters), letters)
            write(axes, name_width - 0.06, y + tall / 2, shown + number, letters, ha="right", va="center")
            if row == 0 or (row + 1) % every == 0:
                x = name_width + cell * (row + 0.5)
                write(axes, x, top - 0.05, str(row + 1), 6.6 if narrow else 8, ha="center", va="bottom", color=SOFT)
            for column in range(size):
                x = name_width + cell * column
                corners = [x, x + cell, x + cell, x], [y, y, y + tall, y + tall]
                if column == row:
                    axes.fill(*corners, facecolor="#dfe3e7", edgecolor="white", linewidth=1)
                    continue
                value = (shared if column < row else corrected)[row][column]
                if not numbers.known(value):
                    dashes[0].extend((x + cell * 0.4, x + cell * 0.6, math.nan))
                    dashes[1].extend((y + tall / 2, y + tall / 2, math.nan))
                    continue
                axes.fill(*corners, facecolor=colours(min(max(value, 0.0), 1.0)), edgecolor="white", linewidth=1)
                if value > 1:
                    beyond = True
                    inner = [x + 0.03, x + cell - 0.03, x + cell - 0.03, x + 0.03, x + 0.03]
                    axes.plot(inner, [y + 0.03, y + 0.03, y + tall - 0.03, y + tall - 0.03, y + 0.03], color=ORANGE, linewidth=1.4)
                if cell >= SMALLEST_WITH_NUMBERS:
                    shown = numbers.percent(value).removesuffix("%")
                    ink = ink_on(colours(min(max(value, 0.0), 1.0)))
                    write(axes, x + cell / 2, y + tall / 2, shown, 7.5, ha="center", va="center", color=ink)
        axes.plot(*dashes, color=LINE, linewidth=1)
        write(axes, 0.1, 0.14, "columns have the numbers of the rows", 6.6 if narrow else 8, va="center", color=SOFT)
        key, length, y = name_width, min(2.0, width - name_width - 0.4), bottom + 0.16
        for index in range(41):
            x = key + length * index / 41
            axes.fill([x, x + length / 40, x + length / 40, x], [y, y, y + 0.1, y + 0.1], color=colours(index / 40), linewidth=0)
        for value, text in ((0.0, "0%"), (0.5, "50%"), (1.0, "100%")):
            write(axes, key + length * value, y + 0.14, text, 7.5, ha="center", va="top", color=SOFT)
        write(axes, key - 0.16, y + 0.05, "shared variance", 7.5, ha="right", va="center", color=SOFT)
        if beyond:
            write(
                axes,
                width - 0.1 if not narrow else 0.1,
                bottom + 0.52,
                "outlined: above 100%",
                7.5,
                ha="left" if narrow else "right",
                va="center",
                color=ORANGE,
            )
        return svg(figure)
