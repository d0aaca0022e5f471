"""Which of the project's own files a script depends on, found from its import statements."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[3]
SCRIPTS = PROJECT / "scripts"


@functools.cache
def _imported(path: Path) -> tuple[Path, ...]:
    """Return the project's modules that one file names in its import statements, with their packages."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    found: set[Path] = set()
    for name in names:
        if name.split(".")[0] != "alliance":
            continue
        parts = name.split(".")
        for length in range(1, len(parts) + 1):
            stem = SCRIPTS.joinpath(*parts[:length])
            found.update(file for file in (stem.with_suffix(".py"), stem / "__init__.py") if file.is_file())
    return tuple(sorted(found))


def code_files(*roots: Path) -> list[Path]:
    """Return the given files and every file of the project they import, directly or not, sorted.

    Parameters
    ----------
    *roots : Path
        Python files, such as a script and the question module it loads by name.

    Returns
    -------
    list of Path
    """
    found: set[Path] = set()
    waiting = [Path(root) for root in roots]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting.extend(_imported(path))
    return sorted(found)


@functools.cache
def declarations(path: Path) -> dict[str, object]:
    """Return the literal assignments at the top level of a module, without importing it."""
    values: dict[str, object] = {}
    for node in ast.parse(path.read_bytes()).body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            try:
                values[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                continue
        elif isinstance(node, ast.FunctionDef):
            values.setdefault(node.name, "function")
    return values
