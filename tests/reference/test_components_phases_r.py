"""Dominance and components by phase equal regressions on every set of components and correlations of residuals in R."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import r_script
from alliance.questions.components import question as components
from test_statistics_r import needs_r
from unit.component_sites import SCALES, TYPES, component_site
from unit.simulated_site import OPTIONS

pytestmark = needs_r
MADE = [component_site(name, n=90 + 20 * number, seed=number) for number, name in enumerate("ab")]
NAMES = ["a", "b"]
EXACT = {"rel": 1e-7, "abs": 1e-9}


@pytest.fixture(scope="module")
def of_r(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("components")
    pd.concat([frame for _, frame in MADE]).to_csv(folder / "components.csv", index=False, float_format="%.17g")
    return r_script.values("components_phases.R", folder)


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    return components.pool([components.estimate(site, OPTIONS, {}) for site, _ in MADE], OPTIONS, {})


def only(table: pd.DataFrame, **keys: Any) -> pd.Series:
    chosen = table[np.logical_and.reduce([table[name].eq(value).to_numpy(dtype=bool) for name, value in keys.items()])]
    assert len(chosen) == 1, (keys, len(chosen))
    return chosen.iloc[0]


@pytest.mark.parametrize("site", NAMES)
def test_general_dominance_equals_regressions_on_every_set_of_components(tables, of_r, site):
    table = tables["dominance"]
    for phase in ("early", "late"):
        found = [only(table, site=site, phase=phase, quantity="dominance", component=scale)["estimate"] for scale in SCALES]
        assert found == pytest.approx(of_r[site][phase], **EXACT), phase
    together = only(table, site=site, phase="early", quantity="together")["estimate"]
    assert together == pytest.approx(of_r[site]["together"], **EXACT)
    assert together == pytest.approx(sum(of_r[site]["early"]), **EXACT)
    for scale, expected in of_r[site]["others"].items():
        row = only(table, site=site, phase="early", quantity=components.OTHERS, component=scale)
        assert row["estimate"] == pytest.approx(expected, **EXACT)


@pytest.mark.parametrize("site", NAMES)
def test_components_by_phase_and_their_jackknife_equal_correlations_of_residuals(tables, of_r, site):
    table, label = tables["by_phase"], "mean of task, goal - bond"
    rows = [only(table, site=site, topic="outcome", component=scale, phase=phase) for scale in SCALES for phase in ("early", "late")]
    rows += [only(table, site=site, topic="outcome", component=scale, contrast="late - early") for scale in (*SCALES, label)]
    rows += [only(table, site=site, topic="condition", component=scale, phase="early") for scale in SCALES]
    rows += [only(table, site=site, topic="level", component=scale) for scale in SCALES]
    rows += [only(table, site=site, topic="type", component=scale, phase=phase) for scale in TYPES for phase in ("early", "late")]
    rows += [only(table, site=site, topic="type", component=scale, contrast="late - early") for scale in (*TYPES, "type_2 - type_1")]
    for row, expected, error in zip(rows, of_r[site]["values"], of_r[site]["errors"], strict=True):
        scale = 1 / (1 - expected**2) if row["scale"] == "fisher_z" else 1.0
        assert row["estimate"] == pytest.approx(expected, **EXACT), row["component"]
        assert row["std_error"] == pytest.approx(error * scale, rel=1e-6), row["component"]
