"""Which of the project's own files a script depends on, found from its import statements."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

from alliance.files import digest, sha256

PROJECT = Path(__file__).resolve().parents[3]
SCRIPTS = PROJECT / "scripts"


_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(alliance[\w.]*)[ \t]+import[ \t]+(\([^)]*\)|[^\n]+)|import[ \t]+(alliance[^\n]*))", re.MULTILINE
)
_NAME = re.compile(r"alliance[\w.]*|\w+")


@functools.cache
def _imported(path: Path) -> tuple[Path, ...]:
    """Return the project's modules that one file names in its import statements, with their packages.

    Read with a pattern, which takes a tenth of the time of a parser; a name too many only means a rerun too many.
    """
    names: set[str] = set()
    for module, members, modules in _IMPORT.findall(path.read_text(encoding="utf-8")):
        if module:
            names.add(module)
            names.update(f"{module}.{member}" for member in _NAME.findall(members))
        names.update(name for name in _NAME.findall(modules) if name.startswith("alliance"))
    found: set[Path] = set()
    for name in names:
        parts = name.split(".")
        for length in range(1, len(parts) + 1):
            found.update(_files_of(".".join(parts[:length])))
    return tuple(sorted(found))


@functools.cache
def _files_of(module: str) -> tuple[Path, ...]:
    """Return the file that a module, or the front of a package, is read from; none where it is neither."""
    stem = SCRIPTS.joinpath(*module.split("."))
    return tuple(file for file in (stem.with_suffix(".py"), stem / "__init__.py") if file.is_file())


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
def code_digest(*roots: Path) -> str:
    """Return a digest of the contents of :func:`code_files`, read once in a process."""
    return digest([sha256(file) for file in code_files(*roots)])


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
