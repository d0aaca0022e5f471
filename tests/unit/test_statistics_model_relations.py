"""Which structural models data can tell apart, and which of them can be estimated at all."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest
from alliance.statistics.model_relations import relation, relation_of, scale_invariant_of
from alliance.statistics.structural_fit import Moments, fit_structural
from alliance.statistics.structural_identification import feedback_loop, implied_moments, not_identified
from alliance.statistics.structural_model import layout, parse_structural

CHAIN, BACKWARDS, FORK = "m ~ x\ny ~ m", "m ~ y\nx ~ m", "x ~ m\ny ~ m\nx ~~ 0*y"
COLLIDER = "m ~ x + y\nx ~~ 0*y"
PARTIAL = "m ~ x\ny ~ m + x"
ITEMS = [f"v{number}" for number in range(1, 10)]
GROUPS = "".join(f"f{place + 1} =~ {' + '.join(ITEMS[3 * place : 3 * place + 3])}\n" for place in range(3))
ONE_FACTOR = f"g =~ {' + '.join(ITEMS)}"
SECOND_ORDER = GROUPS + "g =~ f1 + f2 + f3"
ORTHOGONAL = "".join(f"{pair.split()[0]} ~~ 0*{pair.split()[1]}\n" for pair in ("g f1", "g f2", "g f3", "f1 f2", "f1 f3", "f2 f3"))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (CHAIN, BACKWARDS),  # Stelzl (1986): the direction of a chain
        (CHAIN, FORK),
        (PARTIAL, "x ~ m\ny ~ m + x"),  # Lee and Hershberger (1990): a saturated block may be turned round
        (PARTIAL, "m ~ x\ny ~ x\nm ~~ y"),  # a path or correlated residuals
        ("a =~ v1 + v2 + v3\nb =~ v4 + v5 + v6\na ~~ b", "a =~ v1 + v2 + v3\nb =~ v4 + v5 + v6\nb ~ a"),
        (GROUPS, SECOND_ORDER),  # three factors: a second-order factor restricts nothing
    ],
)
def test_models_known_to_be_equivalent_are_found(first: str, second: str) -> None:
    assert relation_of(first, second) == relation_of(second, first) == "equivalent"


@pytest.mark.parametrize(
    ("small", "large"),
    [
        (CHAIN, PARTIAL),
        (COLLIDER, PARTIAL),
        ("y ~ a*x + a*m", "y ~ x + m"),
        (ONE_FACTOR, GROUPS),
        (ONE_FACTOR, SECOND_ORDER),
        ("y ~ 0*x + m", "y ~ x + m"),
    ],
)
def test_nested_models_are_found_and_which_is_the_smaller(small: str, large: str) -> None:
    assert relation_of(small, large) == "nested"
    assert relation_of(large, small) == "contains"


def test_a_second_order_factor_is_nested_in_a_bifactor_model() -> None:
    # Yung, Thissen and McLeod (1999).
    bifactor = ONE_FACTOR + "\n" + GROUPS + ORTHOGONAL
    assert relation_of(SECOND_ORDER, bifactor) == "nested"
    # At one factor nothing tells the loadings of the group factors apart, so that no chi-square difference could be tested.
    assert relation_of(ONE_FACTOR, bifactor) == "different"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (CHAIN, COLLIDER),  # the collider is what the chain is not: x and y independent
        (CHAIN, "y ~ x\nm ~ y"),
        ("a =~ v1 + v2 + v3\nb =~ v4 + v5 + v6", "a =~ v1 + v2 + v4\nb =~ v3 + v5 + v6"),
        ("a =~ v1 + v2 + v3 + v4 + v5\nv1 ~~ v2", "a =~ v1 + v2 + v3 + v4 + v5\nv2 ~~ v3"),
    ],
)
def test_models_of_which_neither_implies_the_other_are_different(first: str, second: str) -> None:
    assert relation_of(first, second) == relation_of(second, first) == "different"


def test_models_of_different_variables_are_not_compared() -> None:
    with pytest.raises(ValueError, match="different observed variables"):
        relation(parse_structural("y ~ x"), parse_structural("y ~ z"))


@pytest.mark.parametrize(
    ("syntax", "loop"),
    [
        ("y ~ x", ()),
        (PARTIAL, ()),
        ("a ~ b\nb ~ a", {"a", "b"}),
        ("b ~ a\nc ~ b\na ~ c\nd ~ a", {"a", "b", "c"}),
        ("f =~ v1 + v2 + v3\nf ~ y\ny ~ f", {"f", "y"}),
    ],
)
def test_feedback_is_named_in_the_direction_of_the_arrows(syntax: str, loop: set[str] | tuple[()]) -> None:
    model = parse_structural(syntax)
    found = feedback_loop(model)
    if not loop:
        assert found == ()
        return
    assert found[0] == found[-1] and set(found) == loop and len(found) == len(loop) + 1
    arrows = {(term.rhs, term.lhs) for term in model.terms if term.op == "~"}
    assert set(pairwise(found)) <= arrows


@pytest.mark.parametrize(
    "syntax",
    [
        PARTIAL,
        "f =~ v1 + v2 + v3",
        "f =~ v1 + v2\ng =~ v3 + v4\nf ~~ g",  # Bollen (1989): two indicators each, factors that correlate
        "a ~ b + x\nb ~ a + z\na ~~ b",  # feedback with an instrument for each (order and rank condition)
        "f =~ c*v1 + c*v2",
        ONE_FACTOR + "\n" + GROUPS + ORTHOGONAL,
    ],
)
def test_models_known_to_be_identified_pass(syntax: str) -> None:
    assert not_identified(parse_structural(syntax)) == ""


@pytest.mark.parametrize(
    ("syntax", "said"),
    [
        ("f =~ v1 + v2", "it has 4 free parameters; 2 observed variables allow 3"),
        ("y ~ x\ny ~~ x", "no data could tell these parameters apart: .*y ~ x|it has 4 free parameters"),
        ("f =~ v1 + v2\ng =~ v3 + v4\nf ~~ 0*g", "no data could tell these parameters apart"),
        ("a ~ b + x\nb ~ a + x\na ~~ b", "it has|no data could tell"),
        ("a ~ b + x + z\nb ~ a\na ~~ b", "no data could tell these parameters apart: a~b, a~x, a~z"),
    ],
)
def test_models_known_not_to_be_identified_are_refused_with_what_cannot_be_told_apart(syntax: str, said: str) -> None:
    assert re.search(said, not_identified(parse_structural(syntax)))


@pytest.mark.parametrize("syntax", [CHAIN, COLLIDER, GROUPS, SECOND_ORDER])
def test_a_model_fits_what_it_implies(syntax: str) -> None:
    model = parse_structural(syntax)
    covariance = implied_moments(layout(model), np.random.default_rng(4))[1][0]
    assert np.linalg.eigvalsh(covariance).min() > 0
    fitted = fit_structural(model, Moments(500, covariance * 500 / 499, None, model.observed))
    assert fitted.fit.chi2 == pytest.approx(0, abs=1e-6)


def test_what_a_chain_implies_follows_the_rules_of_path_tracing() -> None:
    covariance = implied_moments(layout(parse_structural(CHAIN)), np.random.default_rng(4))[1][0]
    m, y, x = (parse_structural(CHAIN).observed.index(name) for name in ("m", "y", "x"))
    assert covariance[x, y] == pytest.approx(covariance[x, m] * covariance[m, y] / covariance[m, m])


@pytest.mark.parametrize(
    ("syntax", "expected"),
    [
        (PARTIAL, True),
        (CHAIN, True),
        (COLLIDER, True),
        (SECOND_ORDER, True),
        ("g =~ NA*v1 + v2 + v3 + v4\ng ~~ 1*g", True),
        ("m ~ a*x\ny ~ a*m + x", False),
        ("m ~ a*x\ny ~ b*m + x\na == b", False),
        ("m ~ 0.5*x\ny ~ m", False),
        ("g =~ v1 + 1*v2 + 1*v3 + 1*v4", False),  # equal loadings hold in one unit (Cudeck, 1989)
        ("m ~ a*x\ny ~ a*x", False),
    ],
)
def test_models_that_hold_in_one_unit_only_are_found(syntax: str, expected: bool) -> None:
    assert scale_invariant_of(syntax) is expected


@pytest.mark.parametrize(
    ("first", "second", "equal", "expected"),
    [
        ("y ~ c(b, b)*x", "y ~ c(b1, b2)*x", ((), ()), "nested"),
        ("y ~ x", "y ~ x", (("regressions",), ()), "nested"),
        ("y ~ c(b, b)*x", "y ~ x", ((), ("regressions",)), "equivalent"),
        ("y ~ x", "y ~ x", (("residuals",), ("regressions",)), "different"),
        ("y ~ x", "x ~ y", (("regressions",), ("regressions",)), "different"),
        ("y ~ x", "y ~ x", (("intercepts", "regressions"), ("regressions",)), "nested"),
    ],
)
def test_equality_over_groups_decides_how_models_relate(first: str, second: str, equal: tuple, expected: str) -> None:
    assert relation_of(first, second, 2, tuple((own, ()) for own in equal)) == expected


@pytest.mark.parametrize(
    ("syntax", "equal", "expected"),
    [("y ~ c(b, b)*x", (), True), ("y ~ x", ("regressions", "residuals"), True), ("y ~ b*x + b*z", (), False)],
)
def test_what_is_equal_over_groups_is_so_in_all_units_that_groups_share(syntax: str, equal: tuple, expected: bool) -> None:
    assert scale_invariant_of(syntax, 2, (equal, ())) is expected
