"""What models as text are made of, in the notation of lavaan: statements, faults, and defined parameters (``indirect := a*b``)."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from alliance.issues import shown

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*\Z")
FUNCTIONS = {"exp": np.exp, "log": np.log, "sqrt": np.sqrt}

OPERATORS = re.compile(r":=|=~|~~|==|<|>|~|=")
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
class Defined:
    """A parameter computed from labels and earlier defined parameters."""

    name: str
    expression: str
    line: int = 0

    @cached_property
    def _tree(self) -> ast.Expression:
        return _expression_tree(self.expression)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Labels the expression uses, sorted."""
        tree = self._tree
        calls = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        return tuple(sorted({node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in calls}))

    def value(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the value for values of the labels (numbers or arrays of one shape, real or complex)."""
        return _evaluate(self._tree.body, values)


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
