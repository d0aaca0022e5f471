"""Snakemake's own process imports what a plan needs, and no library for tables."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support import PROJECT

LATER = "from alliance.launch.snakemake_command import load_when_used; load_when_used('pandas'); load_when_used('numpy'); "


def told(code: str) -> str:
    """Return what Python prints in the folder of the scripts."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT / "scripts", check=True)
    return done.stdout.strip()


def test_a_library_is_read_when_it_is_used_and_not_when_it_is_imported():
    imported = "import sys, pandas as pd, numpy as np; before = 'pandas.core' in sys.modules, 'numpy._core' in sys.modules; "
    used = "after = float(pd.Series(np.array([1.0, 2.0])).mean()), 'pandas.core' in sys.modules; print(before, after)"
    assert told(LATER + imported + used) == "(False, False) (1.5, True)"


def test_a_part_of_a_library_can_be_imported_before_the_library_is_used():
    assert told(LATER + "from pandas.core.frame import DataFrame; import pandas; print(DataFrame is pandas.DataFrame)") == "True"


def test_snakemake_with_its_executors_imports_no_library_for_tables():
    assert (
        told(LATER + "import sys; from snakemake import cli; print('pandas.core' in sys.modules, 'numpy._core' in sys.modules)")
        == "False False"
    )


@pytest.mark.parametrize(
    "module", ["alliance.questions.headlines", "alliance.sites.published", "alliance.provenance", "alliance.launch.snakemake_run"]
)
def test_what_the_rules_import_needs_no_library_for_tables(module):
    assert told(f"import sys, {module}; print([name for name in ('numpy', 'pandas', 'scipy') if name in sys.modules])") == "[]"
