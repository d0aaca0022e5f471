"""The R scripts beside the path models repeat the tables' numbers when they are run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import r_script
from alliance.configuration.study import load
from alliance.files import write_json
from alliance.portable.lavaan import LavaanModel, lavaan_script
from alliance.questions.path_models import question as path_models
from alliance.questions.path_models.pooling import pooled_fits
from alliance.questions.path_models.sent import sent_by
from alliance.questions.summary import SiteSummary
from support import PROJECT
from unit.simulated_site import simulated
from write_lavaan_scripts import main as write_lavaan_scripts

CONFIGURATION = load(PROJECT / "config.yaml")
VARIABLES = {
    "empathy": {"construct": "empathy", "window": "session_1"},
    "alliance": {"construct": "alliance", "window": "sessions_2_to_5"},
    "outcome": {"construct": "outcome"},
    "intake_level": {"construct": "intake"},
} | {
    f"{name}_3": {"construct": score, "window": "session_3", "rater": rater}
    for name, score, rater in (
        ("bond", "wai_36.bond", "client"),
        ("helpful", "haq_2.total", "client"),
        ("positive", "haq_2.positive", "client"),
        ("therapist", "wai_36.total", "therapist"),
    )
}
MODELS = {
    "partial": "alliance ~ a*empathy + intake_level\noutcome ~ b*alliance + c*empathy + intake_level\nindirect := a*b\ntotal := c + a*b",
    "full": "alliance ~ a*empathy + intake_level\noutcome ~ b*alliance + intake_level\nempathy ~~ intake_level\nindirect := a*b",
    "factor": "relation =~ alliance + bond_3 + helpful_3 + positive_3\noutcome ~ relation + intake_level",
    "measured": "relation =~ bond_3 + helpful_3 + positive_3 + therapist_3",
}
GROUPED = {
    "by_treatment": (
        "alliance ~ c(a1, a2)*empathy + intake_level\noutcome ~ c(b1, b2)*alliance + intake_level\n"
        "one := a1*b1\ntwo := a2*b2\ndifference := one - two",
        {},
    ),
    "same_paths": ("outcome ~ c(b, b)*alliance + intake_level", {}),
    "same_in_all": (
        "relation =~ alliance + bond_3 + helpful_3\noutcome ~ relation + intake_level",
        {"group_equal": ["loadings", "regressions"], "group_partial": ["outcome ~ intake_level"]},
    ),
}
GROUPS = ("cognitive", "psychodynamic")


def options(**pooling: Any) -> dict[str, Any]:
    """Return the demo's options with the models above."""
    base = CONFIGURATION.pool_options("base", "path_models")
    models = {name: {"label": f"It's {name}", "syntax": syntax, "variables": {}} for name, syntax in MODELS.items()}
    groups = {"by": "treatment", "values": list(GROUPS)}
    models |= {name: {"label": name, "syntax": syntax, "variables": {}, "groups": groups, **own} for name, (syntax, own) in GROUPED.items()}
    section = {**base["questions"]["path_models"], "variables": VARIABLES, "models": models, "comparisons": {}}
    changed = {
        "resampling": {"draws": 200},
        "pooling": base["pooling"] | pooling,
        "questions": base["questions"] | {"path_models": section},
    }
    return base | changed


@pytest.fixture(scope="module")
def summaries() -> list[SiteSummary]:
    """Three sites; at one a third of the clients lack the second questionnaire, so that numbers of clients differ by pair."""
    found = []
    for number, site in enumerate(("east", "north", "west")):
        data = simulated(site, n=90 + 35 * number, therapists=15, seed=11 + number)
        # Therapists 1 to 5 treat all their clients alike, the others have clients in both treatments.
        treated = np.where(data.clients["therapist_no"].le(5), data.clients["therapist_no"] % 2, data.clients["client_no"] // 3 % 2)
        data = replace(data, clients=data.clients.assign(treatment=np.array(GROUPS, dtype=object)[treated.astype(int)]))
        if site == "west":
            lacking = data.scores["instrument"].eq("haq_2") & data.scores["client_no"].mod(3).eq(0)
            data = replace(data, scores=data.scores[~lacking])
        found.append(path_models.estimate(data, options(), {}))
    return found


def written(summaries: list[SiteSummary], folder: Path) -> list[str]:
    """Write the files of sites that all take part, and return where the script finds them."""
    for summary in summaries:
        summary.write(folder / "summaries" / summary.site)
        write_json(
            folder / "sites" / summary.site / "status.json",
            {"site": summary.site, "status": "ok", "counts": {"clients": summary.n["clients"]}},
        )
    return ["--summaries", str(folder / "summaries"), "--site-tables", str(folder / "sites")]


@pytest.fixture(scope="module")
def scripts(summaries, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("lavaan")
    call = ["--scenario", "base", "--study", json.dumps({"title": "Müller's study\nof three", "simulated": True})]
    call += [*written(summaries, folder), "--sites", json.dumps([summary.site for summary in summaries])]
    assert write_lavaan_scripts([*call, "--options", json.dumps(options()), "--output", str(folder / "lavaan")]) == 0
    return folder / "lavaan"


@pytest.fixture(scope="module")
def tables(summaries) -> dict[str, pd.DataFrame]:
    return path_models.pool(summaries, options(), {})


def term(row: Any) -> tuple[str, str, str]:
    """Return what a row is about; the expression of a defined parameter may be written with other blanks."""
    return row["lhs"], row["op"], "" if row["op"] == ":=" else row["rhs"]


def by_term(table: pd.DataFrame) -> pd.DataFrame:
    return table.set_index(pd.MultiIndex.from_tuples([term(row) for row in table.to_dict("records")]))


def close(found: Any, expected: Any, tolerance: float) -> None:
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


@pytest.fixture(scope="module")
def found_in_r(scripts) -> dict[str, Any]:
    return r_script.values("lavaan_script.R", scripts)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_running_a_script_gives_the_tables_numbers(found_in_r, summaries, tables, name):
    in_r = found_in_r[name]
    fitted = pooled_fits(sent_by(summaries), options())[name].fitted
    own = by_term(fitted.parameters)
    for row in in_r["estimates"]:
        expected = own.loc[term(row)]
        close(row["est"], expected["estimate"], 1e-5)
        if row.get("se"):
            close(row["se"], expected["std_error"], 1e-4)
    pooled = {table: tables[table][tables[table]["model"].eq(name)] for table in ("parameters", "defined", "fit")}
    pooled = {table: rows[rows["method"].eq("pooled_covariance")] for table, rows in pooled.items()}
    defined = pooled["defined"].assign(lhs=pooled["defined"]["parameter"], op=":=", rhs="")
    coefficients = pd.concat([pooled["parameters"], defined])
    coefficients = by_term(coefficients.drop_duplicates(["lhs", "op", "rhs"]))
    seen = 0
    for row in in_r["standardised"]:
        key = term(row)
        if key not in coefficients.index:
            continue
        close(row["est.std"], coefficients.loc[key, "estimate"], 1e-5)
        if row["est.std"] != 1 or row["se"]:
            close(row["se"], coefficients.loc[key, "std_error"], 1e-4)
        seen += 1
    assert seen == len(coefficients) > 2
    fit = pooled["fit"].set_index("index")["estimate"]
    assert set(in_r["fit"]) <= set(fit.index) and len(in_r["fit"]) >= 5
    for index, value in in_r["fit"].items():
        close(value, fit[index], 1e-4)


@pytest.mark.parametrize("name", sorted(GROUPED))
def test_running_the_script_of_a_model_with_groups_gives_the_tables_numbers(found_in_r, tables, name):
    in_r = found_in_r[name]
    pooled = {table: tables[table][tables[table]["model"].eq(name)] for table in ("parameters", "defined", "fit")}
    pooled = {table: rows[rows["method"].eq("pooled_covariance")] for table, rows in pooled.items()}
    found = {(*term(row), row["group"]): row for row in pooled["parameters"].to_dict("records")}
    found |= {(row["parameter"], ":=", "", ""): row for row in pooled["defined"].to_dict("records")}
    seen = 0
    for row in in_r["standardised"]:
        key = (*term(row), "" if row["op"] == ":=" else GROUPS[row["group"] - 1])
        if key not in found:
            continue
        close(row["est.std"], found[key]["estimate"], 1e-5)
        if row["est.std"] != 1 or row["se"]:
            close(row["se"], found[key]["std_error"], 1e-4)
        seen += 1
    assert seen == len(found) > 2
    fit = pooled["fit"].set_index("index")["estimate"]
    assert set(in_r["fit"]) <= set(fit.index) and len(in_r["fit"]) >= 5
    for index, value in in_r["fit"].items():
        close(value, fit[index], 1e-4)


def test_groups_that_share_therapists_are_not_taken_as_independent(summaries):
    within = pooled_fits(sent_by(summaries), options())["by_treatment"].within
    assert np.abs(within.acov_of(0, 1)).max() > 1e-4


def test_the_sites_as_groups_are_fitted_with_equal_paths(found_in_r):
    in_r = found_in_r["full"]["groups"]
    paths = pd.DataFrame(in_r["estimates"]).query("op == '~'")
    assert len(in_r["n"]) == 3 and len(paths) == 12
    assert paths.groupby(["lhs", "rhs"])["est"].agg(np.ptp).max() < 1e-6


def test_a_script_says_what_it_is_and_how_to_run_it(scripts):
    text = (scripts / "partial.R").read_text(encoding="utf-8")
    head = "".join(line.removeprefix("#").strip() + " " for line in text.splitlines() if line.startswith("#"))
    for words in ("It's partial", "Müller's study of three (scenario base).", "SIMULATED DATA", "Rscript partial.R", "lavaan 0.6-14"):
        assert words in head, words
    assert "method pooled_covariance" in head and "nothing from fewer than 10 clients" in head
    assert MODELS["partial"] in text


def test_a_site_with_few_clients_is_not_shown(summaries, scripts, tmp_path):
    strict = options(min_clients=100)
    call = ["--scenario", "base", "--study", json.dumps({"title": "T", "simulated": False}), *written(summaries, tmp_path)]
    call += ["--sites", json.dumps(["east", "north", "west"]), "--options", json.dumps(strict), "--output", str(tmp_path / "lavaan")]
    assert write_lavaan_scripts(call) == 0
    text = (tmp_path / "lavaan" / "partial.R").read_text(encoding="utf-8")
    assert '"north" = symmetric(' in text and '"east"' not in text and "SIMULATED" not in text
    assert '"east" = symmetric(' in (scripts / "partial.R").read_text(encoding="utf-8")


def test_a_model_without_estimates_gives_a_script_that_says_why(tmp_path):
    model = LavaanModel(
        "m", "Model 'm'", "y ~ x", "Study", "base", False, ("y", "x"), ("x",), 10, reason="not estimable: needs 2 sites; has 0"
    )
    script = lavaan_script(model)
    assert "# The tables have no estimates over sites for this model. Not estimable: needs 2 sites; has 0." in script
    assert "within <-" not in script and "sites <-" not in script
    path = tmp_path / "m.R"
    path.write_text(script, encoding="utf-8")
    assert "nothing to fit" in r_script.output([str(path)])
