"""Structural equation models as text, in the notation of lavaan, and the parameters they have in each group.

Regressions (``y ~ a*x + z``), factors (``bond =~ i1 + i2``), covariances (``y1 ~~ y2``), intercepts (``i1 ~ 1``), defined parameters
(``indirect := a*b``), equality constraints (``a == b``, ``a + b + c == 3``), values or labels by group (``c(a, b)*i1``), and ``NA*`` for
a parameter that is to be estimated.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from alliance.issues import shown
from alliance.statistics.model_syntax import NAME, OPERATORS, Defined, ModelSyntaxError, Problem, number, read_defined, statements

GROUP_EQUAL = (
    "loadings",
    "intercepts",
    "residuals",
    "residual.covariances",
    "lv.variances",
    "lv.covariances",
    "means",
    "regressions",
)

_UNSUPPORTED = {
    "<": ("inequalities are not supported", "leave the line out; improper estimates are flagged"),
    ">": ("inequalities are not supported", "leave the line out; improper estimates are flagged"),
    "=": ("'=' is no operator", "write '=~' for a factor, '~' for a regression or '==' for a constraint"),
}
_OUTSIDE_BRACKETS = r"(?![^(]*\))"


@dataclass(frozen=True)
class StructuralTerm:
    """A loading (``=~``), regression (``~``), (co)variance (``~~``) or intercept (``~1``, with an empty ``rhs``).

    Attributes
    ----------
    labels : tuple of str
        One for all groups or one a group; empty without any. Terms with equal labels have equal values.
    values : tuple of float
        The same for fixed values, NaN for a parameter that is to be estimated; empty where lavaan's default decides.
    line : int
        Where it stands, 0 where it was added.
    """

    lhs: str
    op: str
    rhs: str
    labels: tuple[str, ...] = ()
    values: tuple[float, ...] = ()
    line: int = 0

    @property
    def name(self) -> str:
        """How the term is written."""
        return f"{self.lhs}{self.op}{self.rhs}"

    @property
    def key(self) -> tuple[str, ...]:
        """What makes two terms the same; a covariance has no direction."""
        return (self.op, *sorted((self.lhs, self.rhs))) if self.op == "~~" else (self.op, self.lhs, self.rhs)

    def label(self, group: int) -> str:
        """Return the label in a group, empty without one."""
        return "" if not self.labels else self.labels[group if len(self.labels) > 1 else 0]

    def value(self, group: int) -> float | None:
        """Return the fixed value in a group, NaN if it is to be estimated, None if nothing was said."""
        return None if not self.values else self.values[group if len(self.values) > 1 else 0]


@dataclass(frozen=True)
class StructuralModel:
    """A structural equation model as it was written.

    Attributes
    ----------
    latent, observed : tuple of str
        Factors and variables, in the order in which they first appear (indicators before other variables).
    terms : tuple of StructuralTerm
        What was written, in order.
    constraints : tuple of Defined
        Expressions of labels that have to be 0; ``name`` is the constraint as written.
    defined : tuple of Defined
        Defined parameters.
    std_lv : bool
        Whether factors are scaled by a (residual) variance of 1 in place of a first loading of 1.
    orthogonal : bool
        Whether exogenous factors are uncorrelated unless a covariance is written.
    """

    latent: tuple[str, ...]
    observed: tuple[str, ...]
    terms: tuple[StructuralTerm, ...]
    constraints: tuple[Defined, ...]
    defined: tuple[Defined, ...]
    std_lv: bool = False
    orthogonal: bool = False


@dataclass(frozen=True)
class Layout:
    """The parameters of a model in each group, fixed and free.

    Attributes
    ----------
    latent, observed : tuple of str
    terms : tuple of StructuralTerm
        One a parameter, the same in every group: those written, then those added by default.
    column : ndarray of int, shape (groups, terms)
        Which distinct parameter a term is, -1 where it is fixed.
    constant : ndarray, shape (groups, terms)
        Fixed values, 0 where free.
    labels : list of list of str
        Labels by group and term, empty without one.
    names : tuple of str
        Names of the distinct parameters: their label, else how the term is written, with ``.g2`` and so on from the second group.
    mixing : ndarray, shape (distinct, free), or None
        Distinct parameters as linear functions of the free ones, where there are constraints; ``offset`` is the constant in them.
    offset : ndarray, shape (distinct,)
    free_names : tuple of str
        Names of the free parameters.
    exogenous : tuple of str
        Observed variables that only predict.
    mean_structure, fixed_x : bool
    """

    latent: tuple[str, ...]
    observed: tuple[str, ...]
    terms: tuple[StructuralTerm, ...]
    column: np.ndarray
    constant: np.ndarray
    labels: list[list[str]]
    names: tuple[str, ...]
    mixing: np.ndarray | None
    offset: np.ndarray
    free_names: tuple[str, ...]
    exogenous: tuple[str, ...]
    mean_structure: bool
    fixed_x: bool


def parse_structural(
    syntax: str, variables: Sequence[str] | None = None, *, std_lv: bool = False, orthogonal: bool = False
) -> StructuralModel:
    """Read a structural equation model.

    Parameters
    ----------
    syntax : str
        The model. ``c(1, NA)*x`` gives values by group, ``c(a, b)*x`` labels; ``NA*x`` frees a parameter. One label in several groups
        makes the groups equal.
    variables : sequence of str, optional
        Names of observed variables that may be used; without it every name may.
    std_lv, orthogonal : bool
        See :class:`StructuralModel`.

    Raises
    ------
    ModelSyntaxError
        With every fault that was found.
    """
    problems: list[Problem] = []
    terms: list[StructuralTerm] = []
    defined: list[Defined] = []
    constraints: list[Defined] = []
    for line, statement in statements(syntax):
        operator = OPERATORS.search(statement)
        if operator is None:
            problems.append(Problem(line, f"'{shown(statement)}' holds no '=~', '~' or '~~'", "write for example 'bond =~ i1 + i2 + i3'"))
            continue
        left, right = statement[: operator.start()].strip(), statement[operator.end() :].strip()
        if operator.group() in _UNSUPPORTED:
            problems.append(Problem(line, *_UNSUPPORTED[operator.group()]))
        elif operator.group() == ":=":
            read_defined(left, right, line, defined, problems)
        elif operator.group() == "==":
            found: list[Defined] = []
            read_defined("constraint", f"({left}) - ({right})", line, found, problems)
            constraints.extend(replace(one, name=f"{left} == {right}") for one in found)
        else:
            _read_terms(left, operator.group(), right, line, terms, problems)
    merged = _merged(terms, problems)
    latent = tuple(dict.fromkeys(term.lhs for term in merged if term.op == "=~"))
    _check_names(merged, latent, variables, problems)
    _check_labels(merged, constraints, defined, problems)
    if not merged and not problems:
        problems.append(Problem(0, "the model is empty", "write for example 'bond =~ i1 + i2 + i3'"))
    if problems:
        raise ModelSyntaxError(problems)
    indicators = [term.rhs for term in merged if term.op == "=~"]
    others = [name for term in merged for name in (term.lhs, term.rhs) if name]
    observed = tuple(name for name in dict.fromkeys([*indicators, *others]) if name not in latent)
    return StructuralModel(latent, observed, tuple(merged), tuple(constraints), tuple(defined), std_lv, orthogonal)


def _read_terms(left: str, op: str, right: str, line: int, terms: list[StructuralTerm], problems: list[Problem]) -> None:
    targets = [name.strip() for name in left.split("+")]
    for name in targets:
        if not NAME.match(name):
            problems.append(Problem(line, f"'{shown(name)}' before '{op}' is no variable name", "names hold letters, digits, '_' and '.'"))
    for text in re.split(r"\+" + _OUTSIDE_BRACKETS, right):
        pieces = [piece.strip() for piece in re.split(r"\*" + _OUTSIDE_BRACKETS, text)]
        name, labels, values = pieces[-1], (), ()
        intercept = name in ("0", "1") and op == "~"
        if intercept and name == "0":
            problems.append(Problem(line, "'~ 0' is no intercept", "write '~ 0*1' to fix the intercept at 0"))
            continue
        if not intercept and not NAME.match(name):
            suggestion = "add the product as a variable" if ":" in name else "write terms as 'label*variable', joined by '+'"
            problems.append(Problem(line, f"'{shown(text.strip())}' is no term of a model", suggestion))
            continue
        if len(pieces) > 2:
            problems.append(Problem(line, f"'{shown(text.strip())}' has more than one modifier", f"write 'NA*{name} + a*{name}'"))
            continue
        if len(pieces) == 2:
            read = _modifier(pieces[0])
            if read is None:
                message = f"'{shown(pieces[0])}' is neither a label nor a number"
                problems.append(Problem(line, message, "use a name, a number, NA, or c(...) with one of them a group"))
                continue
            labels, values = read
        for target in targets:
            if NAME.match(target):
                term = StructuralTerm(target, "~1", "", labels, values, line) if intercept else None
                terms.append(term or StructuralTerm(target, op, name, labels, values, line))


def _modifier(text: str) -> tuple[tuple[str, ...], tuple[float, ...]] | None:
    """Return labels and values that stand before a ``*``."""
    vector = re.fullmatch(r"c\s*\((.*)\)", text)
    pieces = [piece.strip() for piece in vector[1].split(",")] if vector else [text]
    numbers = [np.nan if piece == "NA" else number(piece) for piece in pieces]
    if all(value is not None for value in numbers):
        return (), tuple(numbers)
    if all(NAME.match(piece) for piece in pieces):
        return tuple("" if piece == "NA" else piece for piece in pieces), ()
    return None


def _merged(terms: list[StructuralTerm], problems: list[Problem]) -> list[StructuralTerm]:
    """Join what was said of one term in two places (``NA*x + a*x``)."""
    kept: dict[tuple[str, ...], StructuralTerm] = {}
    for term in terms:
        before = kept.get(term.key)
        if before is None:
            kept[term.key] = term
        elif (before.labels and term.labels) or (before.values and term.values) or not (term.labels or term.values):
            problems.append(Problem(term.line, f"'{term.lhs} {term.op} {term.rhs}' stands there twice", "leave one out"))
        else:
            kept[term.key] = replace(before, labels=before.labels or term.labels, values=before.values or term.values)
    return list(kept.values())


def _check_names(terms: list[StructuralTerm], latent: tuple[str, ...], variables: Sequence[str] | None, problems: list[Problem]) -> None:
    seen = set()
    for term in terms:
        if term.lhs == term.rhs and term.op in ("=~", "~"):
            verb = "predict" if term.op == "~" else "measure"
            problems.append(Problem(term.line, f"'{term.lhs}' cannot {verb} itself", "leave the term out"))
        for name in (term.lhs, term.rhs):
            if variables is None or not name or name in latent or name in variables or name in seen:
                continue
            seen.add(name)
            known = [*variables, *latent]
            nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean '{nearest[0]}'?" if nearest else f"known: {', '.join(known)}"
            problems.append(Problem(term.line, f"unknown variable '{shown(name)}'", hint))
    for name in latent:
        if variables is not None and name in variables:
            line = next(term.line for term in terms if term.op == "=~" and term.lhs == name)
            problems.append(Problem(line, f"the factor '{name}' has the name of an observed variable", "choose another name"))


def _check_labels(terms: list[StructuralTerm], constraints: list[Defined], defined: list[Defined], problems: list[Problem]) -> None:
    labels = list(dict.fromkeys(label for term in terms for label in term.labels if label))
    known = list(labels)
    for item in (*constraints, *defined):
        if item in defined and item.name in known:
            problems.append(Problem(item.line, f"'{item.name}' is defined twice", "choose another name"))
        for name in item.names:
            if name not in known:
                nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
                hint = f"did you mean '{nearest[0]}'?" if nearest else "put the label before a variable: 'bond =~ a*i1'"
                problems.append(Problem(item.line, f"'{item.name}' uses the label '{shown(name)}', which no term has", hint))
        if item in constraints:
            if set(item.names) <= set(labels) and _linear(item) is None:
                problems.append(Problem(item.line, f"'{item.name}' is not linear", "only sums and multiples of labels can be constrained"))
        else:
            known.append(item.name)


def linear_effects(model: StructuralModel) -> set[str]:
    """Return the defined parameters that are sums and multiples of coefficients, or of other such ones: their estimates are not skewed."""
    found = {label for term in model.terms for label in term.labels if label}
    coefficients = set(found)
    for item in model.defined:
        if set(item.names) <= found and _linear(item) is not None:
            found.add(item.name)
    return found - coefficients


def _linear(constraint: Defined) -> tuple[dict[str, float], float] | None:
    """Return coefficients and constant of a constraint, None where it is not linear in its labels."""
    names = constraint.names
    points = np.random.Generator(np.random.PCG64(1)).uniform(0.5, 1.5, (3, len(names)))

    def value(point: np.ndarray) -> float:
        with np.errstate(all="ignore"):
            return float(constraint.value(dict(zip(names, point))))

    if not names:
        return None
    constant = value(np.zeros(len(names)))
    slopes = np.array([value(row) - constant for row in np.eye(len(names))])
    if not all(np.isclose(value(point), constant + slopes @ point, rtol=1e-10, atol=1e-10) for point in points):
        return None
    return dict(zip(names, slopes.tolist())), constant


def layout(
    model: StructuralModel,
    groups: int = 1,
    *,
    mean_structure: bool = False,
    group_equal: Sequence[str] = (),
    group_partial: Sequence[str] = (),
    fixed_x: bool = False,
) -> Layout:
    """Return the parameters of a model in each group, with the defaults of lavaan's ``sem``.

    Parameters
    ----------
    model : StructuralModel
    groups : int
        Number of groups.
    mean_structure : bool
        Whether intercepts are parameters.
    group_equal : sequence of str
        What is equal in all groups, of :data:`GROUP_EQUAL`. Equal intercepts free the means of factors from the second group on, equal
        loadings their variances where ``std_lv`` fixes them.
    group_partial : sequence of str
        Terms that are free all the same, as ``"bond =~ i3"`` or ``"i3 ~ 1"``.
    fixed_x : bool
        Whether the moments of exogenous observed variables are taken as known; the caller fills them in.

    Raises
    ------
    ModelSyntaxError
        Modifiers for another number of groups, constraints that contradict each other, ``group_partial`` that names no term.
    """
    unknown = [name for name in group_equal if name not in GROUP_EQUAL]
    if unknown:
        raise ModelSyntaxError([Problem(0, f"'{unknown[0]}' cannot be equal over groups", f"known: {', '.join(GROUP_EQUAL)}")])
    roles = _Roles(model)
    terms = _with_defaults(model, roles, mean_structure)
    for term in terms:
        for given in (term.labels, term.values):
            if len(given) > 1 and len(given) != groups:
                there = f"there are {groups} groups" if groups > 1 else "the model is for one group"
                fix = "give one a group" if groups > 1 else "give one, or name the groups it is for"
                raise ModelSyntaxError([Problem(term.line, f"'{term.name}' has {len(given)} labels or values, {there}", fix)])
    released = _released(model, terms, group_partial, mean_structure)
    values = np.array([[_start_value(term, model, roles, group, group_equal) for term in terms] for group in range(groups)])
    if fixed_x:
        known = [roles.is_moment_of_x(term) for term in terms]
        values[:, known] = 0.0
    keys: dict[object, int] = {}
    names: list[str] = []
    column = np.full((groups, len(terms)), -1)
    labels = [[term.label(group) for term in terms] for group in range(groups)]
    for group in range(groups):
        for index, term in enumerate(terms):
            if np.isfinite(values[group, index]):
                continue
            label = labels[group][index]
            equal = roles.kind(term) in group_equal and index not in released
            key: object = label or ((index,) if equal else (index, group))
            if key not in keys:
                keys[key] = len(names)
                suffix = f".g{group + 1}" if group and not equal else ""
                names.append(label or term.name + suffix)
            column[group, index] = keys[key]
    constant = np.where(column < 0, values, 0.0)
    mixing, offset, free_names = _constrained(model, labels, column, constant, names, keys)
    return Layout(
        model.latent,
        model.observed,
        tuple(terms),
        column,
        constant,
        labels,
        tuple(names),
        mixing,
        offset,
        free_names,
        roles.exogenous,
        mean_structure,
        fixed_x,
    )


class _Roles:
    """What the variables of a model are to each other."""

    def __init__(self, model: StructuralModel) -> None:
        self.latent = set(model.latent)
        self.indicators = {term.rhs for term in model.terms if term.op == "=~"}
        outcomes = [term.lhs for term in model.terms if term.op == "~"]
        predictors = {term.rhs for term in model.terms if term.op == "~"}
        dependent = self.indicators | set(outcomes)
        self.exogenous = tuple(name for name in model.observed if name in predictors and name not in dependent)
        self.latent_exogenous = [name for name in model.latent if name not in dependent]
        last = [name for name in dict.fromkeys(outcomes) if name not in predictors]
        self.last = [name for name in model.latent if name in last and name not in self.indicators]
        self.last += [name for name in model.observed if name in last and name not in self.indicators]

    def kind(self, term: StructuralTerm) -> str:
        """Return which of :data:`GROUP_EQUAL` a term belongs to, empty for moments of exogenous variables."""
        if term.op in ("=~", "~"):
            return "loadings" if term.op == "=~" else "regressions"
        if term.op == "~1":
            return "means" if term.lhs in self.latent else "" if term.lhs in self.exogenous else "intercepts"
        if term.lhs in self.latent and term.rhs in self.latent:
            return "lv.variances" if term.lhs == term.rhs else "lv.covariances"
        if term.lhs in self.exogenous or term.rhs in self.exogenous:
            return ""
        return "residuals" if term.lhs == term.rhs else "residual.covariances"

    def is_moment_of_x(self, term: StructuralTerm) -> bool:
        return term.op in ("~~", "~1") and term.lhs in self.exogenous and (not term.rhs or term.rhs in self.exogenous)


def _with_defaults(model: StructuralModel, roles: _Roles, mean_structure: bool) -> list[StructuralTerm]:
    terms = [term for term in model.terms if mean_structure or term.op != "~1"]
    written = {term.key for term in terms}
    added: list[StructuralTerm] = []

    def add(lhs: str, op: str, rhs: str, values: tuple[float, ...] = ()) -> None:
        term = StructuralTerm(lhs, op, rhs, values=values)
        if term.key not in written:
            written.add(term.key)
            added.append(term)

    for name in (*model.observed, *model.latent):
        if name not in roles.exogenous:
            add(name, "~~", name)
    for first, one in enumerate(roles.latent_exogenous):
        for other in roles.latent_exogenous[first + 1 :]:
            add(one, "~~", other, (0.0,) if model.orthogonal else ())
    for first, one in enumerate(roles.last):
        for other in roles.last[first + 1 :]:
            add(one, "~~", other)
    for first, one in enumerate(roles.exogenous):
        for other in roles.exogenous[first:]:
            add(one, "~~", other)
    if mean_structure:
        for name in (*model.observed, *model.latent):
            add(name, "~1", "")
    return [*terms, *added]


def _start_value(term: StructuralTerm, model: StructuralModel, roles: _Roles, group: int, group_equal: Sequence[str]) -> float:
    """Return the value a term is fixed at in a group, NaN where it is free."""
    given = term.value(group)
    if given is not None:
        return given
    if term.op == "=~" and not model.std_lv and next(one for one in model.terms if one.op == "=~" and one.lhs == term.lhs) is term:
        return 1.0
    if term.labels:
        return np.nan
    if term.op == "~~" and term.lhs == term.rhs:
        if term.lhs in roles.latent and model.std_lv and term.line == 0:
            return np.nan if group and "loadings" in group_equal else 1.0
        if term.line == 0 and term.lhs in roles.indicators and term.lhs not in roles.latent:
            factors = [one.lhs for one in model.terms if one.op == "=~" and one.rhs == term.lhs]
            alone = [name for name in factors if sum(one.op == "=~" and one.lhs == name for one in model.terms) == 1]
            if alone:
                return 0.0
    if term.op == "~1" and term.lhs in roles.latent and term.line == 0:
        return np.nan if group and "intercepts" in group_equal and "means" not in group_equal else 0.0
    return np.nan


def _released(model: StructuralModel, terms: list[StructuralTerm], group_partial: Sequence[str], mean_structure: bool) -> set[int]:
    keys = {term.key: index for index, term in enumerate(terms)}
    released = set()
    for text in group_partial:
        operator = OPERATORS.search(text)
        key = None
        if operator and operator.group() in ("=~", "~", "~~"):
            lhs, rhs = text[: operator.start()].strip(), text[operator.end() :].strip()
            key = StructuralTerm(lhs, "~1", "").key if rhs in ("1", "") else StructuralTerm(lhs, operator.group(), rhs).key
        if key and key[0] == "~1" and not mean_structure and key[1] in (*model.observed, *model.latent):
            continue
        if key not in keys:
            raise ModelSyntaxError([Problem(0, f"'{shown(text)}' is no term of the model", "write it as in the model: 'bond =~ i3'")])
        released.add(keys[key])
    return released


def _constrained(
    model: StructuralModel,
    labels: list[list[str]],
    column: np.ndarray,
    constant: np.ndarray,
    names: list[str],
    keys: Mapping[object, int],
) -> tuple[np.ndarray | None, np.ndarray, tuple[str, ...]]:
    """Solve the constraints: each makes one parameter a linear function of others."""
    count = len(names)
    fixed = {
        labels[group][index]: float(constant[group, index])
        for group in range(column.shape[0])
        for index in range(column.shape[1])
        if column[group, index] < 0 and labels[group][index]
    }
    rows, line = [], []
    for label in [label for label in fixed if label in keys]:
        rows.append(np.append(np.eye(count)[keys[label]], fixed[label]))
        line.append(Problem(0, f"the label '{label}' is fixed in one place and free in another"))
    for item in model.constraints:
        slopes, start = _linear(item)
        row = np.zeros(count + 1)
        for label, slope in slopes.items():
            if label in keys:
                row[keys[label]] += slope
            else:
                start += slope * fixed[label]
        row[count] = -start
        rows.append(row)
        line.append(Problem(item.line, f"'{item.name}' contradicts the lines before it", "leave it out"))
    if not rows:
        return None, np.zeros(count), tuple(names)
    solved: list[np.ndarray] = []
    pivots: list[int] = []
    for row, problem in zip(rows, line):
        for pivot, before in zip(pivots, solved):
            row = row - row[pivot] * before
        size = np.abs(row[:count])
        if size.max() < 1e-10:
            if abs(row[count]) > 1e-10:
                raise ModelSyntaxError([problem])
            continue
        # The last of the labels follows from the others.
        pivot = int(np.flatnonzero(size > 1e-10)[-1])
        row = row / row[pivot]
        solved = [before - before[pivot] * row for before in solved]
        solved.append(row)
        pivots.append(pivot)
    free = [index for index in range(count) if index not in pivots]
    mixing, offset = np.zeros((count, len(free))), np.zeros(count)
    mixing[free, np.arange(len(free))] = 1
    for pivot, row in zip(pivots, solved):
        mixing[pivot] = -row[:count][free]
        offset[pivot] = row[count]
    return mixing, offset, tuple(names[index] for index in free)
