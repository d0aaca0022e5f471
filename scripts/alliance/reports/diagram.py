"""Diagrams of models, laid out in layers: boxes for what was observed, ellipses for factors, arrows with coefficients."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from alliance.reports.drawing import BLUE, INK, SOFT, canvas, style, svg, write

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DASHED = (0, (3, 2))
CHARACTER = 0.0088


@dataclass(frozen=True)
class Node:
    """A variable of a model: ``latent`` ones are drawn as ellipses, observed ones as boxes."""

    label: str
    latent: bool = False


@dataclass(frozen=True)
class Edge:
    """An arrow between two variables, or with ``mutual`` a correlation.

    Parameters
    ----------
    source, target : str
        Keys of the nodes.
    estimate, interval : str
        The coefficient as printed; the interval is left out where there is no room.
    clear : bool
        Whether the interval leaves out zero; other arrows are dashed.
    mutual : bool
        True draws a curve with two heads.
    """

    source: str
    target: str
    estimate: str = ""
    interval: str = ""
    clear: bool = True
    mutual: bool = False


def layers(nodes: Sequence[str], arrows: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Return how many steps each variable lies from its outermost causes (longest way; 0 for a cause)."""
    depth = dict.fromkeys(nodes, 0)
    for _ in nodes:
        for source, target in arrows:
            depth[target] = max(depth[target], min(depth[source] + 1, len(nodes) - 1))
    return depth


def _text(label: str, width: float, size: float, lines: int) -> str:
    """Return a label broken into lines that fit into a width in inches; what does not fit ends in an ellipsis."""
    characters = max(int(width / (CHARACTER * size)), 4)
    broken = textwrap.wrap(label, characters) or [label]
    return "\n".join([*broken[: lines - 1], textwrap.shorten(" ".join(broken[lines - 1 :]), characters, placeholder="…")][:lines]).strip()


def _node(axes: Axes, node: Node, x: float, y: float, width: float, height: float, size: float, lines: int = 2, bold: bool = True) -> None:
    from matplotlib.patches import Ellipse, FancyBboxPatch

    look = {"facecolor": "#eef4f8", "edgecolor": BLUE, "linewidth": 1.2, "zorder": 4}
    if node.latent:
        axes.add_patch(Ellipse((x, y), width, height, **look))
    else:
        corner = f"round,pad=0,rounding_size={min(0.08, height / 5)}"
        axes.add_patch(FancyBboxPatch((x - width / 2, y - height / 2), width, height, boxstyle=corner, **look))
    inside = width * (0.86 if node.latent else 0.94)
    size = max(min(size, inside / (CHARACTER * max(map(len, node.label.split()), default=1))), 0.75 * size)
    write(axes, x, y, _text(node.label, inside, size, lines), size, bold, ha="center", va="center", linespacing=1.1, zorder=5)


def _look(edge: Edge) -> dict[str, Any]:
    return {"color": BLUE if edge.clear else SOFT, "linestyle": "-" if edge.clear else DASHED, "linewidth": 1.3, "zorder": 1}


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], edge: Edge, head: float = 11) -> None:
    from matplotlib.patches import FancyArrowPatch

    axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=head, shrinkA=0, shrinkB=0, **_look(edge)))


def _curve(axes: Axes, points: Sequence[tuple[float, float]], edge: Edge, head: float = 11) -> None:
    """Draw a cubic curve from the first to the last of four points."""
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path as Outline

    outline = Outline(list(points), [Outline.MOVETO, Outline.CURVE4, Outline.CURVE4, Outline.CURVE4])
    arrowstyle = "<|-|>" if edge.mutual else "-|>"
    axes.add_patch(FancyArrowPatch(path=outline, arrowstyle=arrowstyle, mutation_scale=head, **_look(edge)))


def _along(points: Sequence[tuple[float, float]], t: float) -> tuple[float, float]:
    """Return the point of a cubic curve at a share of its way."""
    weights = ((1 - t) ** 3, 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t**2, t**3)
    return sum(w * x for w, (x, _) in zip(weights, points)), sum(w * y for w, (_, y) in zip(weights, points))


def _coefficient(axes: Axes, x: float, y: float, edge: Edge, size: float, *, interval: str = "\n", ha: str = "center") -> None:
    """Write the coefficient of an edge; ``interval`` is what stands before its interval, empty leaves the interval out."""
    shown = edge.estimate + (f"{interval}{edge.interval}" if interval and edge.interval else "")
    if shown:
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1.2}
        colour = INK if edge.clear else SOFT
        write(axes, x, y, shown, size, ha=ha, va="center", linespacing=1.25, color=colour, bbox=box, zorder=3)


def _legend(axes: Axes, width: float, y: float, edges: Sequence[Edge]) -> None:
    """Say what full and dashed lines mean; nothing where all lines are full."""
    if all(edge.clear for edge in edges):
        return
    axes.plot([0.12, 0.42], [y] * 2, color=BLUE, linewidth=1.4)
    write(axes, 0.48, y, "interval leaves out 0", 8, va="center", color=SOFT)
    axes.plot([width / 2 + 0.15, width / 2 + 0.45], [y] * 2, color=SOFT, linewidth=1.4, linestyle=DASHED)
    write(axes, width / 2 + 0.51, y, "interval holds 0", 8, va="center", color=SOFT)


def path_diagram(nodes: Mapping[str, Node], edges: Sequence[Edge]) -> bytes:
    """Return a path diagram, causes above, outcome below, narrow enough for a 320 px screen.

    Parameters
    ----------
    nodes : mapping of str to Node
        In the order in which they stand beside each other.
    edges : sequence of Edge
        Arrows, and correlations of variables of one layer.

    Returns
    -------
    bytes
        SVG.
    """
    depth = layers(list(nodes), [(edge.source, edge.target) for edge in edges if not edge.mutual])
    levels = [[name for name in nodes if depth[name] == level] for level in range(max(depth.values(), default=0) + 1)]
    widest = max(len(level) for level in levels)
    width = max(3.4, 1.65 * widest)
    gap, box_width, box_height = 1.5, min(1.3, 0.8 * width / widest), 0.52
    first = 0.2 + 0.45 * any(edge.mutual for edge in edges)
    height = first + gap * (len(levels) - 1) + box_height + 0.55
    centre: dict[str, tuple[float, float]] = {}
    for level, names in enumerate(levels):
        for index, name in enumerate(names):
            spread = width * (index + 0.5) / len(names)
            inside = min(max(spread, box_width / 2 + 0.1), width - box_width / 2 - 0.1)
            centre[name] = (inside, first + box_height / 2 + gap * level)
    with style():
        figure, axes = canvas(width, height)
        for edge in edges:
            (x0, y0), (x1, y1) = centre[edge.source], centre[edge.target]
            if edge.mutual:
                lift = 0.45 + 0.05 * abs(x1 - x0)
                points = [(x0, y0 - box_height / 2), (x0, y0 - lift - 0.3), (x1, y1 - lift - 0.3), (x1, y1 - box_height / 2)]
                _curve(axes, points, edge)
                label = _along(points, 0.5)
            elif depth[edge.target] - depth[edge.source] > 1:
                side = -1 if x0 < width / 2 else 1
                outer = width / 2 + side * (width / 2 - 0.12)
                start, end = (x0 + box_width * 0.35 * side, y0 + box_height / 2), (x1 + box_width / 2 * side, y1)
                points = [start, (outer, y0 + gap * 0.6), (outer, y1 - 0.05), end]
                _curve(axes, points, edge)
                label = _along(points, 0.62)
                label = (min(max(label[0], 0.47), width - 0.47), label[1])
            else:
                sign = 1 if y1 >= y0 else -1
                start, end = (x0 + 0.15 * (x1 - x0), y0 + sign * box_height / 2), (x1 + 0.12 * (x0 - x1), y1 - sign * box_height / 2)
                _arrow(axes, start, end, edge)
                label = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
            _coefficient(axes, *label, edge, 9.2)
        for name, (x, y) in centre.items():
            _node(axes, nodes[name], x, y, box_width, box_height, 9.8)
        _legend(axes, width, height - 0.22, edges)
        return svg(figure)


def _sides(nodes: Mapping[str, Node], edges: Sequence[Edge]) -> tuple[list[str], list[str]]:
    """Return the factors that stand before their indicators and those that stand behind them.

    A factor stands behind where all its indicators also belong to a factor with more indicators, as the specific factors of a
    bifactor model do.
    """
    factors = [name for name, node in nodes.items() if node.latent]
    belongs = {name: {edge.target for edge in edges if edge.source == name and not edge.mutual} for name in factors}
    behind = [
        name
        for name in factors
        if belongs[name] and any(belongs[name] < belongs[other] and not nodes[next(iter(belongs[name]))].latent for other in factors)
    ]
    return [name for name in factors if name not in behind], behind


def _spread(wanted: Mapping[str, float], apart: float, low: float, high: float) -> dict[str, float]:
    """Return places near those wanted that are at least so far apart, between two ends where there is room."""
    placed: dict[str, float] = {}
    for name in sorted(wanted, key=lambda one: wanted[one]):
        placed[name] = max(wanted[name], max(placed.values(), default=low - apart) + apart)
    over = max(placed.values(), default=high) - high
    for name in reversed(list(placed)):
        if over <= 0:
            break
        placed[name] -= over
        before = [placed[other] for other in placed if placed[other] < placed[name] + over and other != name]
        over = max(before, default=-apart) + apart - placed[name]
    return placed


def factor_diagram(nodes: Mapping[str, Node], edges: Sequence[Edge], *, narrow: bool = False) -> bytes:
    """Return a diagram of a factor model: factors left of the indicators, specific factors right of them.

    Parameters
    ----------
    nodes : mapping of str to Node
        Factors, and indicators from top to bottom.
    edges : sequence of Edge
        Loadings (from factor to indicator, or from a factor of higher order to a factor) and correlations of factors.
    narrow : bool
        True leaves the intervals out, for a 320 px screen.

    Returns
    -------
    bytes
        SVG.
    """
    before, behind = _sides(nodes, edges)
    observed = [name for name, node in nodes.items() if not node.latent]
    loadings = [edge for edge in edges if not edge.mutual]
    mutual = [edge for edge in edges if edge.mutual]
    depth = layers(before, [(edge.source, edge.target) for edge in loadings if edge.target in before])
    columns = max(depth.values(), default=0) + 1
    size = 7.2 if narrow else 8.5
    width = 3.4 if narrow else 7.2
    oval = (0.82, 0.5) if narrow else (1.3, 0.56)
    longest = max((len(nodes[name].label) for name in observed), default=1)
    box = min(max(CHARACTER * size * longest + 0.16, 0.55), (1.15 if narrow else 2.3) if columns + bool(behind) < 3 else 0.75)
    lines = 2 if CHARACTER * size * longest > 0.94 * box else 1
    row = (0.29 if narrow else 0.31) + 0.13 * (lines - 1)
    rank = {name: index for factors in (before, behind) for index, name in enumerate(factors)}
    reach = max((abs(rank[edge.source] - rank[edge.target]) for edge in mutual if edge.source in before), default=0)
    near, further = (0.3, 0.36) if narrow else (0.6, 0.7)
    bulge = (near + further * (reach - 1)) * bool(reach)
    left = 0.08 + 0.75 * bulge + (0.22 if narrow else 0.4) * bool(reach)
    right = 0.08 + (oval[0] if behind else 0.0)
    end = width - right - box / 2 - ((0.62 if narrow else 1.35) if behind else 0.0)
    x_of_column = [left + oval[0] / 2 + index * (end - box / 2 - left - oval[0] / 2) / columns for index in range(columns)]
    needed = max(len(observed) * row, max(sum(depth[name] == k for name in before) for k in range(columns)) * (oval[1] + 0.12))
    needed = max(needed, len(behind) * (oval[1] + 0.12), oval[1])
    top = 0.12
    spacing = needed / max(len(observed), 1)
    place: dict[str, tuple[float, float]] = {name: (end, top + spacing * (index + 0.5)) for index, name in enumerate(observed)}
    ends = (top + oval[1] / 2, top + needed - oval[1] / 2)
    for column in range(columns - 1, -1, -1):
        _stack(place, [name for name in before if depth[name] == column], loadings, x_of_column[column], oval[1] + 0.12, ends)
    _stack(place, behind, loadings, width - 0.08 - oval[0] / 2, oval[1] + 0.12, ends)
    legend = 0.3 * any(not edge.clear for edge in edges)
    with style():
        figure, axes = canvas(width, top + needed + 0.12 + legend)
        for edge in mutual:
            (x0, y0), (x1, y1) = place[edge.source], place[edge.target]
            side = -1 if edge.source in before else 1
            own = side * (near + further * (abs(rank[edge.source] - rank[edge.target]) - 1))
            points = [(x0 + side * oval[0] / 2, y0), (x0 + side * oval[0] / 2 + own, y0), (x1 + side * oval[0] / 2 + own, y1)]
            points.append((x1 + side * oval[0] / 2, y1))
            _curve(axes, points, edge, 8)
            _coefficient(axes, *_along(points, 0.5), edge, size, interval="" if narrow else "\n")
        for edge in loadings:
            (x0, y0), (x1, y1) = place[edge.source], place[edge.target]
            side = 1 if x1 > x0 else -1
            to = oval[0] if nodes[edge.target].latent else box
            _arrow(axes, (x0 + side * oval[0] * 0.45, y0 + 0.12 * (y1 - y0) / needed), (x1 - side * to / 2, y1), edge, 8)
            _coefficient(
                axes, x1 - side * (to / 2 + 0.13), y1, edge, size, interval="" if narrow else " ", ha="right" if side > 0 else "left"
            )
        for name, (x, y) in place.items():
            wide, tall = oval if nodes[name].latent else (box, row - 0.06)
            _node(axes, nodes[name], x, y, wide, tall, size, 2 if nodes[name].latent else lines, nodes[name].latent)
        _legend(axes, width, top + needed + 0.22, edges)
        return svg(figure)


def _stack(
    place: dict[str, tuple[float, float]],
    names: Sequence[str],
    loadings: Sequence[Edge],
    x: float,
    apart: float,
    ends: tuple[float, float],
) -> None:
    """Put factors into one column, each beside the middle of what it loads on."""
    wanted = {}
    for name in names:
        own = [place[edge.target][1] for edge in loadings if edge.source == name and edge.target in place]
        wanted[name] = sum(own) / len(own) if own else sum(ends) / 2
    for name, y in _spread(wanted, apart, *ends).items():
        place[name] = (x, y)
