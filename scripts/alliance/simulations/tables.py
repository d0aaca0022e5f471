"""Topics of simulation, the tables they leave behind, and whether these rest on the code as it is."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import pandas as pd

from alliance.configuration.code import PROJECT, code_files
from alliance.files import digest, sha256
from alliance.provenance import package_versions
from alliance.questions.coverage import INTERVALS
from alliance.simulations import framework, topics
from alliance.simulations.framework import Condition

RUNS = 2000
TOLERANCE = 1e-10
PACKAGES = ("numpy", "scipy", "pandas")
_NUMBERS = (
    *("truth", "mean_estimate", "bias", "bias_mc_error", "coverage", "coverage_mc_error", "mean_width", "error_ratio"),
    *("target_low", "target_high", "mean_low", "mean_high"),
)
LOCK = PROJECT / "envs" / "requirements.lock"


def topic_names() -> list[str]:
    """Return the names of all topics: the modules in the folder."""
    return sorted(module.name for module in pkgutil.iter_modules(topics.__path__))


def topic(name: str) -> ModuleType:
    """Return the module of a topic."""
    return importlib.import_module(f"{topics.__name__}.{name}")


def runs_of(name: str, asked: int | None = None) -> int:
    """Return the number of runs a condition: as asked for, else what a dear topic sets in ``RUNS``, else 2,000."""
    return asked or getattr(topic(name), "RUNS", RUNS)


def tolerance(name: str) -> float:
    """Return how far numbers of a run may differ between processors, relative: a topic that iterates sets ``TOLERANCE``."""
    return getattr(topic(name), "TOLERANCE", TOLERANCE)


def code_digest(name: str) -> str:
    """Return twelve digits of all code that a topic's numbers depend on: its module, what it imports, and pinned packages."""
    files = code_files(Path(topic(name).__file__))
    versions = package_versions(LOCK)
    return digest(
        {
            "files": {str(path.relative_to(PROJECT)): sha256(path) for path in files},
            "packages": {package: versions[package] for package in PACKAGES},
        }
    )


def condition_rows(name: str, condition: Condition, seed: int, runs: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return a condition's rows of the topic's table and of the table of first blocks."""
    module = topic(name)
    results = framework.condition_runs(module, condition, seed, runs)
    return (
        framework.described(name, condition, [framework.performance(result) for result in results]),
        first_block_rows(name, condition, seed),
    )


def first_block_rows(name: str, condition: Condition, seed: int) -> pd.DataFrame:
    """Return what the first block of a condition gives."""
    return framework.described(
        name, condition, [framework.first_block(result) for result in framework.block(topic(name), condition, seed, 0)]
    )


def finished(parts: Iterable[pd.DataFrame], seed: int, code: str) -> pd.DataFrame:
    """Return a topic's table from the rows of its conditions, with seed and digest of the code."""
    return pd.concat(list(parts), ignore_index=True).assign(seed=seed, code_digest=code)


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose numbers have six significant digits, as text."""
    columns = {name: table[name].map(lambda value: "" if value != value else f"{value:.6g}") for name in table.select_dtypes("float")}
    return table.assign(**columns)


def path_of(folder: Path, name: str, first_block: bool = False) -> Path:
    """Return where the table of a topic, or that of its first blocks, lies."""
    return Path(folder) / f"{name}{'_first_block' if first_block else ''}.csv"


def read(path: Path) -> pd.DataFrame:
    """Read a table of simulations; parameters of conditions stay text."""
    counts = dict.fromkeys(("covered", "runs", "not_estimable", "seed"), "int64")
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    numbers = {name: pd.to_numeric(table[name]).astype(counts.get(name, "float64")) for name in table if name in (*_NUMBERS, *counts)}
    return table.assign(**numbers)


def is_current(folder: Path, name: str, seed: int, runs: int) -> bool:
    """Return whether the tables of a topic were made by the code as it is, with this seed and number of runs."""
    try:
        table, first = read(path_of(folder, name)), read(path_of(folder, name, first_block=True))
    except FileNotFoundError:
        return False
    code = code_digest(name)
    return bool(all((one["code_digest"].eq(code) & one["seed"].eq(seed)).all() for one in (table, first)) and table["runs"].eq(runs).all())


def summary(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Return the range of coverage of every kind of interval, one row a kind and what it is an interval of."""
    rows = []
    for table in tables:
        for (method, interval, what), part in table.groupby(["method", "interval", "what"], sort=False):
            if interval == "power":
                # There is an effect: what is accepted should not hold zero.
                continue
            if interval not in INTERVALS:
                raise ValueError(f"unknown kind of interval {interval!r}")
            coverage = part["coverage"].dropna()
            rows.append(
                {
                    "method": method,
                    "interval": interval,
                    "what": what,
                    "estimate_types": " ".join(sorted(set(part["estimate_type"]) - {""})),
                    "lowest": coverage.min(),
                    "highest": coverage.max(),
                    "mc_error": part["coverage_mc_error"].max(),
                    "low": part["target_low"].iloc[0],
                    "high": part["target_high"].iloc[0],
                    "below": int((part["coverage"] < part["target_low"]).sum()),
                    "above": int((part["coverage"] > part["target_high"]).sum()),
                    "cases": len(part),
                    "runs": int(part["runs"].min()),
                }
            )
    return pd.DataFrame(rows)
