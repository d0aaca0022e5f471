"""Reading result tables in the tests of the real studies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

POOLED = "(pooled)"
# lavaan stops when its optimum is near to this many digits; everything else agrees further.
ESTIMATE, ERROR = 1e-6, 1e-5


def table(results: Path, name: str) -> pd.DataFrame:
    """Return one table of the base scenario."""
    return pd.read_csv(results / "base" / "tables" / f"{name}.csv", keep_default_na=False, na_values=[""])


def row(frame: pd.DataFrame, **keys: str) -> pd.Series:
    """Return the only row with these keys."""
    chosen = frame
    for key, value in keys.items():
        chosen = chosen[chosen[key] == value]
    assert len(chosen) == 1, (keys, len(chosen))
    return chosen.iloc[0]


def assert_site_row(found: pd.Series, estimate: float, std_error: float) -> None:
    """Assert that a site's row holds an estimate and its standard error."""
    assert found["status"] in ("estimated", "flagged")
    assert found["estimate"] == pytest.approx(estimate, rel=ESTIMATE, abs=ESTIMATE)
    assert found["std_error"] == pytest.approx(std_error, rel=ERROR)


def assert_pooled_row(found: pd.Series, expected: dict[str, float]) -> None:
    """Assert that a pooled row holds what metafor's rma() gave."""
    assert found["site"] == POOLED
    assert found["n_sites"] == expected["k"]
    assert found["estimate"] == pytest.approx(expected["estimate"], rel=ERROR)
    assert found["std_error"] == pytest.approx(expected["se"], rel=ERROR)
    assert found["ci_low"] == pytest.approx(expected["low"], rel=ERROR)
    assert found["ci_high"] == pytest.approx(expected["high"], rel=ERROR)
    assert found["tau2"] == pytest.approx(expected["tau2"], rel=1e-4)
    assert found["q"] == pytest.approx(expected["q"], rel=ERROR)


def leaves(value: Any, path: str = "") -> dict[str, float]:
    """Return every number of nested JSON by its path; texts (the version of R) are no values."""
    if isinstance(value, dict):
        return {key: leaf for name, inner in value.items() for key, leaf in leaves(inner, f"{path}/{name}").items()}
    if isinstance(value, list):
        return {key: leaf for index, inner in enumerate(value) for key, leaf in leaves(inner, f"{path}/{index}").items()}
    return {} if isinstance(value, str) else {path: value}


def assert_same_values(found: Any, stored: Any) -> None:
    """Assert that two results of R hold the same numbers, as far as the optimisers of its packages agree between versions."""
    assert leaves(found) == pytest.approx(leaves(stored), rel=ERROR, abs=ESTIMATE)
