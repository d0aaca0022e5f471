"""Path models, from the rows of clients to the tables, equal what R makes of the same rows.

R (``path_tables.R``) makes the variables, fits the models by full information with lavaan and leaves out therapists by itself;
``path_pooled.R`` pools what sites would send by metafor and lavaan.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pandas as pd
import path_rows as reference
import pytest
import r_script
import scipy.stats
from alliance.questions.contract import MOMENTS, POOLED
from alliance.questions.path_models import question as path_models
from alliance.questions.site_data import Published, SiteData
from alliance.statistics.structural_fit import compare, fit_structural, parse_structural
from needed import REAL_DATA, needs_r, needs_real_data
from statistics_reference import pooled_by_metafor, stored
from unit.simulated_site import OPTIONS, score_rows, site_of

LQ2002 = REAL_DATA / "lq2002_multilevel" / "lq2002.csv"
SITES = [site[0] for site in reference.SITES]


def options() -> dict:
    chosen = copy.deepcopy(OPTIONS)
    section = chosen["questions"]["path_models"]
    section |= {
        "missing": "likelihood",
        "clients_per_parameter": 3,
        "variables": {
            "empathy": {"construct": "empathy", "window": "session_1"},
            "alliance": {"construct": "alliance", "window": "sessions_2_to_5"},
            "outcome": {"construct": "outcome"},
            "intake_level": {"construct": "intake"},
            **{item: {"construct": item} for item in reference.ITEMS},
        },
        "models": {name: {"label": name, "syntax": syntax} for name, syntax in reference.MODELS.items()},
        "comparisons": {name: {"label": name, "models": list(models)} for name, models in reference.COMPARISONS.items()},
        "mediation": {"enabled": False, "session_trend": False, "chains": {}},
        "technique": {"enabled": False, "session_trend": True, "pairs": {}},
    }
    chosen["resampling"]["draws"] = 4000
    return chosen


def site_data() -> list[SiteData]:
    sent, found = reference.rows(), []
    for site in SITES:
        clients = sent["clients"][sent["clients"]["site"].eq(site)].drop(columns="site")
        clients = clients.rename(columns={"client": "client_no", "therapist": "therapist_no"})
        clients = clients.astype({"client_no": "Int64", "therapist_no": "Int64"}).sample(frac=1, random_state=1).reset_index(drop=True)
        scores = sent["scores"][sent["scores"]["site"].eq(site)]
        tables = [
            score_rows(rows["client"], rows["score"], instrument=instrument, timepoint=timepoint, session=rows["session"])
            for (instrument, timepoint), rows in scores.groupby(["instrument", "timepoint"], sort=True)
        ]
        found.append(site_of(tables, site, clients=clients))
    published = pd.DataFrame(reference.PUBLISHED, columns=["var1", "var2", "n", "cov"])
    published = published.assign(block="correlations", level="client", method="correlation").reindex(columns=list(MOMENTS))
    nothing = pd.DataFrame(columns=["question", "model", "parameter", "estimate", "std_error", "n"])
    return [*found, SiteData("e", "E", published=Published(published, nothing))]


FIT = {
    **{"chisq": "chi2", "df": "df", "pvalue": "p_value", "chisq.scaled": "chi2_scaled", "pvalue.scaled": "p_value_scaled"},
    **{"chisq.scaling.factor": "scaling", "rmsea": "rmsea", "rmsea.ci.lower": "rmsea_low", "rmsea.ci.upper": "rmsea_high"},
    **{"rmsea.pvalue": "rmsea_close_p", **{name: name for name in ("cfi", "tli", "srmr", "aic", "bic")}},
}
OUTSIDE = ("empathy ~~ empathy", "empathy ~~ intake_level", "intake_level ~~ intake_level")
KINDS = {"path", "loading", "covariance", "defined"}
EXPECTED = stored("path_tables")
OF_SITE = [(site, name) for site in SITES for name in reference.MODELS]


@pytest.fixture(scope="module")
def summaries() -> list:
    return [path_models.estimate(site, options(), {}) for site in site_data()]


@pytest.fixture(scope="module")
def tables(summaries: list) -> dict[str, pd.DataFrame]:
    return path_models.pool(summaries, options(), {})


def numbers(table: pd.DataFrame, **keys: str) -> pd.DataFrame:
    """Return the rows of a table with numbers and these keys."""
    chosen = table[table["status"].isin(["estimated", "flagged"])]
    return chosen[np.logical_and.reduce([chosen[name].eq(value) for name, value in keys.items()])]


def named(rows: pd.DataFrame) -> dict[str, pd.Series]:
    """Return rows of parameters by the name that R gives them."""
    kinds = rows["estimate_type"].str.split("_").str[0]
    assert set(kinds) <= KINDS
    ending = np.where(rows["estimate_type"].str.endswith("_standardised"), " (standardised)", "")
    found = dict(zip(rows["parameter"] + ending, (row for _, row in rows.iterrows())))
    assert len(found) == len(rows)
    return found


def of_site(tables: dict[str, pd.DataFrame], site: str, model: str) -> dict[str, pd.Series]:
    """Return a site's rows of a model, each effect with the interval it is told with."""
    drawn = numbers(tables["defined"], site=site, model=model)
    drawn = drawn[drawn["interval"].eq("bootstrap_percentile")]
    return named(pd.concat([numbers(tables["parameters"], site=site, model=model), drawn]))


@needs_r
def test_stored_values_are_what_r_gives_now() -> None:
    now = reference.computed(sites=["b"], models=["main", "two"])
    for name, values in now["sites"]["b"].items():
        then = EXPECTED["sites"]["b"][name]
        for part in ("estimate", "fit"):
            for key, value in values[part].items():
                assert then[part][key] == (value if value is None else pytest.approx(value, rel=1e-5, abs=1e-6)), (name, key)


@pytest.mark.parametrize(("site", "model"), OF_SITE)
def test_coefficients_equal_lavaan(tables: dict[str, pd.DataFrame], site: str, model: str) -> None:
    expected, found = EXPECTED["sites"][site][model], of_site(tables, site, model)
    # Moments of what nothing in the model predicts are not shown.
    outside = {f"{pair}{form}" for pair in OUTSIDE for form in ("", " (standardised)")}
    assert set(found) == set(expected["estimate"]) - outside
    for name, row in found.items():
        assert row["estimate"] == pytest.approx(expected["estimate"][name], abs=1e-5), name
        assert row["n_clients"] == expected["n_clients"] and row["n_therapists"] == expected["n_therapists"]
        assert row["share_missing"] == pytest.approx(expected["share_missing"], abs=1e-12)


@pytest.mark.parametrize(("site", "model"), OF_SITE)
def test_fit_equals_lavaan(tables: dict[str, pd.DataFrame], site: str, model: str) -> None:
    expected = EXPECTED["sites"][site][model]["fit"]
    found = numbers(tables["fit"], site=site, model=model).set_index("index")["estimate"]
    if expected["df"] == 0:
        # A model with as many parameters as moments fits any data: only the information criteria say something.
        assert found["chi2"] == pytest.approx(0, abs=1e-6) and "p_value" not in found and "rmsea_close_p" not in found
        assert found[["aic", "bic"]].to_numpy() == pytest.approx([expected["aic"], expected["bic"]], rel=1e-6)
        return
    known = {name: index for name, index in FIT.items() if expected[name] is not None}
    assert set(found.index) == set(known.values()) and (len(known) == len(FIT)) == ((site, model) != ("d", "equal"))
    for name, index in known.items():
        assert found[index] == pytest.approx(expected[name], rel=1e-4, abs=1e-7), index


@pytest.mark.parametrize(("site", "model"), [key for key in OF_SITE if "jackknife" in EXPECTED["sites"][key[0]][key[1]]])
def test_errors_of_coefficients_equal_refits_without_each_therapist(tables: dict[str, pd.DataFrame], site: str, model: str) -> None:
    expected = EXPECTED["sites"][site][model]
    df = expected["n_therapists"] - 1 if expected["n_therapists"] >= 5 else np.inf
    assert (site == "c") == np.isinf(df)
    for name, row in of_site(tables, site, model).items():
        if row["method"] == "bootstrap" or expected["jackknife"][name] < 1e-9:
            continue
        assert row["method"] == ("client_jackknife" if site == "c" else "cluster_jackknife")
        assert row["std_error"] == pytest.approx(expected["jackknife"][name], rel=1e-3), name
        half = scipy.stats.t.ppf(0.975, df) * row["std_error"]
        assert [row["ci_low"], row["ci_high"]] == pytest.approx([row["estimate"] - half, row["estimate"] + half], rel=1e-9), name


def test_how_coefficients_of_a_site_covary_is_that_of_leaving_out_clients(summaries: list) -> None:
    """The variances of the matrix are those of leaving out therapists, its correlations those of leaving out clients."""
    expected = EXPECTED["sites"]["b"]["main"]
    names, vcov = expected["by_client"]["names"], summaries[1].vcov
    vcov = vcov[vcov["model"].eq("main")].set_index(["parameter1", "parameter2"])["cov"]
    errors = [expected["jackknife"][name] for name in names]
    compared = 0
    for i, one in enumerate(names):
        for j, two in enumerate(names[:i]):
            value = vcov.get((one, two), vcov.get((two, one)))
            assert value / (errors[i] * errors[j]) == pytest.approx(expected["by_client"]["correlation"][i][j], abs=1e-4), (one, two)
            compared += 1
    assert compared == 10


@pytest.mark.parametrize(("site", "model"), [key for key in OF_SITE if "robust" in EXPECTED["sites"][key[0]][key[1]]])
def test_delta_intervals_rest_on_robust_errors_of_lavaan(tables: dict[str, pd.DataFrame], site: str, model: str) -> None:
    expected = EXPECTED["sites"][site][model]
    margin = scipy.stats.t.ppf(0.975, expected["n_therapists"] - 1 if site != "c" else expected["n_clients"] - 1)
    rows = numbers(tables["defined"], site=site, model=model)
    found = named(rows[rows["interval"].eq("delta")])
    assert set(found) == set(expected["robust"])
    for name, row in found.items():
        assert row["std_error"] == pytest.approx(expected["robust"][name], rel=1e-4), name
        limits = row["estimate"] + margin * row["std_error"] * np.array([-1, 1])
        assert [row["ci_low"], row["ci_high"]] == pytest.approx(limits, rel=1e-9), name


@pytest.mark.parametrize("site", ["a", "b"])
def test_percentile_intervals_are_near_those_of_refitted_resamples(tables: dict[str, pd.DataFrame], site: str) -> None:
    rows = numbers(tables["defined"], site=site, model="main")
    found = named(rows[rows["interval"].eq("bootstrap_percentile")])
    for expected in EXPECTED["sites"][site]["main"]["bootstrap"]:
        row = found[expected["name"]]
        # Two sets of draws: a normal quantile at 2.5 % has the error 2.67 sd / sqrt(draws), a standard deviation 0.71 sd / sqrt(draws).
        apart = expected["sd"] * np.sqrt(1 / expected["draws"] + 1 / options()["resampling"]["draws"])
        assert row["std_error"] == pytest.approx(expected["sd"], abs=3 * 0.71 * apart), expected["name"]
        for column, of in (("ci_low", "low"), ("ci_high", "high")):
            assert row[column] == pytest.approx(expected[of], abs=3 * 2.67 * apart), (expected["name"], column)


@pytest.mark.parametrize("site", SITES)
def test_what_explains_an_effect_away_is_that_of_lavaans_covariances(tables: dict[str, pd.DataFrame], site: str) -> None:
    rows = numbers(tables["indirect"], site=site, model="main", effect="indirect").set_index("estimate_type")["estimate"]
    expected = EXPECTED["sites"][site]["main"]["sensitivity"]
    assert rows["confounder_correlation"] == pytest.approx(expected["rho"], abs=1e-5)
    assert rows["e_value"] == pytest.approx(expected["e_value"], rel=1e-5)


@pytest.mark.parametrize("site", SITES)
def test_comparisons_equal_lavaan(tables: dict[str, pd.DataFrame], site: str) -> None:
    rows = tables["comparison"]
    for comparison, models in reference.COMPARISONS.items():
        fits = {name: EXPECTED["sites"][site][name]["fit"] for name in models}
        best = min(fit["aic"] for fit in fits.values())
        weight = {name: np.exp((best - fit["aic"]) / 2) for name, fit in fits.items()}
        for name, fit in fits.items():
            found = numbers(rows, site=site, comparison=comparison, model=name, against="").set_index("index")["estimate"]
            assert found[["aic", "bic"]].to_numpy() == pytest.approx([fit["aic"], fit["bic"]], rel=1e-6)
            assert found["akaike_weight"] == pytest.approx(weight[name] / sum(weight.values()), abs=1e-5)
    for small, large in reference.NESTED:
        found = numbers(rows, site=site, model=small, against=large).set_index("index")
        expected = EXPECTED["comparisons"][f"{site}/{small}/{large}"]
        if "Satorra (2000)" in found.loc["chi2", "reason"]:
            # What lavaan makes of a negative factor is no statistic.
            assert found.loc["chi2", "estimate"] == pytest.approx(expected["plain"] / expected["factor_2000"], rel=1e-4), small
            continue
        for index in ("chi2", "df", "p_value"):
            assert found.loc[index, "estimate"] == pytest.approx(expected["y2001"][index], rel=1e-4, abs=1e-7), (small, index)
    flagged = numbers(rows, site=site, index="chi2")["reason"].str.contains("Satorra (2000)", regex=False).sum()
    assert flagged == {"a": 0, "b": 1, "c": 1, "d": 2}[site]


def sent_moments(summaries: list, model: str) -> dict[str, dict]:
    """Return what the summaries hold of a model's variables: names, clients of pairs, covariances, and how these vary by sampling."""
    found = {}
    # Site c has so few therapists that its clients are taken as independent.
    therapists = {site: many if many >= 5 else 1e12 for site, _, many, *_ in reference.SITES}
    for summary in summaries[: len(SITES)]:
        rows = summary.moments[summary.moments["block"].eq(f"path_models:{model}")]
        names = list(dict.fromkeys(rows["var1"]))
        wide = {
            column: rows.pivot(index="var1", columns="var2", values=column).loc[names, names].to_numpy(float) for column in ("n", "cov")
        }
        whole = {column: np.where(np.isnan(one), one.T, one) for column, one in wide.items()}
        labels = [f"{a} with {b}" for i, a in enumerate(names) for b in names[i:]]
        spread = summary.vcov[summary.vcov["model"].eq(f"path_models:{model}")]
        acov = spread.pivot(index="parameter1", columns="parameter2", values="cov").reindex(index=labels, columns=labels).to_numpy(float)
        acov = np.where(np.isnan(acov), acov.T, acov)
        assert np.isfinite(acov).all()
        sent = {"n": whole["n"].tolist(), "covariance": whole["cov"].tolist(), "acov": acov.tolist()}
        found[summary.site] = {"names": names, "therapists": therapists[summary.site], **sent}
    return found


@pytest.fixture(scope="module")
def pooled_by_r(summaries: list, tmp_path_factory: pytest.TempPathFactory) -> dict:
    moments = {name: sent_moments(summaries, name) for name in reference.MODELS}
    folder = tmp_path_factory.mktemp("pooled")
    (folder / "input.json").write_text(json.dumps({"models": reference.MODELS, "moments": moments}), encoding="utf-8")
    return r_script.values("path_pooled.R", folder)


def pooled(table: pd.DataFrame, method: str, model: str) -> pd.DataFrame:
    rows = numbers(table, site=POOLED, model=model, method=method)
    return rows[rows["estimate_type"].str.endswith("_standardised")] if "parameter" in rows else rows


@needs_r
def test_models_within_sites_equal_lavaan(tables: dict[str, pd.DataFrame], pooled_by_r: dict) -> None:
    for model, expected in pooled_by_r.items():
        found = pd.concat([pooled(tables[name], "pooled_covariance", model) for name in ("parameters", "defined")])
        found = found[~found["interval"].eq("monte_carlo")].set_index("parameter")
        assert set(found.index) >= {name for name in expected["estimate"] if "~~" not in name} and len(found) == len(set(found.index))
        for name, row in found.iterrows():
            assert row["estimate"] == pytest.approx(expected["estimate"][name], abs=1e-5), (model, name)
            if expected["std_error"][name] > 1e-9:
                assert row["std_error"] == pytest.approx(expected["std_error"][name], rel=1e-4), (model, name)
        fit = numbers(tables["fit"], site=POOLED, model=model, method="pooled_covariance").set_index("index")["estimate"]
        for name, index in FIT.items():
            if index in ("aic", "bic") or expected["fit"]["df"] == 0:
                continue
            assert fit[index] == pytest.approx(expected["fit"][name], rel=1e-4, abs=1e-7), (model, index)


@needs_r
def test_equality_of_paths_over_sites_equals_lavaan(tables: dict[str, pd.DataFrame], pooled_by_r: dict) -> None:
    for model in ("main", "no_direct"):
        expected = pooled_by_r[model]["equality"]
        rows = numbers(tables["diagnostics"], site=POOLED, model=model, estimate_type="equality_test")
        value = rows.set_index(["parameter", "index"])["estimate"]
        for index in ("chi2", "df", "p_value"):
            assert value["all paths", f"equal_paths_{index}"] == pytest.approx(expected[index], rel=1e-4), (model, index)
        sites = numbers(tables["site_paths"], model=model).set_index(["site", "parameter", "index"])
        place = 0
        for path, adjusted in zip(expected["paths"], expected["holm"], strict=True):
            for index in ("chi2", "df", "p_value"):
                assert value[path["name"], f"equal_paths_{index}"] == pytest.approx(path[index], rel=1e-4, abs=1e-9), path["name"]
            assert value[path["name"], "equal_paths_p_value_holm"] == pytest.approx(adjusted, rel=1e-4, abs=1e-9)
            for site, difference, error in zip(SITES, path["difference"], path["std_error"], strict=True):
                row = sites.loc[(site, path["name"], "difference")]
                assert row["estimate"] == pytest.approx(difference, abs=1e-5) and row["std_error"] == pytest.approx(error, rel=1e-4)
                for index, of in (("p_value", "site_p"), ("p_value_holm", "site_holm")):
                    assert sites.loc[(site, path["name"], index), "estimate"] == pytest.approx(expected[of][place], rel=1e-3, abs=1e-9)
                place += 1
        assert place == len(expected["site_p"])


@needs_r
def test_random_effects_of_coefficients_equal_metafor(tables: dict[str, pd.DataFrame]) -> None:
    """From the estimates and refits of R alone; effects have errors of resampling, and those of the table are taken."""
    rows, of = [], {}
    for site, model in OF_SITE:
        expected, found = EXPECTED["sites"][site][model], of_site(tables, site, model)
        for name, row in found.items():
            if "~~" not in name and np.isfinite(row["std_error"]) and row["std_error"] > 0:
                error = expected.get("jackknife", {}).get(name) if row["method"] != "bootstrap" else None
                key = f"{model}|{name}"
                rows.append({"effect": key, "estimate": expected["estimate"][name], "std_error": error or row["std_error"]})
                of[key] = row
    compared = 0
    for key, expected in pooled_by_metafor(pd.DataFrame(rows)).items():
        model, name = key.split("|")
        if expected["k"] < 2:
            continue
        table = tables["defined" if of[key]["method"] == "bootstrap" else "parameters"]
        row = numbers(table, site=POOLED, model=model, method="two_stage_reml", estimate_type=of[key]["estimate_type"])
        row = row[row["parameter"].eq(of[key]["parameter"])]
        assert len(row) == 1, key
        row = row.iloc[0]
        half = (expected["high"] - expected["low"]) / 2
        for column, value in (("estimate", "estimate"), ("ci_low", "low"), ("ci_high", "high")):
            assert row[column] == pytest.approx(expected[value], abs=2e-3 * half), (key, column)
        assert row["std_error"] == pytest.approx(expected["se"], rel=2e-3) and row["n_sites"] == expected["k"] == len(SITES)
        assert row["tau2"] == pytest.approx(expected["tau2"], rel=5e-3, abs=1e-5), key
        compared += 1
    assert compared > 40


@needs_r
def test_coefficients_pooled_together_equal_metafor(tables: dict[str, pd.DataFrame], summaries: list, tmp_path: Path) -> None:
    cases, named_by = {}, {}
    for model in ("main", "no_direct", "two"):
        table = [of_site(tables, site, model) for site in SITES]
        names = [name for name, row in table[0].items() if "~" in name and "~~" not in name and name.endswith("(standardised)")]
        spread = [one.vcov[one.vcov["model"].eq(model)].set_index(["parameter1", "parameter2"])["cov"] for one in summaries[: len(SITES)]]
        v = [
            [[row[a]["std_error"] ** 2 if a == b else own.get((a, b), own.get((b, a), np.nan)) for a in names] for b in names]
            for row, own in zip(table, spread)
        ]
        assert np.isfinite(v).all()
        y = [[row[name]["estimate"] for name in names] for row in table]
        cases[model] = {"y": y, "v": v, "struct": "DIAG", "method": "REML"}
        named_by[model] = names
    (tmp_path / "cases.json").write_text(json.dumps(cases), encoding="utf-8")
    for model, expected in r_script.values("multivariate_meta.R", tmp_path).items():
        found = pooled(tables["parameters"], "multivariate_reml", model).set_index("parameter")
        error = np.sqrt(np.diagonal(expected["vcov"]) * max(1.0, expected["factor"]))
        for place, name in enumerate(named_by[model]):
            row = found.loc[name.removesuffix(" (standardised)")]
            assert row["estimate"] == pytest.approx(expected["estimate"][place], abs=1e-5), (model, name)
            assert row["std_error"] == pytest.approx(error[place], rel=1e-4), (model, name)
            assert row["tau2"] == pytest.approx(expected["tau2"][place], rel=1e-3, abs=1e-6), (model, name)
            half = scipy.stats.t.ppf(0.975, len(SITES) - 1) * row["std_error"]
            assert row["ci_high"] - row["estimate"] == pytest.approx(half, rel=1e-6)


@needs_r
def test_two_stage_models_equal_metafor_and_lavaan(tables: dict[str, pd.DataFrame], summaries: list, tmp_path: Path) -> None:
    """The site that published a matrix with holes takes part."""
    names = ["empathy", "alliance", "outcome", "intake_level"]
    rows = [{"study": "e", "row": a, "col": b, "n": n, "r": r} for a, b, n, r in reference.PUBLISHED]
    for site, one in sent_moments(summaries, "main").items():
        r, n = np.array(one["covariance"]), np.array(one["n"])
        r = r / np.sqrt(np.outer(np.diagonal(r), np.diagonal(r)))
        where = [one["names"].index(name) for name in names]
        rows += [
            {"study": site, "row": names[i], "col": names[j], "n": n[where[i], where[j]], "r": r[where[i], where[j]]}
            for i in range(4)
            for j in range(i + 1, 4)
        ]
    pd.DataFrame(rows).to_csv(tmp_path / "matrices.csv", index=False)
    (tmp_path / "variables.json").write_text(json.dumps(names), encoding="utf-8")
    models = {name: reference.MODELS[name].replace("empathy ~~ intake_level\n", "") for name in ("main", "no_direct")}
    (tmp_path / "models.json").write_text(json.dumps(models), encoding="utf-8")
    for model, expected in r_script.values("two_stage.R", tmp_path)["models"].items():
        found = pd.concat([pooled(tables[name], "two_stage_sem", model) for name in ("parameters", "defined")])
        assert len(found) >= 5 and (found["n_sites"] == len(SITES) + 1).all()
        for row in found.itertuples():
            name = row.parameter.replace(" ", "")
            assert row.estimate == pytest.approx(expected["estimate"][name], abs=1e-5), (model, name)
            assert row.std_error == pytest.approx(expected["std_error"][name], rel=1e-4), (model, name)
        if expected["fit"]["df"] > 0:
            fit = numbers(tables["fit"], site=POOLED, model=model, method="two_stage_sem").set_index("index")["estimate"]
            for index, of in (("chi2", "chisq"), ("df", "df"), ("p_value", "pvalue"), ("cfi", "cfi"), ("rmsea", "rmsea"), ("srmr", "srmr")):
                assert fit[index] == pytest.approx(expected["fit"][of], rel=1e-4, abs=1e-6), (model, index)


@needs_r
def test_comparisons_over_sites_equal_those_of_lavaans_fits(tables: dict[str, pd.DataFrame], pooled_by_r: dict) -> None:
    for small, large in reference.NESTED:
        fits = [pooled_by_r[name]["fit"] for name in (small, large)]
        df = fits[0]["df"] - fits[1]["df"]
        weighted = [fit["df"] * fit["chisq.scaling.factor"] if fit["df"] else 0.0 for fit in fits]
        factor = (weighted[0] - weighted[1]) / df
        found = numbers(tables["comparison"], site=POOLED, model=small, against=large).set_index("index")
        if not (found["status"] == "flagged").any():
            assert found.loc["chi2", "estimate"] == pytest.approx((fits[0]["chisq"] - fits[1]["chisq"]) / factor, rel=1e-3), small
        assert found.loc["df", "estimate"] == df


@needs_r
@needs_real_data(LQ2002)
def test_models_of_members_of_companies_equal_lavaan() -> None:
    """Data of others: 2,042 members of 49 companies."""
    rows, expected = pd.read_csv(LQ2002), r_script.values("path_clusters.R", LQ2002)
    fits = {}
    for name, syntax in expected["models"].items():
        fitted = fits[name] = fit_structural(parse_structural(syntax), rows=rows, clusters=[rows["COMPID"]], errors="robust")
        of, table = expected["fits"][name], fitted.parameters.set_index(["lhs", "op", "rhs"])
        for place, key in enumerate(zip(of["lhs"], of["op"], of["rhs"])):
            row = table.loc[key]
            assert [row["estimate"], row["standardized"]] == pytest.approx([of["est"][place], of["std"][place]], abs=1e-5), key
            if of["se"][place] > 0:
                assert row["std_error"] == pytest.approx(of["se"][place], rel=1e-4), key
            if of["std_se"][place] > 1e-9:
                assert row["std_error_standardized"] == pytest.approx(of["std_se"][place], rel=1e-4), key
        assert [fitted.aic, fitted.bic] == pytest.approx([of["fit"]["aic"], of["fit"]["bic"]], rel=1e-8)
    assert fits["chain"].scaled.scaled.chi2 == pytest.approx(expected["fits"]["chain"]["fit"]["chisq.scaled"], rel=1e-4)
    # The larger model leaves nothing over: its factor does not count.
    found = compare(fits["chain"], fits["full"])
    assert found.status == "estimated" and found.df == 1
    assert [found.chi2, found.p_value] == pytest.approx([expected["difference"]["chi2"], expected["difference"]["p_value"]], rel=1e-4)
