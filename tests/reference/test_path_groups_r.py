"""Path models for several groups, from rows to tables, equal lavaan with ``group=``; therapists have clients in several groups."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
import r_script
import structural_reference
from alliance.questions.contract import POOLED, check
from alliance.questions.path_models import question as path_models
from alliance.questions.path_models.sample import model_of
from alliance.questions.path_models.sent import sent_by, site_groups
from alliance.questions.site_data import SiteData
from alliance.questions.summary import SiteSummary
from needed import needs_r
from statistics_reference import pooled_by_metafor
from unit.simulated_site import OPTIONS, score_rows, site_of

pytestmark = needs_r

GROUPS = ["cognitive", "psychodynamic"]
VARIABLES = ("x", "z", "m", "y", "i1", "i2", "i3")
MODELS: dict[str, dict[str, Any]] = {
    "free": {
        "syntax": "m ~ c(a1, a2)*x + z\ny ~ c(b1, b2)*m + z\none := a1*b1\ntwo := a2*b2\ndifference := one - two",
        "variables": ["m", "y", "x", "z"],
    },
    "regressions": {"syntax": "m ~ x + z\ny ~ m + z", "group_equal": ["regressions"], "variables": ["m", "y", "x", "z"]},
    "label": {"syntax": "y ~ c(b, b)*m + z\ndoubled := 2*b", "variables": ["y", "m", "z"]},
    "factor": {
        "syntax": "f =~ i1 + i2 + i3\ny ~ f",
        "group_equal": ["loadings", "intercepts"],
        "group_partial": ["i3 ~ 1"],
        "variables": ["i1", "i2", "i3", "y"],
    },
}
COMPARISONS = {"same": ["free", "regressions"]}
# Site, clients, therapists, share missing, whether therapists have clients in both groups.
SITES = (("complete", 130, 13, 0.0, True), ("holes", 150, 14, 0.15, True), ("apart", 160, 16, 0.15, False))
LEFT_OUT = ["complete regressions", "holes free", "apart label"]
FIT = {name: name for name in ("df", "cfi", "tli", "rmsea", "srmr", "aic", "bic", "scaling")}
FIT |= {"chisq": "chi2", "pvalue": "p_value", "chisq.scaled": "chi2_scaled"}


def rows() -> pd.DataFrame:
    """Return one row a client of every site; a few are in a third treatment, or in none that is known."""
    found = []
    for place, (site, n, therapists, missing, crossed) in enumerate(SITES):
        random = np.random.Generator(np.random.PCG64(700 + place))
        therapist = np.arange(n) % therapists + 1
        treated = random.integers(0, 2, n) if crossed else therapist % 2
        shared = 0.5 * random.standard_normal((therapists, 4))[therapist - 1]
        noise = random.standard_normal((n, 7))
        x, z = noise[:, 0] + shared[:, 0], noise[:, 1]
        m = (0.5 - 0.2 * treated) * x + 0.2 * z + noise[:, 2] + shared[:, 1] + 0.5 * treated
        y = 0.4 * m + 0.3 * z + (1 + 0.3 * treated) * noise[:, 3] + shared[:, 2]
        items = y[:, None] * (0.7, 0.6, 0.5) + noise[:, 4:] + shared[:, [3]]
        values = np.column_stack([x, z, m, 20 + 4 * y, items])
        values[random.random(values.shape) < missing] = np.nan
        names = np.array(GROUPS, dtype=object)[treated]
        names[n - 3 :] = ["gestalt", None, None]
        own = pd.DataFrame(values.round(4), columns=list(VARIABLES))
        found.append(own.assign(site=site, client=np.arange(1, n + 1), therapist=therapist, treatment=names))
    return pd.concat(found, ignore_index=True)


def options() -> dict:
    chosen = copy.deepcopy(OPTIONS)
    groups = {"by": "treatment", "values": GROUPS}
    models = {
        name: {"label": name, "groups": groups, **{key: value for key, value in model.items() if key != "variables"}}
        for name, model in MODELS.items()
    }
    chosen["questions"]["path_models"] |= {
        "missing": "likelihood",
        "clients_per_parameter": 3,
        "variables": {name: {"construct": f"clients.{name}"} for name in VARIABLES},
        "models": models,
        "comparisons": {name: {"label": name, "models": models} for name, models in COMPARISONS.items()},
    }
    chosen["resampling"]["draws"] = 1000
    return chosen


def site_data(site: str) -> SiteData:
    sent = rows()
    clients = sent[sent["site"].eq(site)].drop(columns="site")
    clients = clients.rename(columns={"client": "client_no", "therapist": "therapist_no"})
    clients = clients.astype({"client_no": "Int64", "therapist_no": "Int64"}).sample(frac=1, random_state=1).reset_index(drop=True)
    some = clients["client_no"].to_numpy(dtype=int)[:2]
    return site_of([score_rows(some, [1.0, 2.0], instrument="core_10", timepoint="intake")], site, clients=clients)


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("groups")
    sent = rows()
    sent[sent["treatment"].isin(GROUPS)].to_csv(folder / "rows.csv", index=False)
    models = {name: {**model, "model": model["syntax"]} for name, model in MODELS.items()}
    models["factor"]["group_partial"] = ["i3~1"]
    given = {"groups": GROUPS, "sites": [site[0] for site in SITES], "models": models, "left_out": LEFT_OUT}
    (folder / "groups.json").write_text(json.dumps(given), encoding="utf-8")
    return r_script.values("path_groups.R", folder)


@pytest.fixture(scope="module")
def summaries() -> list[SiteSummary]:
    return [path_models.estimate(site_data(site[0]), options(), {}) for site in SITES]


@pytest.fixture(scope="module")
def tables(summaries) -> dict[str, pd.DataFrame]:
    found = path_models.pool(summaries, options(), {})
    for name, table in found.items():
        check(table, "path_models", name)
    return found


def of_r(found: dict[str, Any], errors: dict[str, list[float]] | None = None) -> dict[tuple[str, ...], dict[str, float]]:
    """Return lavaan's rows by term, group (empty for defined parameters) and form."""
    values = {}
    for place, row in enumerate(found["parameters"]):
        group = "" if row["op"] == ":=" else GROUPS[row["group"] - 1]
        ends = sorted((row["lhs"], row["rhs"])) if row["op"] == "~~" else [row["lhs"], "" if row["op"] == ":=" else row["rhs"]]
        for form, value, error in (("raw", "estimate", "std_error"), ("standardised", "standardized", "std_error_standardized")):
            spread = row.get(error) if errors is None else errors[form][place]
            values[row["op"], *ends, group, form] = {"estimate": row[value], "std_error": spread}
    return values


def key(row: dict[str, Any]) -> tuple[str, ...]:
    form = "standardised" if row["estimate_type"].endswith("standardised") and "un" not in row["estimate_type"] else "raw"
    if "op" not in row:
        return ":=", row["parameter"], "", "", form
    ends = sorted((row["lhs"], row["rhs"])) if row["op"] == "~~" else [row["lhs"], row["rhs"]]
    return row["op"], *ends, row["group"], form


def own_rows(table: pd.DataFrame, site: str, model: str) -> list[dict[str, Any]]:
    return table[table["site"].eq(site) & table["model"].eq(model) & table["status"].isin(["estimated", "flagged"])].to_dict("records")


CASES = [(site[0], name) for site in SITES for name in MODELS]


@pytest.mark.parametrize(("site", "model"), CASES)
def test_coefficients_of_every_group_equal_lavaan(expected, tables, site, model):
    theirs = of_r(expected[site][model])
    found = own_rows(tables["parameters"], site, model)
    assert {row["group"] for row in found} == set(GROUPS) and len(found) >= 12
    sizes = dict(zip(GROUPS, expected[site][model]["n"]))
    for row in found:
        assert row["estimate"] == pytest.approx(theirs[key(row)]["estimate"], rel=1e-5, abs=1e-6), key(row)
        assert row["n_clients"] == sizes[row["group"]]


@pytest.mark.parametrize(("site", "model"), CASES)
def test_fit_over_groups_equals_lavaan(expected, tables, site, model):
    theirs = expected[site][model]["fit"]
    found = {row["index"]: row["estimate"] for row in own_rows(tables["fit"], site, model)}
    compared = {name: index for name, index in FIT.items() if name in theirs and (theirs["df"] > 0 or name in ("df", "aic", "bic"))}
    assert len(compared) == (11 if theirs["df"] > 0 else 3)
    for name, index in compared.items():
        assert found[index] == pytest.approx(theirs[name], rel=1e-4, abs=1e-6), name
    if site == "apart" and theirs["df"] > 0:
        # No therapist has clients in two groups, so that lavaan's own cluster-robust test is the same.
        assert found["chi2_scaled"] == pytest.approx(expected[site][model]["lavaan_scaled"]["chisq.scaled"], rel=1e-4)


@pytest.mark.parametrize("site", [site[0] for site in SITES])
def test_delta_errors_of_effects_over_groups_equal_the_sandwich_of_lavaan_s_scores(expected, tables, site):
    theirs = of_r(expected[site]["free"])
    found = [row for row in own_rows(tables["defined"], site, "free") if row["interval"] == "delta"]
    assert len(found) == 6
    for row in found:
        assert row["std_error"] == pytest.approx(theirs[key(row)]["std_error"], rel=1e-4), key(row)


@pytest.mark.parametrize("case", LEFT_OUT)
def test_errors_equal_those_of_leaving_each_therapist_out_of_all_groups_in_r(expected, tables, case):
    site, model = case.split()
    theirs = of_r(expected[site][model], expected[site][model]["jackknife"])
    found = own_rows(tables["parameters"], site, model)
    assert {row["method"] for row in found} == {"cluster_jackknife"}
    # An effect that is a sum of coefficients is not resampled.
    found += [row for row in own_rows(tables["defined"], site, model) if row["interval"] == "jackknife"]
    assert ("doubled" in {row["parameter"] for row in found}) == (model == "label")
    for row in found:
        assert row["std_error"] == pytest.approx(theirs[key(row)]["std_error"], rel=1e-4), key(row)


COVARIANCES_ONLY = ("free", "regressions", "label")


@pytest.fixture(scope="module")
def pooled_by_r(summaries, tmp_path_factory) -> dict[str, Any]:
    section = options()["questions"]["path_models"]
    sent: dict[str, dict[str, Any]] = {}
    for name in COVARIANCES_ONLY:
        model = model_of(section, name)
        sent[name] = {}
        for one in sent_by(summaries):
            own = site_groups(one, name, model)
            assert own.acov is not None
            values = {"n": own.n.tolist(), "covariances": own.covariances.tolist(), "acov": own.acov.tolist()}
            sent[name][one.site] = {"names": list(model.observed), **values}
    models = {name: {"model": MODELS[name]["syntax"], "group_equal": MODELS[name].get("group_equal", [])} for name in COVARIANCES_ONLY}
    folder = tmp_path_factory.mktemp("groups_pooled")
    (folder / "input.json").write_text(json.dumps({"groups": GROUPS, "models": models, "sent": sent}), encoding="utf-8")
    return r_script.values("path_groups_pooled.R", folder)


def over_sites(table: pd.DataFrame, model: str, method: str) -> list[dict[str, Any]]:
    return [row for row in own_rows(table, POOLED, model) if row["method"] == method]


@pytest.mark.parametrize("model", COVARIANCES_ONLY)
def test_models_of_groups_over_sites_in_common_units_equal_lavaan(pooled_by_r, tables, model):
    """Each site's variables are divided by one standard deviation for all its groups, so that equal paths stay equal."""
    theirs = of_r(pooled_by_r[model])
    found = over_sites(tables["parameters"], model, "pooled_covariance")
    found += [row for row in over_sites(tables["defined"], model, "pooled_covariance") if row["interval"] != "monte_carlo"]
    compared = 0
    for row in found:
        expected = theirs[key(row)]
        assert row["estimate"] == pytest.approx(expected["estimate"], rel=1e-5, abs=1e-6), key(row)
        if expected["std_error"] > 1e-9:
            assert row["std_error"] == pytest.approx(expected["std_error"], rel=1e-4), key(row)
            compared += 1
        assert row["n_sites"] == len(SITES)
    assert compared >= {"free": 12, "regressions": 12, "label": 6}[model]
    fit = {row["index"]: row["estimate"] for row in over_sites(tables["fit"], model, "pooled_covariance")}
    assert fit["df"] == pooled_by_r[model]["fit"]["df"]
    if fit["df"] > 0:
        assert fit["chi2"] == pytest.approx(pooled_by_r[model]["fit"]["chisq"], rel=1e-4)
        assert fit["scaling"] == pytest.approx(pooled_by_r[model]["fit"]["scaling"], rel=1e-4)


def test_paths_of_groups_pooled_from_sites_equal_metafor(tables):
    rows, pooled = [], {}
    for name in ("parameters", "defined"):
        table = tables[name]
        for model in MODELS:
            for row in over_sites(table, model, "two_stage_reml"):
                known = table["model"].eq(model) & table["parameter"].eq(row["parameter"]) & table["estimate_type"].eq(row["estimate_type"])
                if name == "parameters":
                    known &= table["group"].eq(row["group"])
                else:
                    known &= table["interval"].isin(["bootstrap_percentile", "jackknife"])
                own = table[known & table["site"].isin([site[0] for site in SITES])]
                assert len(own) == len(SITES)
                effect = f"{model}|{row['parameter']}|{row.get('group', '')}|{row['estimate_type']}"
                rows.append(own[["estimate", "std_error"]].assign(effect=effect))
                pooled[effect] = row
    compared = pooled_by_metafor(pd.concat(rows, ignore_index=True)[["effect", "estimate", "std_error"]])
    assert len(compared) == len(pooled) > 30 and any(row.get("group") for row in pooled.values())
    for effect, expected in compared.items():
        row, half = pooled[effect], (expected["high"] - expected["low"]) / 2
        for column, value in (("estimate", "estimate"), ("ci_low", "low"), ("ci_high", "high")):
            assert row[column] == pytest.approx(expected[value], abs=2e-3 * half), (effect, column)
        assert row["std_error"] == pytest.approx(expected["se"], rel=2e-3) and row["n_sites"] == expected["k"] == len(SITES)
        assert row["tau2"] == pytest.approx(expected["tau2"], rel=5e-3, abs=1e-5), effect


def test_the_two_schools_of_holzinger_and_swineford_equal_lavaan_with_equal_loadings_and_intercepts():
    expected = structural_reference.computed_rows(("holzinger",))["holzinger_missing_schools"]
    sent = pd.DataFrame(expected["rows"])
    items = [f"x{item}" for item in range(1, 10)]
    assert sent[items].isna().to_numpy().mean() > 0.05
    schools = list(dict.fromkeys(sent["school"]))
    chosen = options()
    model = {"label": "", "syntax": structural_reference.THREE, "groups": {"by": "school", "values": schools}}
    chosen["questions"]["path_models"] |= {
        "variables": {item: {"construct": f"clients.{item}"} for item in items},
        "models": {"abilities": {**model, "group_equal": ["loadings", "intercepts"]}},
        "comparisons": {},
    }
    clients = sent.assign(client_no=pd.array(range(1, len(sent) + 1), dtype="Int64"))
    site = site_of([score_rows([1, 2], [1.0, 2.0], instrument="core_10", timepoint="intake")], "schools", clients=clients)
    found = path_models.estimate(site, chosen, {}).estimates
    found = found[found["model"].eq("abilities")]
    assert set(found.loc[~found["reason"].str.contains("fixed by the model"), "status"]) == {"estimated"}
    groups = dict(enumerate(schools, start=1))
    theirs = {
        (row["op"], *(sorted((row["lhs"], row["rhs"])) if row["op"] == "~~" else (row["lhs"], row["rhs"])), groups[row["group"]]): row
        for row in expected["parameters"]
    }
    coefficients = found[found["op"].isin(["=~", "~~"]) & found["index"].eq("")]
    for row in coefficients.itertuples():
        other = theirs[row.op, *(sorted((row.lhs, row.rhs)) if row.op == "~~" else (row.lhs, row.rhs)), row.group]
        value = other["standardized" if row.estimate_type.endswith("_standardised") else "estimate"]
        assert row.estimate == pytest.approx(value, rel=1e-5, abs=1e-6), row.parameter
    # 9 loadings, 9 residual variances, 3 variances and 3 covariances of factors in both schools, in two forms.
    assert len(coefficients) == 96
    fit = found[found["estimate_type"].eq("fit_index")].set_index("index")["estimate"]
    for name, index in (
        ("chisq", "chi2"),
        ("df", "df"),
        ("cfi", "cfi"),
        ("rmsea", "rmsea"),
        ("srmr", "srmr"),
        ("aic", "aic"),
        ("bic", "bic"),
    ):
        assert fit[index] == pytest.approx(expected["fit"][name], rel=1e-4), name
