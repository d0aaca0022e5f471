"""Models of pooled correlations, with latent variables and constraints, equal lavaan's weighted least squares, computed now."""

from __future__ import annotations

import json

import numpy as np
import pytest
import r_script
import statistics_reference as reference
from alliance.statistics.resampling import generator
from alliance.statistics.structural_fit import parse_structural
from alliance.statistics.two_stage import PooledCorrelations, fit_pooled, pool_correlations
from needed import needs_r

pytestmark = needs_r

VARIABLES = ("y", "x1", "x2", "x3", "z", "m1", "m2", "m3")
MEASURED = "x =~ x1 + x2 + x3\nm =~ m1 + m2 + m3\n"
MODELS = {
    "mediation": MEASURED + "m ~ a*x + z\ny ~ b*m + c*x\nindirect := a*b\ntotal := c + a*b",
    "equal_paths": MEASURED + "m ~ a*x\ny ~ a*m + z\nindirect := a^2",
    "equal_loadings": "x =~ x1 + l*x2 + l*x3\nm =~ m1 + m2 + m3\nm ~ x\ny ~ m + z",
    "constraint": "x =~ x1 + p*x2 + q*x3\nm =~ m1 + m2 + m3\np == q\nm ~ x\ny ~ m\nx1 ~~ m1",
    "two_outcomes": "x =~ x1 + x2 + x3\nm1 ~ x\nm2 ~ x\ny ~ x + z",
    "known_reliability": "m =~ m1 + m2 + m3\nf =~ x1\nx1 ~~ 0.3*x1\nm ~ f\ny ~ m",
    "observed": "m1 ~ a*x1 + a*x2\ny ~ b*m1 + z\nind := a*b",
}
STANDARD = {"factors": MEASURED + "x ~~ m", "equal_standardised": "x =~ l*x1 + l*x2 + x3\nm =~ m1 + m2 + m3"}
SINGLE = {**dict.fromkeys(MODELS, False), **dict.fromkeys(STANDARD, True)}


def pooled() -> PooledCorrelations:
    """Return correlations pooled over 30 simulated sites with holes."""
    random = np.random.default_rng(17)
    p, k = len(VARIABLES), 30
    sizes = random.integers(60, 200, k)
    cells = []
    for n in sizes.tolist():
        path = 0.4 + random.normal(0, 0.1)
        x, z = random.standard_normal((2, n))
        m = path * x + 0.2 * z + 0.9 * random.standard_normal(n)
        y = 0.4 * m + 0.2 * x + random.standard_normal(n)
        items = [one + 0.8 * random.standard_normal(n) for one in (x, x, x, m, m, m)]
        rows = np.column_stack([y, *items[:3], z, *items[3:]])
        r = np.corrcoef(rows, rowvar=False)
        if random.random() < 0.4:
            hole = int(random.integers(p))
            r[hole], r[:, hole] = np.nan, np.nan
        cells.append(r[np.triu_indices(p, 1)])
    return pool_correlations(np.array(cells), sizes, VARIABLES)


@pytest.fixture(scope="module")
def stage() -> PooledCorrelations:
    found = pooled()
    assert found.status == "estimated"
    return found


@pytest.fixture(scope="module")
def expected(stage: PooledCorrelations, tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tmp_path_factory.mktemp("correlations")
    known = {"variables": VARIABLES, "r": stage.matrix.tolist(), "v": stage.vcov.tolist(), "n": stage.n_clients}
    cases = {name: {**known, "model": model, "std_lv": SINGLE[name]} for name, model in {**MODELS, **STANDARD}.items()}
    (folder / "cases.json").write_text(json.dumps(cases), encoding="utf-8")
    return r_script.values("correlation_structure.R", folder)


@pytest.mark.parametrize("name", SINGLE)
def test_models_of_pooled_correlations_equal_lavaan(name: str, stage: PooledCorrelations, expected: dict) -> None:
    model = parse_structural({**MODELS, **STANDARD}[name], std_lv=SINGLE[name])
    fitted = fit_pooled(model, stage, generator(1, name))
    assert (fitted.status, fitted.reason) == ("estimated", "")
    reference.assert_two_stage_equal(fitted, expected[name])
