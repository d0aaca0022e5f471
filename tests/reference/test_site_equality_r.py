"""Tests that paths are equal over sites equal lavaan's, computed now."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import r_script
from alliance.statistics.covariance import sandwich
from alliance.statistics.site_equality import SiteEquality, site_equality
from alliance.statistics.structural_fit import Moments, parse_structural
from needed import needs_r

pytestmark = needs_r

MODELS = {
    "holzinger": "x4 ~ x1 + x2\nx7 ~ x4 + x1\nx9 ~ x7",
    "factors": "a =~ x1 + x2 + x3\nm ~ a + z\ny ~ m",
    "paths": "m ~ x + z\ny ~ m + x",
    "clustered": "m ~ x\ny ~ m + x",
}
NAMES = {"factors": ["x1", "x2", "x3", "z", "m", "y"], "paths": ["x", "z", "m", "y"], "clustered": ["x", "m", "y"]}


def rows(name: str) -> pd.DataFrame:
    """Return simulated clients of five sites with other paths, in therapists."""
    random = np.random.default_rng(sorted(MODELS).index(name) + 3)
    parts = []
    for site in range(5):
        n = 60 + 30 * site
        therapist = np.arange(n) % (8 + site)
        shared = random.normal(0, 0.5, (8 + site, 3))[therapist]
        x, z = random.standard_normal((2, n)) + shared[:, :2].T
        m = (0.2 + 0.12 * site) * x + 0.3 * z + random.standard_normal(n) + shared[:, 2]
        y = 0.4 * m + 0.1 * x + random.standard_normal(n) + shared[:, 0]
        items = {f"x{item}": x + random.normal(0, 0.7, n) for item in (1, 2, 3)}
        parts.append(pd.DataFrame({"x": x, "z": z, "m": m, "y": y, **items, "site": f"s{site}", "therapist": therapist + 100 * site}))
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tmp_path_factory.mktemp("sites")
    (folder / "cases.json").write_text(
        json.dumps({name: {"model": model, "cluster": name == "clustered"} for name, model in MODELS.items()}), encoding="utf-8"
    )
    for name in NAMES:
        rows(name).to_csv(folder / f"{name}.csv", index=False)
    return r_script.values("site_equality.R", folder)


def found(name: str, expected: dict, by_therapist: bool = False) -> SiteEquality:
    if name == "holzinger":
        given = [Moments(one["n"], one["covariance"], None, one["names"]) for one in expected["moments"]]
        return site_equality(parse_structural(MODELS[name]), given, expected["groups"])
    parts = [part for _, part in rows(name).groupby("site", sort=True)]
    names = NAMES[name]
    given = [Moments(len(part), part[names].cov(), None, names) for part in parts]
    acov = [sandwich(part[names], part["therapist"]) for part in parts] if by_therapist else None
    return site_equality(parse_structural(MODELS[name]), given, [part["site"].iloc[0] for part in parts], acov=acov)


@pytest.mark.parametrize("name", MODELS)
def test_tests_of_equal_paths_equal_lavaan(name: str, expected: dict) -> None:
    values = expected[name]
    ours = found(name, values)
    assert (ours.status, ours.reason, len(ours.left_out)) == ("estimated", "", 0)
    assert ours.overall.chi2 == pytest.approx(values["chi2"], rel=1e-4)
    assert (ours.overall.df, ours.overall.p_value) == (values["df"], pytest.approx(values["p_value"], rel=1e-3))
    paths = ours.paths.set_index(["lhs", "rhs"])
    assert len(paths) == len(values["paths"])
    for one in values["paths"]:
        row = paths.loc[(one["lhs"], one["rhs"])]
        assert row["equal_estimate"] == pytest.approx(one["equal"], abs=1e-5)
        assert (row["score_chi2"], row["score_df"]) == (pytest.approx(one["score"], rel=1e-3), one["score_df"])
        assert (row["wald_chi2"], row["wald_df"]) == (pytest.approx(one["wald"], rel=1e-3), one["wald_df"])
    sites = ours.site_paths.set_index(["lhs", "rhs", "site"])
    for one in values["estimates"]:
        row = sites.loc[(one["lhs"], one["rhs"], values["groups"][one["group"] - 1])]
        assert row["estimate"] == pytest.approx(one["est"], abs=2e-5)
        assert row["std_error"] == pytest.approx(one["se"], rel=1e-4)


def test_wald_tests_with_therapists_equal_lavaan(expected: dict) -> None:
    paths = found("clustered", expected["clustered"], by_therapist=True).paths.set_index(["lhs", "rhs"])
    for one in expected["clustered"]["paths"]:
        assert paths.loc[(one["lhs"], one["rhs"]), "wald_chi2"] == pytest.approx(one["clustered"], rel=1e-3)
