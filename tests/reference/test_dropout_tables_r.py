"""The tables on dropout, from clients, sessions and ratings on, equal what glm, lme4, survival, psych and metafor give by another route."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import r_script
from alliance.questions.contract import POOLED, faults
from alliance.questions.dropout import question as dropout
from needed import needs_r
from unit.leaving_site import leaving
from unit.simulated_site import OPTIONS

pytestmark = needs_r
SITES = [leaving(name, n=90 + 15 * number, therapists=10 + number, seed=20 + number) for number, name in enumerate("abc")]
HEADLINE = {"definition": "unilateral", "cause": "dropout", "hazard_model": "first_session", "link": "cloglog", "therapists": "frailty"}
TERMS = ["alliance_first", "intake_severity", "session_doubled"]
# Two searches for a largest likelihood, each with its own quadrature.
SEARCHED = {"rel": 2e-3, "abs": 2e-4}


def raw_rows() -> dict[str, pd.DataFrame]:
    """Return what R starts from: clients with their treatment, sessions, ratings of the alliance, unscaled."""
    clients, sessions, ratings = [], [], []
    for site in SITES:
        scores = site.scores
        intake = scores[scores["instrument"].eq("core_10") & scores["timepoint"].eq("intake")].set_index("client_no")["score"]
        ended = site.termination.set_index("client_no")["reason"]
        own = site.clients.set_index("client_no")
        clients.append(
            pd.DataFrame(
                {
                    "site": site.site,
                    "client": own.index,
                    "therapist": own["therapist_no"].to_numpy(),
                    "planned": own["planned_sessions"].to_numpy(),
                    "intake": intake.loc[own.index].to_numpy(),
                    "reason": ended.loc[own.index].to_numpy(),
                    "affiliation": own["affiliation"].to_numpy(),
                    "of_therapist": site.therapists.set_index("therapist_no")["affiliation"].loc[own["therapist_no"]].to_numpy(),
                }
            )
        )
        sessions.append(
            pd.DataFrame(
                {
                    "site": site.site,
                    "client": site.sessions["client_no"],
                    "session": site.sessions["session"],
                    "attended": site.sessions["attended"].astype(int),
                }
            )
        )
        rated = scores[scores["instrument"].eq("wai_36")]
        ratings.append(
            pd.DataFrame({"site": site.site, "client": rated["client_no"], "session": rated["session"], "score": rated["score"]})
        )
    return {name: pd.concat(parts) for name, parts in (("clients", clients), ("sessions", sessions), ("ratings", ratings))}


@pytest.fixture(scope="module")
def of_r(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder: Path = tmp_path_factory.mktemp("dropout_tables")
    for name, rows in raw_rows().items():
        rows.to_csv(folder / f"{name}.csv", index=False, float_format="%.17g")
    return r_script.values("dropout_tables.R", folder)


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    names = [site.site for site in SITES]
    summaries = [dropout.estimate(site, OPTIONS, {}) for site in SITES]
    found = dropout.pool(summaries, OPTIONS, {"one_stage": dropout.one_stage(iter(SITES), names, OPTIONS)})
    assert all(not faults(table, "dropout", name) for name, table in found.items())
    return found


def picked(table: pd.DataFrame, column: str = "term", **keys: Any) -> pd.DataFrame:
    chosen = table[np.logical_and.reduce([table[name].eq(value).fillna(False) for name, value in keys.items()])]
    assert len(chosen) and chosen[column].is_unique
    return chosen.set_index(column)


@pytest.mark.parametrize("site", ["a", "b", "c"])
@pytest.mark.parametrize(
    ("part", "keys", "terms"),
    [
        ("cloglog", {}, TERMS),
        ("logit", {"link": "logit"}, TERMS),
        ("varying", {"hazard_model": "time_varying"}, ["alliance_first", "alliance_change", "intake_severity"]),
        ("over_time", {"hazard_model": "effect_over_time"}, ["alliance_first", "alliance_first_by_session", "intake_severity"]),
        ("combination", {"hazard_model": "combination: affiliation"}, ["client_trait", "therapist_trait", "client_by_therapist"]),
    ],
)
def test_ratios_with_frailty_equal_glmer(
    of_r: Any, tables: dict[str, pd.DataFrame], site: str, part: str, keys: dict[str, str], terms: list[str]
) -> None:
    rows = picked(tables["hazard"], **{**HEADLINE, **keys}, site=site)
    expected = of_r[site][part]
    # The baseline, last in R, has a row in the first model only.
    log_ratio, error = (np.array(expected[name])[: len(terms)] for name in ("log_ratio", "error"))
    assert np.log(rows.loc[terms, "estimate"].to_numpy(dtype=float)) == pytest.approx(log_ratio, **SEARCHED)
    assert rows.loc[terms, "std_error"].to_numpy(dtype=float) == pytest.approx(error, rel=2e-3)
    if part == "cloglog":
        assert rows.loc["frailty", "estimate"] == pytest.approx(expected["sd"], abs=1e-3)
        assert rows.loc["alliance_first", "n_events"] == of_r[site]["events"]


@pytest.mark.parametrize("site", ["a", "b", "c"])
def test_ratios_and_risks_with_therapists_left_out_equal_refits_by_glm(of_r: Any, tables: dict[str, pd.DataFrame], site: str) -> None:
    expected, hazard = of_r[site], tables["hazard"]
    jackknifed = {**HEADLINE, "therapists": "jackknife", "site": site}
    rows = picked(hazard[hazard["estimate_type"].eq("hazard_ratio")], **jackknifed)
    log_ratio = np.log(rows.loc[TERMS, "estimate"].to_numpy(dtype=float))
    assert log_ratio == pytest.approx(np.array(expected["jackknife"]["log_ratio"]), abs=1e-6)
    assert rows.loc[TERMS, "std_error"].to_numpy(dtype=float) == pytest.approx(np.array(expected["jackknife"]["error"]), rel=1e-5)
    strong, weak = "alliance_first +0.5 SD", "alliance_first -0.5 SD"
    for place, session in enumerate((5, 10)):
        rows = picked(hazard, **jackknifed, session=session)
        risks, errors = np.array(expected["risk"]), np.array(expected["risk_error"])
        for term, at in ((strong, place), (weak, 2 + place)):
            assert rows.loc[term, "estimate"] == pytest.approx(risks[at], abs=1e-7)
            on_logit = errors[at] / (risks[at] * (1 - risks[at]))
            assert rows.loc[term, "std_error"] == pytest.approx(on_logit, rel=1e-4)
        gap = rows.loc[f"{strong} minus {weak}"]
        assert gap["estimate"] == pytest.approx(expected["gap"][place], abs=1e-7)
        assert gap["std_error"] == pytest.approx(expected["gap_error"][place], rel=1e-4)


@pytest.mark.parametrize("site", ["a", "b", "c"])
def test_shares_and_agreement_of_definitions_equal_counts_and_psych(of_r: Any, tables: dict[str, pd.DataFrame], site: str) -> None:
    expected, rows = of_r[site], tables["definitions"]
    shares = picked(rows, "definition", site=site, estimate_type="share")["estimate"]
    assert (shares["unilateral"], shares["few_sessions"], shares["before_planned"]) == pytest.approx(
        (expected["share"], expected["few"], expected["early"]), abs=1e-12
    )
    agreed = rows[rows["site"].eq(site) & rows["estimate_type"].eq("kappa")]
    assert agreed[["definition", "compared_with"]].to_numpy().tolist() == [
        ["before_planned", "few_sessions"],
        ["before_planned", "unilateral"],
        ["few_sessions", "unilateral"],
    ]
    assert agreed["estimate"].to_numpy() == pytest.approx(np.array(expected["kappa"]), abs=1e-9)


@pytest.mark.parametrize("site", ["a", "b", "c"])
def test_curves_of_the_lowest_third_equal_survfit(of_r: Any, tables: dict[str, pd.DataFrame], site: str) -> None:
    expected = of_r[site]["low"]
    for kind, name in (("cumulative_risk", "incidence"), ("share_in_treatment", "staying")):
        rows = picked(tables["survival"], "session", site=site, group="low", estimate_type=kind)
        assert rows.loc[[1, 2, 3], "estimate"].to_numpy() == pytest.approx(np.array(expected[name]), abs=1e-10)
        assert rows.loc[[1, 2, 3], "n_at_risk"].tolist() == expected["at_risk"]


@pytest.mark.parametrize("site", ["a", "b", "c"])
def test_calibration_on_therapists_left_out_equals_refits_by_glm(of_r: Any, tables: dict[str, pd.DataFrame], site: str) -> None:
    rows = picked(tables["calibration"], "statistic", site=site, validation="therapists_in_turn", group="")
    assert rows.loc["observed_to_expected", "estimate"] == pytest.approx(of_r[site]["ratio"], rel=1e-6)
    assert rows.loc["slope", "estimate"] == pytest.approx(of_r[site]["slope"], abs=1e-5)


def test_the_pooled_ratio_equals_metafor_and_the_model_of_all_rows_glmer(of_r: Any, tables: dict[str, pd.DataFrame]) -> None:
    rows = picked(tables["hazard"], "method", **HEADLINE, term="alliance_first", site=POOLED)
    pooled = rows.loc["two_stage_reml"]
    assert np.log(pooled["estimate"]) == pytest.approx(of_r["pooled"]["estimate"], abs=1e-3)
    assert pooled["tau2"] == pytest.approx(of_r["pooled"]["tau2"], abs=1e-3)
    whole = picked(tables["hazard"], **HEADLINE, site=POOLED, method="hazard_one_stage")
    assert np.log(whole.loc[TERMS, "estimate"].to_numpy(dtype=float)) == pytest.approx(np.array(of_r["whole"]["log_ratio"]), **SEARCHED)
    assert whole.loc[TERMS, "std_error"].to_numpy(dtype=float) == pytest.approx(np.array(of_r["whole"]["error"]), rel=2e-3)
