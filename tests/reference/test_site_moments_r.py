"""Moments of a site's incomplete rows, and models fitted to moments of sites, equal lavaan's, computed now."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import r_script
from alliance.statistics.covariance import elements
from alliance.statistics.row_moments import moments_of_rows
from alliance.statistics.structural_fit import Moments, StructuralFit, fit_structural, parse_structural
from alliance.statistics.within_sites import SiteMoments, within_sites
from needed import needs_r

pytestmark = needs_r

NAMES = ["x1", "x2", "x3", "m", "y"]
MODELS = {
    "factor": "x =~ x1 + x2 + x3\nm ~ a*x\ny ~ b*m + x",
    "path": "m ~ a*x1\ny ~ b*m",
    "determined": "m ~ a*x1\ny ~ b*m + x1",
}


def rows() -> pd.DataFrame:
    """Return 400 clients of 50 therapists with a fifth of most values missing."""
    random = np.random.default_rng(12)
    therapist = np.repeat(np.arange(50), 8)
    shared = random.normal(0, 0.4, (50, 2))[therapist]
    x = random.standard_normal(400) + shared[:, 0]
    m = 0.4 * x + random.standard_normal(400) + shared[:, 1]
    data = {f"x{item}": x + random.normal(0, 0.8, 400) for item in (1, 2, 3)}
    table = pd.DataFrame(data | {"m": m, "y": 0.4 * m + 0.1 * x + random.standard_normal(400)})
    holes = random.random(table.shape) < 0.2
    holes[:, 0] = False
    return table.mask(holes).assign(therapist=therapist)


def sites() -> list[SiteMoments]:
    """Return the moments of four sites."""
    random = np.random.default_rng(5)
    found = []
    for n in (40, 70, 100, 150):
        x = random.standard_normal(n)
        m = 0.4 * x + random.standard_normal(n)
        found.append(SiteMoments(n, np.cov(np.column_stack([x, m, 0.5 * m + 0.2 * x + random.standard_normal(n)]).T)))
    return found


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tmp_path_factory.mktemp("moments")
    rows().to_csv(folder / "rows.csv", index=False)
    pooled = within_sites(sites())
    (folder / "pooled.json").write_text(json.dumps({"matrix": pooled.correlation.tolist(), "n": pooled.n, "names": ["x1", "m", "y"]}))
    (folder / "models.json").write_text(json.dumps(MODELS))
    return r_script.values("site_moments.R", folder)


def saturated(names: list[str], **settings: object) -> tuple[StructuralFit, list[str]]:
    """Return the model without restrictions, and the names of its parameters: means, then the elements of the covariance matrix."""
    pairs = [f"{names[a]} ~~ {names[b]}" for a, b in zip(*np.triu_indices(len(names)))]
    fitted = fit_structural(parse_structural("\n".join(pairs)), rows=rows(), missing="ml", **settings)
    return fitted, [*(f"{name}~1" for name in names), *(pair.replace(" ", "") for pair in pairs)]


def test_moments_of_incomplete_rows_equal_lavaan(expected: dict) -> None:
    found = moments_of_rows(rows()[NAMES], rows()["therapist"])
    n = len(rows())
    assert found.mean == pytest.approx(np.array([expected["mean"][name] for name in NAMES]), abs=1e-6)
    assert found.covariance * (n - 1) / n == pytest.approx(np.array(expected["covariance"]), abs=1e-6)
    assert found.method == "maximum_likelihood"


def test_their_sampling_covariance_equals_lavaan_and_the_jackknife_is_near_it(expected: dict) -> None:
    fitted, order = saturated(NAMES, clusters=[rows()["therapist"]])
    theirs = pd.DataFrame(expected["vcov"], index=expected["vcov_names"], columns=expected["vcov_names"]).loc[order, order]
    assert fitted.vcov.loc[order, order].to_numpy() == pytest.approx(theirs.to_numpy(), rel=1e-3, abs=2e-7)
    left_out = moments_of_rows(rows()[NAMES], rows()["therapist"]).acov
    ratio = np.sqrt(np.diagonal(left_out) / np.diagonal(theirs)[len(NAMES) :])
    # Both estimate one thing from 50 therapists.
    assert ((ratio > 0.97) & (ratio < 1.1)).all()


# lavaan takes the information at the moments, we at the implied ones; where the model determines them these are the same.
@pytest.mark.parametrize(("name", "close"), [("determined", 1e-4), ("factor", 0.02)])
def test_a_model_fitted_to_moments_of_incomplete_rows_is_lavaans_robust_two_stage(name: str, close: float, expected: dict) -> None:
    # Savalei & Bentler (2009): the moments' sampling covariance is how missing values enter.
    model = parse_structural(MODELS[name])
    names = list(model.observed)
    free, order = saturated(names, errors="robust")
    n = free.n[0]
    factor = n / (n - 1)
    scale = np.r_[np.ones(len(names)), np.full(len(order) - len(names), factor)]
    acov = free.vcov.loc[order, order].to_numpy() * np.outer(scale, scale)
    given = Moments(n, free.implied_covariances[0].loc[names, names] * factor, free.implied_means[0].loc[names], names)
    found = fit_structural(model, given, acov=[acov], mean_structure=True)
    ours = found.parameters.set_index(["lhs", "op", "rhs"])
    for one in expected["two_stage"][name]["parameters"]:
        row = ours.loc[(one["lhs"], one["op"], one["rhs"])]
        assert row["estimate"] == pytest.approx(one["est"], abs=1e-6)
        if one["se"] > 0:
            assert row["std_error"] == pytest.approx(one["se"], rel=close)
    measures = expected["two_stage"][name]["fit"]
    assert (found.fit.chi2, found.fit.df) == (pytest.approx(measures["chisq"], rel=1e-5, abs=1e-8), measures["df"])
    if found.fit.df:
        assert found.scaled.scaled.chi2 == pytest.approx(measures["chisq.scaled"], rel=close)


def test_a_model_of_the_matrix_within_sites_is_lavaans_with_as_many_clients_as_degrees_of_freedom_and_one(expected: dict) -> None:
    given = sites()
    pooled = within_sites(given)
    assert pooled.n == sum(one.n for one in given) - len(given) + 1
    weight = np.array([one.n - 1 for one in given])
    mean = np.average(
        [elements(one.covariance / np.sqrt(np.outer(*[np.diagonal(one.covariance)] * 2))) for one in given], axis=0, weights=weight
    )
    assert elements(pooled.correlation) == pytest.approx(mean)
    moments = Moments(pooled.n, pooled.correlation, None, ["x1", "m", "y"])
    found = fit_structural(parse_structural(MODELS["path"]), moments)
    ours = found.parameters.set_index(["lhs", "op", "rhs"])
    for one in expected["within"]:
        row = ours.loc[(one["lhs"], one["op"], one["rhs"])]
        assert (row["estimate"], row["std_error"]) == (pytest.approx(one["est"], abs=1e-5), pytest.approx(one["se"], rel=1e-4))
        assert row["standardized"] == pytest.approx(one["std"], abs=1e-5)
    for name, ours_name in (("chisq", "chi2"), ("df", "df"), ("cfi", "cfi"), ("rmsea", "rmsea"), ("srmr", "srmr")):
        assert getattr(found.fit, ours_name) == pytest.approx(expected["within_fit"][name], rel=1e-4, abs=1e-7)
    # Normal independent clients: errors of standardised values from the sampling covariance are those of the information.
    robust = fit_structural(parse_structural(MODELS["path"]), moments, acov=[pooled.acov]).parameters.set_index(["lhs", "op", "rhs"])
    for one in expected["within"]:
        if one["op"] == "~":
            key = (one["lhs"], one["op"], one["rhs"])
            assert robust.loc[key, "std_error_standardized"] == pytest.approx(one["std_se"], rel=0.03)
