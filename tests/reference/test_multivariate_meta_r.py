"""Multivariate pooling of coefficients equals metafor's ``rma.mv``, computed now."""

from __future__ import annotations

import json

import numpy as np
import pytest
import r_script
from alliance.statistics.multivariate_meta import pool_coefficients
from needed import needs_r

pytestmark = needs_r

# name: sites, coefficients, standard deviation between sites, share of holes, structure, likelihood
CASES = {
    "one": (9, 1, 0.2, 0.0, "diagonal", "reml"),
    "two_unstructured": (12, 2, 0.2, 0.0, "unstructured", "reml"),
    "three_unstructured_ml": (30, 3, 0.3, 0.0, "unstructured", "ml"),
    "three_holes": (30, 3, 0.3, 0.25, "unstructured", "reml"),
    "four_diagonal": (15, 4, 0.15, 0.2, "diagonal", "reml"),
    "four_diagonal_ml": (15, 4, 0.15, 0.2, "diagonal", "ml"),
    "homogeneous": (10, 3, 0.0, 0.1, "diagonal", "reml"),
    "few": (3, 2, 0.4, 0.0, "diagonal", "reml"),
}


def sites(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return simulated coefficients, shape (k, p), and their sampling covariances."""
    k, p, spread, holes, _, _ = CASES[name]
    random = np.random.default_rng(sorted(CASES).index(name) + 11)
    root = random.normal(0, 0.1, (k, p, p + 4))
    v = root @ np.swapaxes(root, 1, 2) / 2
    between = spread**2 * (0.5 * np.eye(p) + 0.5)
    y = np.linspace(0.1, 0.5, p) + random.multivariate_normal(np.zeros(p), between, k)
    y += np.stack([random.multivariate_normal(np.zeros(p), one) for one in v])
    missing = random.random((k, p)) < holes
    missing[:2] = False
    return np.where(missing, np.nan, y), v


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tmp_path_factory.mktemp("multivariate")
    cases = {}
    for name, (_, _, _, _, structure, likelihood) in CASES.items():
        y, v = sites(name)
        cases[name] = {
            "y": [[None if np.isnan(value) else value for value in row] for row in y.tolist()],
            "v": v.tolist(),
            "struct": {"diagonal": "DIAG", "unstructured": "UN"}[structure],
            "method": likelihood.upper(),
        }
    (folder / "cases.json").write_text(json.dumps(cases), encoding="utf-8")
    return r_script.values("multivariate_meta.R", folder)


@pytest.mark.parametrize("name", CASES)
def test_pooled_coefficients_equal_metafor(name: str, expected: dict) -> None:
    *_, structure, likelihood = CASES[name]
    y, v = sites(name)
    names = [f"b{place}" for place in range(y.shape[1])]
    found = pool_coefficients(y, v, names, structure=structure, likelihood=likelihood, interval="z")
    values = expected[name]
    assert (found.status, found.reason) == ("estimated", "")
    table = found.coefficients
    assert table["estimate"].to_numpy() == pytest.approx(np.array(values["estimate"]), abs=1e-6)
    assert found.vcov == pytest.approx(np.array(values["vcov"]), rel=1e-4, abs=1e-9)
    assert table["tau2"].to_numpy() == pytest.approx(np.array(values["tau2"]), rel=1e-4, abs=1e-7)
    assert found.log_likelihood == pytest.approx(values["log_likelihood"], abs=1e-6)
    assert (found.q, found.q_p) == (pytest.approx(values["q"], rel=1e-8), pytest.approx(values["q_p"], rel=1e-6))
    assert table["i2"].to_numpy() == pytest.approx(np.array(values["i2"]), rel=1e-3, abs=1e-3)
    if structure == "unstructured":
        upper = np.triu_indices(len(names), 1)
        deviation = np.sqrt(np.diagonal(found.between))
        assert (found.between / np.outer(deviation, deviation))[upper] == pytest.approx(np.array(values["rho"]), abs=1e-4)
    guarded = pool_coefficients(y, v, names, structure=structure, likelihood=likelihood, interval="hartung_knapp")
    assert guarded.factor == pytest.approx(values["factor"], rel=1e-5)
    assert guarded.vcov == pytest.approx(found.vcov * guarded.factor, rel=1e-10)
