"""Diagrams of models, laid out in layers: boxes for what was observed, ellipses for factors, arrows with coefficients."""

from __future__ import annotations

import functools
import itertools
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

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


def _weights(t: float) -> tuple[float, float, float, float]:
    """Return how much each of the four points of a cubic curve counts at a share of its way."""
    return ((1 - t) ** 3, 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t**2, t**3)


def _along(points: Sequence[tuple[float, float]], weights: tuple[float, float, float, float]) -> tuple[float, float]:
    """Return the point of a cubic curve at some :func:`_weights`."""
    a, b, c, d = weights
    (ax, ay), (bx, by), (cx, cy), (dx, dy) = points
    return a * ax + b * bx + c * cx + d * dx, a * ay + b * by + c * cy + d * dy


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


@dataclass(frozen=True)
class _Size:
    """Measures of a path diagram in inches: ``along`` the flow of causes, and ``across`` it."""

    along: float
    across: float
    text: float
    label: tuple[float, float]
    down: bool

    def place(self, u: float, v: float) -> tuple[float, float]:
        """Return the place on the canvas of a place along and across the flow."""
        return (v, u) if self.down else (u, v)

    @property
    def label_extent(self) -> tuple[float, float]:
        """Half the extent of a coefficient along and across the flow."""
        wide, tall = self.label
        return (tall / 2, wide / 2) if self.down else (wide / 2, tall / 2)


EVENLY = tuple(_weights(index / 24) for index in range(25))


@dataclass(frozen=True)
class _Route:
    """How an edge runs, as four points of a cubic curve along and across the flow."""

    edge: Edge
    points: tuple[tuple[float, float], ...]

    @functools.cached_property
    def samples(self) -> list[tuple[float, float]]:
        """Places along the curve."""
        return [_along(self.points, weights) for weights in EVENLY]


NARROW, WIDE = 3.4, 7.2
MOST_ORDERS = 1500
BENDS = (0.0, *(sign * size / 100 for size in (35, 50, 60, 72, 85, 100, 115, 130, 150, 170, 190) for sign in (1, -1)))
SHARES = (0.5, 0.44, 0.56, 0.38, 0.62, 0.32, 0.68, 0.26, 0.74, 0.2, 0.8)


def _stages(nodes: Sequence[str], edges: Sequence[Edge]) -> list[list[str]]:
    """Return the layers of a model; what has no cause stands one layer before the first thing it acts on."""
    arrows = [(edge.source, edge.target) for edge in edges if not edge.mutual]
    depth = layers(list(nodes), arrows)
    caused = {target for _, target in arrows}
    for name in nodes:
        reached = [depth[target] for source, target in arrows if source == name]
        if name not in caused and reached:
            depth[name] = max(min(reached) - 1, 0)
    used = sorted(set(depth.values()))
    return [[name for name in nodes if depth[name] == level] for level in used]


def _crossings(lines: Sequence[tuple[tuple[float, float], tuple[float, float]]]) -> int:
    """Return how many of some straight lines cross."""
    a = np.array([start for start, _ in lines], dtype=float)
    b = np.array([end for _, end in lines], dtype=float)

    def side(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> np.ndarray:
        return (q[..., 0] - p[..., 0]) * (r[..., 1] - p[..., 1]) - (q[..., 1] - p[..., 1]) * (r[..., 0] - p[..., 0])

    first, second = np.triu_indices(len(lines), 1)
    one = side(a[first], b[first], a[second]) * side(a[first], b[first], b[second])
    other = side(a[second], b[second], a[first]) * side(a[second], b[second], b[first])
    return int(((one < -1e-9) & (other < -1e-9)).sum())


def _ordered(stages: Sequence[Sequence[str]], edges: Sequence[Edge]) -> list[list[str]]:
    """Return the layers in the order, within each, in which arrows are short and cross least; as given where there are too many orders."""
    if math.prod(math.factorial(len(stage)) for stage in stages) > MOST_ORDERS:
        return [list(stage) for stage in stages]
    best, chosen = math.inf, [list(stage) for stage in stages]
    for orders in itertools.product(*(itertools.permutations(stage) for stage in stages)):
        spot = {
            name: (float(level), index - (len(order) - 1) / 2) for level, order in enumerate(orders) for index, name in enumerate(order)
        }
        lines = [(spot[edge.source], spot[edge.target]) for edge in edges]
        through = sum(
            abs(v0 + (v1 - v0) * (u - u0) / (u1 - u0) - v) < 0.35 for (u0, v0), (u1, v1) in lines for u, v in spot.values() if u0 < u < u1
        )
        apart = sum(abs(start[1] - end[1]) - 1 for start, end in lines if start[0] == end[0])
        cost = 4 * _crossings(lines) + 3 * through + 3 * apart + sum(abs(start[1] - end[1]) for start, end in lines)
        if cost < best - 1e-9:
            best, chosen = cost, [list(order) for order in orders]
    return chosen


def _inside(point: tuple[float, float], middle: tuple[float, float], half: tuple[float, float]) -> bool:
    return abs(point[0] - middle[0]) < half[0] and abs(point[1] - middle[1]) < half[1]


def _routes(spot: Mapping[str, tuple[float, float]], edges: Sequence[Edge], size: _Size, room: tuple[float, float]) -> list[_Route]:
    """Return how every edge runs: straight where nothing stands in the way, else bent around boxes and off other edges.

    Bends are chosen between the middles of boxes' sides; then the ends of a box's edges are put beside each other in their order, and
    bends are chosen again between these ends.
    """
    half = (size.along / 2, size.across / 2)
    arrows = [edge for edge in edges if spot[edge.source][0] != spot[edge.target][0]]
    ranked = sorted(arrows, key=lambda one: abs(spot[one.target][0] - spot[one.source][0]))
    first: dict[Edge, _Route] = {}
    for edge in ranked:
        first[edge] = _free(edge, spot, half, room, list(first.values()), 0.0, 0.0)

    def slot(name: str, edge: Edge, near: int) -> float:
        own = [one for one in arrows if (one.source, one.target)[near] == name and not one.mutual]
        away = {one: first[one].samples[-9 if near else 8][1] for one in own}
        order = sorted(own, key=lambda one: (away[one], one.source, one.target))
        return (order.index(edge) - (len(order) - 1) / 2) * min(0.7 * size.across / len(order), 0.3)

    made: dict[Edge, _Route] = {}
    for edge in ranked:
        ends = (0.0, 0.0) if edge.mutual else (slot(edge.source, edge, 0), slot(edge.target, edge, 1))
        made[edge] = _free(edge, spot, half, room, list(made.values()), *ends)
    return [made[edge] if edge in made else _beside(edge, spot, size) for edge in edges]


def _free(
    edge: Edge,
    spot: Mapping[str, tuple[float, float]],
    half: tuple[float, float],
    room: tuple[float, float],
    others: Sequence[_Route],
    leaving: float,
    arriving: float,
) -> _Route:
    """Return the straightest way of an edge between two layers that keeps off boxes and, where it passes a layer, off other edges."""
    u0, u1 = sorted((spot[edge.source][0], spot[edge.target][0]))
    passes = any(u0 < u < u1 for u, _ in spot.values())
    boxes = [place for name, place in spot.items() if name not in (edge.source, edge.target)]
    taken = [point for route in others for point in route.samples[3:-3]] if passes else []
    margin = (half[0] + 0.06, half[1] + 0.1)
    best, chosen = math.inf, _bent(edge, spot, half, 0.0, leaving, arriving)
    for bend in BENDS:
        if abs(bend) >= best:
            # No way bent as much, and none of those that follow, can cost less.
            break
        route = _bent(edge, spot, half, bend, leaving, arriving)
        samples = route.samples
        cost = abs(bend) + 10 * sum(_inside(point, place, margin) for point in samples for place in boxes)
        cost += 10 * sum(not room[0] + 0.1 <= point[1] <= room[1] - 0.1 for point in samples)
        cost += 0.2 * sum(math.dist(point, other) < 0.15 for point in samples[5:-5] for other in taken)
        if cost < best - 1e-9:
            best, chosen = cost, route
    return chosen


def _bent(
    edge: Edge, spot: Mapping[str, tuple[float, float]], half: tuple[float, float], bend: float, leaving: float, arriving: float
) -> _Route:
    """Return an edge between two layers, its ends shifted along the sides of their boxes."""
    (u0, v0), (u1, v1) = spot[edge.source], spot[edge.target]
    sign = 1 if u1 >= u0 else -1
    start, end = (u0 + sign * half[0], v0 + leaving), (u1 - sign * half[0], v1 + arriving)
    # A bent edge leaves its box sideways, so that it runs beside what it passes and not only past its middle.
    shares = (0.15, 0.85) if bend else (0.33, 0.67)
    control = [tuple(start[axis] + share * (end[axis] - start[axis]) + axis * 1.33 * bend for axis in (0, 1)) for share in shares]
    return _Route(edge, (start, control[0], control[1], end))


def _beside(edge: Edge, spot: Mapping[str, tuple[float, float]], size: _Size) -> _Route:
    """Return an edge within a layer: straight between neighbours that stand one above the other, else a curve on one side of both."""
    (u0, v0), (u1, v1) = spot[edge.source], spot[edge.target]
    sign = 1 if v1 > v0 else -1
    if not size.down and not any(u == u0 and min(v0, v1) < v < max(v0, v1) for u, v in spot.values()):
        start, end = (u0, v0 + sign * size.across / 2), (u1, v1 - sign * size.across / 2)
        third = (end[1] - start[1]) / 3
        return _Route(edge, (start, (u0, start[1] + third), (u0, end[1] - third), end))
    outside = -1 if u0 == min(u for u, _ in spot.values()) else 1
    between = sum(u == u0 and min(v0, v1) < v < max(v0, v1) for u, v in spot.values())
    near = u0 + outside * size.along / 2
    far = near + outside * (0.55 + 0.42 * between)
    return _Route(edge, ((near, v0), (far, v0 + 0.15 * (v1 - v0)), (far, v1 - 0.15 * (v1 - v0)), (near, v1)))


def _overlap(one: tuple[float, float], other: tuple[float, float], half: tuple[float, float], other_half: tuple[float, float]) -> float:
    """Return the area that two rectangles share, each by its middle and half its extent."""
    shared = [half[axis] + other_half[axis] - abs(one[axis] - other[axis]) for axis in (0, 1)]
    return max(shared[0], 0.0) * max(shared[1], 0.0)


def _labels(
    routes: Sequence[_Route], spot: Mapping[str, tuple[float, float]], size: _Size, room: tuple[float, float]
) -> list[tuple[float, float]]:
    """Return where the coefficient of every edge stands: on it, off the boxes, other coefficients and, where possible, other edges."""
    half, box = size.label_extent, (size.along / 2, size.across / 2)
    paths = [route.samples for route in routes]
    placed: list[tuple[float, float]] = []

    def best(position: int, others: Sequence[tuple[float, float]]) -> tuple[float, float]:
        least, chosen = math.inf, (0.0, 0.0)
        for share in SHARES:
            if abs(share - 0.5) >= least:
                # No place as far from the middle, and none of those that follow, can cost less.
                break
            u, v = _along(routes[position].points, _weights(share))
            v = min(max(v, room[0] + half[1]), room[1] - half[1])
            taken = sum(_overlap((u, v), place, half, box) for place in spot.values())
            taken += sum(_overlap((u, v), place, half, half) for place in others)
            covers = sum(_inside(point, (u, v), half) for other, path in enumerate(paths) if other != position for point in path)
            cost = 60 * taken + 0.25 * covers + abs(share - 0.5)
            if cost < least - 1e-9:
                least, chosen = cost, (u, v)
        return chosen

    for position in range(len(routes)):
        placed.append(best(position, placed))
    # Once more with all others in their places: the first ones were put where later ones had no room beside them.
    for position in [*range(len(routes)), *range(len(routes))]:
        placed[position] = best(position, [*placed[:position], *placed[position + 1 :]])
    return placed


def path_diagram(nodes: Mapping[str, Node], edges: Sequence[Edge], *, narrow: bool = False) -> bytes:
    """Return a path diagram: causes on the left, outcome on the right, or with ``narrow`` from top to bottom for a 320 px screen.

    Parameters
    ----------
    nodes : mapping of str to Node
    edges : sequence of Edge
        Arrows and correlations.
    narrow : bool
        True for a 320 px screen.

    Returns
    -------
    bytes
        SVG.
    """
    stages = _ordered(_stages(list(nodes), edges), edges)
    widest, count = max(map(len, stages), default=1), max(len(stages), 1)
    down = narrow or count > 4
    level = {name: index for index, stage in enumerate(stages) for name in stage}
    skipping = any(not edge.mutual and abs(level[edge.target] - level[edge.source]) > 1 for edge in edges)
    side_by_side = any(edge.mutual and level[edge.source] == level[edge.target] for edge in edges)
    spans = [sorted((level[edge.source], level[edge.target])) for edge in edges]
    between = [sum(low <= stage < high for low, high in spans) for stage in range(count)]
    wide, tall = (0.72 if narrow or down else 0.78, 0.32) if any(edge.interval for edge in edges) else (0.36, 0.17)
    if down:
        channel = (0.34 if widest > 2 else 0.28) if skipping else 0.08
        across = min(1.25, (NARROW - 2 * channel - 0.12 * (widest - 1)) / widest)
        size = _Size(0.58 if widest > 2 else 0.5, across, 8.2 if widest < 3 else 7.6, (wide, tall), True)
        starts = [size.along / 2]
        for lines in between[:-1]:
            starts.append(starts[-1] + size.along + 0.5 + 0.34 * max(1.0, math.ceil(lines / 2.5)))
        spot = {
            name: (starts[index], channel + (NARROW - 2 * channel) * (place + 0.5) / len(stage))
            for index, stage in enumerate(stages)
            for place, name in enumerate(stage)
        }
        room = (0.04, NARROW - 0.04)
    else:
        size = _Size(1.45 if count < 4 else 1.15, 0.52, 9.0, (wide, tall), False)
        step = (WIDE - 0.2 - size.along) / max(count - 1, 1)
        first = 0.1 + size.along / 2 if count > 1 else WIDE / 2
        pitch = 1.3 if side_by_side else 1.0
        spot = {
            name: (first + step * index, pitch * (place - (len(stage) - 1) / 2))
            for index, stage in enumerate(stages)
            for place, name in enumerate(stage)
        }
        room = (-math.inf, math.inf)
    routes = _routes(spot, edges, size, room)
    labels = _labels(routes, spot, size, room)
    everything = [
        *((u + s * size.along / 2, v + s * size.across / 2) for u, v in spot.values() for s in (-1, 1)),
        *((u + s * size.label_extent[0], v + s * size.label_extent[1]) for u, v in labels for s in (-1, 1)),
        *(point for route in routes for point in route.samples),
    ]
    legend = 0.34 * any(not edge.clear for edge in edges)
    shift_u = 0.1 - min((u for u, _ in everything), default=0.0) if down else 0.0
    shift_v = 0.0 if down else 0.1 - min((v for _, v in everything), default=0.0)
    width = NARROW if down else WIDE
    height = 0.1 + (
        max((u for u, _ in everything), default=0.5) + shift_u if down else max((v for _, v in everything), default=0.5) + shift_v
    )

    def at(place: tuple[float, float]) -> tuple[float, float]:
        return size.place(place[0] + shift_u, place[1] + shift_v)

    with style():
        figure, axes = canvas(width, height + legend)
        for route, label in zip(routes, labels):
            _curve(axes, [at(point) for point in route.points], route.edge, 10)
            _coefficient(axes, *at(label), route.edge, size.text)
        wide, tall = (size.across, size.along) if down else (size.along, size.across)
        for name, place in spot.items():
            _node(axes, nodes[name], *at(place), wide, tall, size.text + 0.4, 3 if down and widest > 2 else 2)
        _legend(axes, width, height + 0.12, edges)
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


def factor_diagram(nodes: Mapping[str, Node], edges: Sequence[Edge], *, narrow: bool = False, stacked: bool = False) -> bytes:
    """Return a diagram of a factor model: factors left of the indicators, specific factors right of them.

    Parameters
    ----------
    nodes : mapping of str to Node
        Factors, and indicators from top to bottom.
    edges : sequence of Edge
        Loadings (from factor to indicator, or from a factor of higher order to a factor), correlations of factors, and paths between
        factors.
    narrow : bool
        True for a 320 px screen; leaves the intervals out.
    stacked : bool
        True writes intervals below coefficients, on narrow screens too.

    Returns
    -------
    bytes
        SVG.
    """
    before, behind = _sides(nodes, edges)
    observed = [name for name, node in nodes.items() if not node.latent]
    measured = {edge.source for edge in edges if not nodes[edge.target].latent}
    # A path between two factors with indicators of their own runs beside them, as their correlation would.
    mutual = [edge for edge in edges if edge.mutual or {edge.source, edge.target} <= measured]
    loadings = [edge for edge in edges if edge not in mutual]
    depth = layers(before, [(edge.source, edge.target) for edge in loadings if edge.target in before])
    columns = max(depth.values(), default=0) + 1
    size = 7.2 if narrow else 8.5
    width = 3.4 if narrow else 7.2
    oval = (0.82, 0.5) if narrow else (1.3, 0.56)
    longest = max((len(nodes[name].label) for name in observed), default=1)
    box = min(max(CHARACTER * size * longest + 0.16, 0.55), (1.15 if narrow else 2.3) if columns + bool(behind) < 3 else 0.75)
    lines = 2 if CHARACTER * size * longest > 0.94 * box else 1
    row = (0.29 if narrow else 0.31) + 0.13 * max(lines - 1, stacked)
    beside = "\n" if stacked else "" if narrow else " "
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
            _coefficient(axes, *_along(points, _weights(0.5)), edge, size, interval="" if narrow and not stacked else "\n")
        for edge in loadings:
            (x0, y0), (x1, y1) = place[edge.source], place[edge.target]
            side = 1 if x1 > x0 else -1
            to = oval[0] if nodes[edge.target].latent else box
            _arrow(axes, (x0 + side * oval[0] * 0.45, y0 + 0.12 * (y1 - y0) / needed), (x1 - side * to / 2, y1), edge, 8)
            _coefficient(axes, x1 - side * (to / 2 + 0.13), y1, edge, size, interval=beside, ha="right" if side > 0 else "left")
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
