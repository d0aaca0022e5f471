"""Path models as text: what can be read, and what a user hears about each fault."""

from __future__ import annotations

import numpy as np
import pytest
from alliance.statistics.structural_model import ModelSyntaxError, layout, parse_structural

VARIABLES = ("empathy", "alliance", "outcome", "severity")


def faults(syntax: str, variables: tuple[str, ...] | None = VARIABLES) -> list[tuple[int, str, str]]:
    with pytest.raises(ModelSyntaxError) as caught:
        parse_structural(syntax, variables)
    return [(problem.line, problem.message, problem.suggestion) for problem in caught.value.problems]


def test_a_model_with_labels_comments_and_several_lines_is_read() -> None:
    model = parse_structural(
        """
        # the working model
        alliance ~ a*empathy + severity   ! early sessions
        outcome ~ b*alliance + c*empathy +
            severity
        indirect := a*b; total := c + a*b
        """,
        VARIABLES,
    )
    assert model.observed == ("alliance", "empathy", "severity", "outcome")
    assert [(term.lhs, term.rhs, term.label(0), term.line) for term in model.terms] == [
        ("alliance", "empathy", "a", 3),
        ("alliance", "severity", "", 3),
        ("outcome", "alliance", "b", 4),
        ("outcome", "empathy", "c", 4),
        ("outcome", "severity", "", 4),
    ]
    assert [(item.name, item.names) for item in model.defined] == [("indirect", ("a", "b")), ("total", ("a", "b", "c"))]


def test_outcomes_that_predict_nothing_get_a_residual_covariance_as_in_lavaan() -> None:
    def covariances(syntax: str) -> list[str]:
        return [term.name for term in layout(parse_structural(syntax), fixed_x=True).terms if term.op == "~~" and term.lhs != term.rhs]

    assert covariances("alliance ~ empathy\noutcome ~ empathy") == ["alliance~~outcome"]
    assert covariances("alliance ~ empathy\noutcome ~ alliance") == []


@pytest.mark.parametrize(
    ("syntax", "line", "message", "suggestion"),
    [
        ("", 0, "the model is empty", "write for example"),
        ("outcome ~ alliannce", 1, "unknown variable 'alliannce'", "did you mean 'alliance'?"),
        ("outcome ~ outcome", 1, "'outcome' cannot predict itself", "leave the term out"),
        ("outcome ~ alliance\noutcome ~ alliance", 2, "stands there twice", "leave one out"),
        ("outcome ~ a*alliance\nindirect := a*bb", 2, "uses the label 'bb'", "put the label before a variable"),
        ("outcome ~ alpha*alliance\nindirect := alhpa*2", 2, "uses the label 'alhpa'", "did you mean 'alpha'?"),
        ("outcome ~ a*alliance\na := 2", 2, "'a' is defined twice", "another name"),
        ("outcome alliance", 1, "holds no '=~', '~' or '~~'", "write for example"),
        ("outcome ~ alliance:empathy", 1, "'alliance:empathy' is no term", "product"),
        ("outcome ~ alliance +", 1, "is no term", "joined by '+'"),
        ("outcome ~ a*b*alliance", 1, "more than one modifier", "NA*alliance"),
        ("outcome ~ alliance\nx := __import__('os').getcwd()", 2, "cannot be computed", "use labels, numbers"),
        ("outcome ~ a*alliance\nx := (lambda: a)()", 2, "cannot be computed", "use labels, numbers"),
        ("outcome ~ a*alliance\nx := " + "(" * 400 + "a" + ")" * 400, 2, "cannot be computed", "use labels, numbers"),
    ],
)
def test_a_fault_is_named_with_its_line_and_what_to_do(syntax: str, line: int, message: str, suggestion: str) -> None:
    found = faults(syntax)
    assert any(at == line and message in what and suggestion in hint for at, what, hint in found), found


def test_all_faults_are_found_at_once() -> None:
    found = faults("outcome ~ alliannce\noutcome ~ outcome\nseverity < outcome\nindirect := a*b")
    assert [line for line, *_ in found] == [1, 2, 3, 4, 4]


def test_long_or_hidden_characters_are_shown_safely() -> None:
    ((_, message, _),) = faults("outcome ~ alli\u202eance" + "x" * 500)
    assert "\u202e" not in message
    assert len(message) < 120


def test_defined_parameters_follow_the_rules_of_arithmetic() -> None:
    model = parse_structural("y ~ a*x + b*z\nvalue := -(a + 2*b)^2/exp(log(a)) - sqrt(b)\nmore := value*2")
    known = {"a": np.array([2.0, 3.0]), "b": np.array([4.0, 1.0])}
    value = model.defined[0].value(known)
    assert value == pytest.approx([-(10**2) / 2 - 2, -(5**2) / 3 - 1])
    assert model.defined[1].value({**known, "value": value}) == pytest.approx(2 * value)
