"""Diagrams of models: where variables stand, and that drawings fit on narrow screens and depend on nothing but their data."""

from __future__ import annotations

from itertools import pairwise
from xml.etree import ElementTree

import pytest
from alliance.reports import diagram
from alliance.reports.diagram import Edge, Node

HOSTILE = '"><script>alert(1)</script>$\\frac{1}{0}$ \u202e'


def model(n_factors: int, n_items: int, general: bool = False) -> tuple[dict[str, Node], list[Edge]]:
    """Return factors with their items, correlated, or uncorrelated beside a general factor."""
    factors = [f"f{number}" for number in range(n_factors)]
    nodes = {"general": Node("general", True)} if general else {}
    nodes |= {name: Node(f"factor {name}", True) for name in factors}
    edges = []
    for name in factors:
        for number in range(n_items):
            nodes[f"{name}_{number}"] = Node(f"item {number + 1}")
            edges.append(Edge(name, f"{name}_{number}", ".71", "[.60, .80]"))
            edges += [Edge("general", f"{name}_{number}", ".02", "[-.10, .14]", clear=False)] if general else []
    mutual = [] if general else [(a, b) for a in factors for b in factors if a < b]
    return nodes, edges + [Edge(a, b, ".80", "[.70, .90]", mutual=True) for a, b in mutual]


def size(drawing: bytes) -> tuple[float, float]:
    """Return width and height of a drawing in inches."""
    root = ElementTree.fromstring(drawing)
    return tuple(float(root.attrib[name].removesuffix("pt")) / 72 for name in ("width", "height"))


def test_the_layers_of_a_path_model_follow_its_arrows():
    arrows = [("empathy", "alliance"), ("severity", "alliance"), ("alliance", "outcome"), ("empathy", "outcome")]
    found = diagram.layers(["empathy", "severity", "alliance", "outcome"], arrows)
    assert found == {"empathy": 0, "severity": 0, "alliance": 1, "outcome": 2}


def test_a_circle_of_arrows_does_not_keep_the_layers_from_ending():
    assert max(diagram.layers(["a", "b", "c"], [("a", "b"), ("b", "c"), ("c", "a")]).values()) <= 2


def test_specific_factors_stand_behind_the_items_and_the_general_one_before_them():
    nodes, edges = model(3, 4, general=True)
    assert diagram._sides(nodes, edges) == (["general"], ["f0", "f1", "f2"])
    nodes, edges = model(3, 4)
    assert diagram._sides(nodes, edges) == (["f0", "f1", "f2"], [])


def test_a_factor_of_second_order_stands_before_its_factors():
    nodes, edges = model(2, 3)
    nodes = {"second": Node("alliance", True), **nodes}
    edges = [edge for edge in edges if not edge.mutual] + [Edge("second", "f0", ".9"), Edge("second", "f1", ".8")]
    assert diagram._sides(nodes, edges)[1] == []


def test_a_path_between_factors_leaves_them_beside_each_other_with_an_arrow_of_one_head(monkeypatch):
    nodes, edges = model(2, 3)
    edges = [edge for edge in edges if not edge.mutual] + [Edge("f0", "f1", ".5", "[.4, .6]")]
    drawn = []
    original = diagram._curve
    monkeypatch.setattr(
        diagram, "_curve", lambda axes, points, edge, head: (drawn.append((points, edge)), original(axes, points, edge, head))
    )
    diagram.factor_diagram(nodes, edges, narrow=True, stacked=True)
    points, edge = drawn[0]
    assert (edge.source, edge.target, edge.mutual) == ("f0", "f1", False)
    assert points[0][0] == points[-1][0] and points[1][0] < points[0][0]


@pytest.mark.parametrize("wanted", [{"a": 1.0, "b": 1.0, "c": 1.1}, {"a": 0.2, "b": 2.9, "c": 3.0}, {"a": 3.0, "b": 3.0}])
def test_factors_that_want_one_place_are_put_apart(wanted):
    placed = sorted(diagram._spread(wanted, 0.6, 0.3, 3.0).values())
    assert all(b - a >= 0.6 - 1e-9 for a, b in pairwise(placed))
    assert placed[0] >= 0.3 - 1e-9 and placed[-1] <= 3.0 + 1e-9


@pytest.mark.parametrize(("shape", "general"), [((1, 36), False), ((3, 12), False), ((3, 4), True), ((2, 1), False)])
def test_factor_diagrams_fit_on_a_narrow_screen_and_in_print(shape, general):
    nodes, edges = model(*shape, general=general)
    for narrow, width in ((False, 7.2), (True, 3.4)):
        drawing = diagram.factor_diagram(nodes, edges, narrow=narrow)
        wide, tall = size(drawing)
        assert wide == pytest.approx(width, abs=0.01) and 0.5 < tall < 0.35 * 36 + 1
        assert drawing == diagram.factor_diagram(nodes, edges, narrow=narrow)
        assert not [element for element in ElementTree.fromstring(drawing).iter() if element.tag.endswith("}text")]


def test_labels_of_any_kind_are_only_drawn():
    nodes = {"f": Node(HOSTILE, True), "x": Node(HOSTILE), "y": Node("")}
    edges = [Edge("f", "x", HOSTILE, HOSTILE), Edge("f", "y")]
    for drawing in (diagram.factor_diagram(nodes, edges), diagram.path_diagram(nodes, edges)):
        assert b"<script" not in drawing and ElementTree.fromstring(drawing) is not None


def test_letters_keep_their_size_when_a_drawing_is_shortened():
    drawing = diagram.path_diagram({"a": Node("Cause"), "b": Node("Effect")}, [Edge("a", "b", ".30")]).decode()
    assert 'transform="scale(.5)"' in drawing and "<!--" not in drawing and "clip-path" not in drawing
    named = {element.attrib["id"] for element in ElementTree.fromstring(drawing).iter() if "id" in element.attrib}
    used = {
        value[1:] for element in ElementTree.fromstring(drawing).iter() for name, value in element.attrib.items() if name.endswith("}href")
    }
    assert used and used <= named
