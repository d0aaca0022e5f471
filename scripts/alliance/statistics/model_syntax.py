"""Path models as text, in the notation of lavaan: ``y ~ a*x + z``, ``y1 ~~ y2``, ``indirect := a*b``."""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from alliance.issues import shown

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*\Z")
FUNCTIONS = {"exp": np.exp, "log": np.log, "sqrt": np.sqrt}

OPERATORS = re.compile(r":=|=~|~~|==|<|>|~|=")
_UNSUPPORTED = {
    "=~": ("latent variables are not supported here", "use a scale score as the variable"),
    "==": ("constraints are not supported", "give two paths the same label to make them equal"),
    "<": ("constraints are not supported", "leave the line out"),
    ">": ("constraints are not supported", "leave the line out"),
    "=": ("'=' is no operator", "write '~' for a regression or ':=' for a defined parameter"),
}
_MAX_EXPRESSION = 1000


@dataclass(frozen=True)
class Problem:
    """One fault of a model: its line (from 1, 0 for the whole model), what is wrong, and what to do."""

    line: int
    message: str
    suggestion: str = ""

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line else ""
        return f"{place}{self.message}" + (f"; {self.suggestion}" if self.suggestion else "")


class ModelSyntaxError(ValueError):
    """A model that cannot be read; ``problems`` lists every fault that was found."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line))
        super().__init__("\n".join(str(problem) for problem in self.problems))


@dataclass(frozen=True)
class Term:
    """A path from ``rhs`` to ``lhs``, or a residual covariance of the two.

    ``label`` is empty without one; terms with equal labels have equal values. ``fixed`` is the value of a term that is not estimated.
    """

    lhs: str
    op: str
    rhs: str
    label: str = ""
    fixed: float | None = None
    line: int = 0

    @property
    def name(self) -> str:
        """What the parameter is called: its label, else ``lhs~rhs``."""
        return self.label or f"{self.lhs}{self.op}{self.rhs}"


@dataclass(frozen=True)
class Defined:
    """A parameter computed from labels and earlier defined parameters."""

    name: str
    expression: str
    line: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """Labels the expression uses, sorted."""
        tree = _expression_tree(self.expression)
        calls = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        return tuple(sorted({node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in calls}))

    def value(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the value for values of the labels (numbers or arrays of one shape, real or complex)."""
        return _evaluate(_expression_tree(self.expression).body, values)


@dataclass(frozen=True)
class Model:
    """A recursive path model of observed variables.

    Attributes
    ----------
    variables : tuple of str
        All variables: outcomes in causal order, then exogenous ones in order of appearance.
    endogenous, exogenous : tuple of str
        The two parts of ``variables``.
    paths : tuple of Term
        Regressions, in the order written.
    covariances : tuple of Term
        Residual covariances: those written, then those that lavaan adds by default, between outcomes that predict nothing.
    defined : tuple of Defined
        Defined parameters.
    """

    variables: tuple[str, ...]
    endogenous: tuple[str, ...]
    exogenous: tuple[str, ...]
    paths: tuple[Term, ...]
    covariances: tuple[Term, ...]
    defined: tuple[Defined, ...]


def parse(syntax: str, variables: Sequence[str] | None = None) -> Model:
    """Read a path model.

    One statement stands on a line (or before a ``;``); a line that ends in an operator goes on in the next, as does one whose next begins
    with ``+`` or ``*``. ``#`` and ``!`` begin comments. A number before ``*`` fixes a path, a name labels it.

    Parameters
    ----------
    syntax : str
        The model.
    variables : sequence of str, optional
        Names that may be used; without it every name may.

    Raises
    ------
    ModelSyntaxError
        With every fault: unknown variable, path to itself, cycle, nothing to estimate, undefined label, path given twice, ...
    """
    problems: list[Problem] = []
    paths: list[Term] = []
    covariances: list[Term] = []
    defined: list[Defined] = []
    for line, statement in statements(syntax):
        operator = OPERATORS.search(statement)
        if operator is None:
            problems.append(Problem(line, f"'{shown(statement)}' holds no '~', '~~' or ':='", "write for example 'outcome ~ alliance'"))
        elif operator.group() in _UNSUPPORTED:
            problems.append(Problem(line, *_UNSUPPORTED[operator.group()]))
        else:
            left, right = statement[: operator.start()].strip(), statement[operator.end() :].strip()
            if operator.group() == ":=":
                read_defined(left, right, line, defined, problems)
            else:
                _read_terms(left, operator.group(), right, line, paths if operator.group() == "~" else covariances, problems)
    _check_variables([*paths, *covariances], variables, problems)
    endogenous = tuple(dict.fromkeys(term.lhs for term in paths))
    if not paths and not problems:
        problems.append(Problem(0, "the model holds no regression", "write for example 'outcome ~ alliance'"))
    kept = _check_covariances(covariances, set(endogenous), problems)
    _check_twice(paths, problems)
    order = _causal_order(endogenous, paths, problems)
    _check_defined(defined, paths, kept, problems)
    if problems:
        raise ModelSyntaxError(problems)
    exogenous = tuple(dict.fromkeys(term.rhs for term in paths if term.rhs not in endogenous))
    written = {frozenset((term.lhs, term.rhs)) for term in kept}
    predictors = {term.rhs for term in paths}
    last = [name for name in order if name not in predictors]
    added = [Term(a, "~~", b) for i, a in enumerate(last) for b in last[i + 1 :] if frozenset((a, b)) not in written]
    return Model((*order, *exogenous), order, exogenous, tuple(paths), (*kept, *added), tuple(defined))


def statements(syntax: str) -> list[tuple[int, str]]:
    """Return the statements of a model with the line each begins on; comments are left out and continued lines joined."""
    found: list[tuple[int, str]] = []
    for number, text in enumerate(syntax.splitlines(), start=1):
        for part in re.split(r"[#!]", text, maxsplit=1)[0].split(";"):
            part = part.strip()
            if not part:
                continue
            goes_on = bool(found) and (found[-1][1][-1] in "+*~=-/(" or part[0] in "+*")
            if goes_on and not (part[0] not in "+*" and OPERATORS.search(part)):
                found[-1] = (found[-1][0], f"{found[-1][1]} {part}")
            else:
                found.append((number, part))
    return found


def _read_terms(left: str, op: str, right: str, line: int, terms: list[Term], problems: list[Problem]) -> None:
    targets = [name.strip() for name in left.split("+")]
    for name in targets:
        if not NAME.match(name):
            problems.append(Problem(line, f"'{shown(name)}' before '{op}' is no variable name", "names hold letters, digits, '_' and '.'"))
    for text in right.split("+"):
        pieces = [piece.strip() for piece in text.split("*")]
        name, label, fixed = pieces[-1], "", None
        if name in ("0", "1") and len(pieces) == 1:
            problems.append(Problem(line, "an intercept is not part of the model", f"leave out '{name}'; means do not matter here"))
            continue
        if not NAME.match(name):
            suggestion = "add the product as a variable" if ":" in name else "write terms as 'label*variable', joined by '+'"
            problems.append(Problem(line, f"'{shown(text.strip())}' is no term of a model", suggestion))
            continue
        if len(pieces) > 2:
            problems.append(Problem(line, f"'{shown(text.strip())}' has more than one label", "give one label"))
            continue
        if len(pieces) == 2:
            if NAME.match(pieces[0]):
                label = pieces[0]
            else:
                fixed = number(pieces[0])
                if fixed is None:
                    problems.append(Problem(line, f"'{shown(pieces[0])}' is neither a label nor a number", "use a name or a number"))
                    continue
        terms.extend(Term(target, op, name, label, fixed, line) for target in targets if NAME.match(target))


def number(text: str) -> float | None:
    """Return the finite number a text writes, or None."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def read_defined(left: str, right: str, line: int, defined: list[Defined], problems: list[Problem]) -> None:
    """Add a defined parameter to ``defined``, or what is wrong with it to ``problems``."""
    if not NAME.match(left):
        problems.append(Problem(line, f"'{shown(left)}' before ':=' is no name", "names hold letters, digits, '_' and '.'"))
        return
    try:
        _expression_tree(right)
    except ValueError as fault:
        problems.append(Problem(line, f"'{shown(right)}' cannot be computed: {fault}", "use labels, numbers, + - * / ^ and brackets"))
        return
    defined.append(Defined(left, right, line))


def _check_variables(terms: list[Term], variables: Sequence[str] | None, problems: list[Problem]) -> None:
    for term in terms:
        if term.lhs == term.rhs and term.op == "~":
            problems.append(Problem(term.line, f"'{term.lhs}' cannot predict itself", "leave the term out"))
    if variables is None:
        return
    seen = set()
    for term in terms:
        for name in (term.lhs, term.rhs):
            if name not in variables and name not in seen:
                seen.add(name)
                nearest = difflib.get_close_matches(name, list(variables), n=1, cutoff=0.5)
                known = f"did you mean '{nearest[0]}'?" if nearest else f"known: {', '.join(variables)}"
                problems.append(Problem(term.line, f"unknown variable '{shown(name)}'", known))


def _check_covariances(covariances: list[Term], endogenous: set[str], problems: list[Problem]) -> list[Term]:
    """Return residual covariances of two outcomes; what is estimated anyway is dropped."""
    kept: list[Term] = []
    seen: set[frozenset[str]] = set()
    for term in covariances:
        pair = frozenset((term.lhs, term.rhs))
        if pair in seen:
            problems.append(Problem(term.line, f"'{term.lhs} ~~ {term.rhs}' stands there twice", "leave one out"))
        seen.add(pair)
        both = pair & endogenous
        if len(pair) == 2 and len(both) == 1:
            message = f"'{term.lhs} ~~ {term.rhs}' joins an outcome and a predictor"
            problems.append(Problem(term.line, message, "write a regression ('~') between them"))
        elif len(pair) == 1 or not both:
            if term.label or term.fixed is not None:
                message = f"'{term.lhs} ~~ {term.rhs}' is estimated from the data and takes no label or value"
                problems.append(Problem(term.line, message, "leave the label out"))
            elif not both:
                message = f"'{term.lhs} ~~ {term.rhs}' joins variables that no regression explains"
                problems.append(Problem(term.line, message, "leave it out: covariances of predictors are taken as observed"))
        else:
            kept.append(term)
    return kept


def _check_twice(paths: list[Term], problems: list[Problem]) -> None:
    seen: set[tuple[str, str]] = set()
    for term in paths:
        if (term.lhs, term.rhs) in seen:
            problems.append(Problem(term.line, f"'{term.lhs} ~ {term.rhs}' stands there twice", "leave one out"))
        seen.add((term.lhs, term.rhs))


def _causal_order(endogenous: tuple[str, ...], paths: list[Term], problems: list[Problem]) -> tuple[str, ...]:
    causes = {name: {term.rhs for term in paths if term.lhs == name and term.rhs in endogenous} - {name} for name in endogenous}
    order: list[str] = []
    while len(order) < len(endogenous):
        ready = [name for name in endogenous if name not in order and causes[name] <= set(order)]
        if not ready:
            left = [name for name in endogenous if name not in order]
            line = min(term.line for term in paths if term.lhs in left)
            problems.append(Problem(line, f"variables predict each other in a circle: {_circle(left, causes)}", "turn or drop one path"))
            return endogenous
        order.append(ready[0])
    return tuple(order)


def _circle(left: list[str], causes: dict[str, set[str]]) -> str:
    walk = [left[0]]
    while True:
        following = next(name for name in left if name in causes[walk[-1]])
        if following in walk:
            return " <- ".join([*walk[walk.index(following) :], following])
        walk.append(following)


def _check_defined(defined: list[Defined], paths: list[Term], covariances: list[Term], problems: list[Problem]) -> None:
    labels = dict.fromkeys(term.label for term in [*paths, *covariances] if term.label)
    known = list(labels)
    names: set[str] = set()
    for item in defined:
        if item.name in labels or item.name in names:
            problems.append(Problem(item.line, f"'{item.name}' is defined twice", "choose another name"))
        for name in item.names:
            if name not in known:
                nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
                hint = f"did you mean '{nearest[0]}'?" if nearest else "put the label before a variable: 'y ~ a*x'"
                problems.append(Problem(item.line, f"'{item.name}' uses the label '{shown(name)}', which no path above has", hint))
        names.add(item.name)
        known.append(item.name)
    for label in labels:
        kinds = {term.op for term in [*paths, *covariances] if term.label == label}
        if len(kinds) > 1:
            line = max(term.line for term in [*paths, *covariances] if term.label == label)
            problems.append(Problem(line, f"the label '{label}' stands for a path and a covariance", "use two labels"))


def expression(text: str) -> ast.expr:
    """Return the parsed arithmetic of a defined parameter; ValueError says what is not allowed."""
    return _expression_tree(text).body


def _expression_tree(text: str) -> ast.Expression:
    """Return the parsed arithmetic of a defined parameter; ValueError says what is not allowed."""
    if not text.strip() or len(text) > _MAX_EXPRESSION:
        raise ValueError("it is empty" if not text.strip() else "it is too long")
    encoded = re.sub(r"(?<=[A-Za-z0-9_])\.(?=[A-Za-z_])", "\u00b7", text).replace("^", "**")
    try:
        tree = ast.parse(encoded.strip(), mode="eval")
    except (SyntaxError, RecursionError, MemoryError):
        raise ValueError("it is no arithmetic") from None
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            node.id = node.id.replace("\u00b7", ".")
        if isinstance(node, ast.Call):
            allowed = isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS and len(node.args) == 1 and not node.keywords
            if not allowed:
                raise ValueError(f"the only functions are {', '.join(FUNCTIONS)}")
        elif isinstance(node, ast.Constant):
            if isinstance(node.value, bool) or not isinstance(node.value, int | float):
                raise ValueError("it holds something that is no number")
        elif not isinstance(
            node,
            ast.Expression
            | ast.BinOp
            | ast.UnaryOp
            | ast.Name
            | ast.Load
            | ast.Add
            | ast.Sub
            | ast.Mult
            | ast.Div
            | ast.Pow
            | ast.USub
            | ast.UAdd,
        ):
            raise ValueError("it holds something that is no arithmetic")
    return tree


def _evaluate(node: ast.AST, values: Mapping[str, np.ndarray]) -> np.ndarray:
    if isinstance(node, ast.Constant):
        return np.float64(node.value)
    if isinstance(node, ast.Name):
        return np.asarray(values[node.id])
    if isinstance(node, ast.UnaryOp):
        operand = _evaluate(node.operand, values)
        return -operand if isinstance(node.op, ast.USub) else operand
    if isinstance(node, ast.Call):
        return FUNCTIONS[node.func.id](_evaluate(node.args[0], values))
    left, right = _evaluate(node.left, values), _evaluate(node.right, values)
    if isinstance(node.op, ast.Add):
        return left + right
    if isinstance(node.op, ast.Sub):
        return left - right
    if isinstance(node.op, ast.Mult):
        return left * right
    return left / right if isinstance(node.op, ast.Div) else left**right
