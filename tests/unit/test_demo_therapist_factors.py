"""The question recovers from a large simulated study what its parameters say of therapists."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from alliance.demo.measures import FORMS, Collected, measure_study
from alliance.demo.simulate import Size, simulate
from alliance.demo.truth import Parameters, with_values
from alliance.questions.contract import POOLED
from alliance.questions.therapist_factors import question as therapist_factors
from simulated_site import OPTIONS, score_rows, site_of

SIZE = Size(sites=4, therapists=60, clients_per_therapist=8, sessions=6, vary=False)
SCALES = ("task", "goal", "bond")
REACTIVITY = 0.3
QUIET = ["rupture_rate=0", "slope_sd=0", "coasting_share=0", "factor_fading=0", "alliance_phase_variance=0"]


@pytest.fixture(scope="module")
def tables():
    parameters = with_values(Parameters(), [*QUIET, f"therapist_reactivity_sd={REACTIVITY}", "alliance_training_alliance=0"])
    course = simulate(parameters, SIZE, 12)
    measured = measure_study(course, parameters, 12, [Collected("wai_36", "client")], [f"s{number}" for number in range(SIZE.sites)])
    chosen = copy.deepcopy(OPTIONS)
    question = chosen["questions"]["therapist_factors"]
    kinds = {"training": "training", "attachment_anxiety": "attachment", "introject": "introject", "alliance_training": "alliance_training"}
    question["factors"] = {name: {"kind": kind} for name, kind in kinds.items()}
    question["pairs"] = [{"client": name, "therapist": name} for name in ("affiliation", "dominance")]
    question["variance"]["traits"] = ["intake_severity", "dominance"]
    ratings = measured.ratings["wai_36_client"]
    form = FORMS["wai_36"]
    items = ratings[[f"i{number}" for number in range(1, 37)]].to_numpy(dtype=float, na_value=np.nan)
    turned = [number - 1 for number in form.reverse]
    items[:, turned] = form.low + form.high - items[:, turned]
    scored = {scale: np.nanmean(items[:, [number - 1 for number in form.scales[scale]]], axis=1) for scale in SCALES}
    scored["total"] = np.nanmean(items, axis=1)
    sites = []
    for number in range(SIZE.sites):
        own = course.site[ratings["client"].to_numpy()] == number
        clients = measured.clients[course.site == number]
        codes = course.therapist[clients["client"].to_numpy()] + 1
        table = clients.drop(columns=["client_id", "therapist_id"]).select_dtypes("number").rename(columns={"client": "client_no"})
        table = table.assign(therapist_no=codes).astype({"client_no": "Int64", "therapist_no": "Int64"}).reset_index(drop=True)
        rows = [
            score_rows(ratings.loc[own, "client"], values[own], instrument="wai_36", scale=scale, session=ratings.loc[own, "session"])
            for scale, values in scored.items()
        ]
        therapists = measured.therapists[course.therapist_site == number].drop(columns="therapist_id")
        therapists = therapists.assign(therapist_no=pd.array(therapists.index + 1, dtype="Int64")).reset_index(drop=True)
        sites.append(replace(site_of(rows, f"s{number}", clients=table), therapists=therapists))
    one_stage = therapist_factors.one_stage(iter(sites), [site.site for site in sites], chosen)
    return therapist_factors.pool([therapist_factors.estimate(site, chosen, {}) for site in sites], chosen, {"one_stage": one_stage})


def together(table, **where):
    rows = table[table["site"].eq(POOLED) & table["method"].str.startswith("one_stage")]
    rows = rows[np.logical_and.reduce([rows[column].eq(value) for column, value in where.items()])]
    assert len(rows) == 1
    return rows.iloc[0]


def test_training_raises_task_and_goal_as_named_and_not_bond(tables):
    p, effects = Parameters(), tables["effects"]
    slopes = {scale: together(effects, factor="training", alliance_scale=scale) for scale in SCALES}
    # In SD of clients' early means: their variance is about that of clients, therapists and subscales, and a fifth of the sessions'.
    spread = np.sqrt(0.45 + 0.10 + 0.35**2 + 0.34 * 0.35 + 0.1)
    named = p.training_task_goal * np.sqrt(p.alliance_therapist_variance) / spread
    for scale in ("task", "goal"):
        assert slopes[scale]["ci_low"] < named < slopes[scale]["ci_high"]
    assert slopes["bond"]["ci_low"] < 0 < slopes["bond"]["ci_high"]
    contrast = together(effects, factor="training", alliance_scale="", topic="level")
    assert contrast["ci_low"] < named < contrast["ci_high"] and contrast["ci_low"] > 0


def test_bond_falls_with_the_therapists_attachment_anxiety(tables):
    contrast = together(tables["effects"], factor="attachment_anxiety", alliance_scale="")
    assert contrast["ci_high"] < 0


def test_friendly_introject_goes_with_the_alliance_and_training_in_the_alliance_does_not(tables):
    effects = tables["effects"]
    assert together(effects, factor="introject", alliance_scale="total")["ci_low"] > 0
    trained = together(effects, factor="alliance_training", alliance_scale="total", topic="level")
    assert trained["ci_low"] < 0 < trained["ci_high"]
    assert together(effects, topic="course")["ci_low"] < 0 < together(effects, topic="course")["ci_high"]


@pytest.mark.parametrize(("name", "sign"), [("affiliation", 1), ("dominance", -1)])
def test_products_have_the_sign_of_complementarity(tables, name, sign):
    found = together(tables["effects"], topic="interaction", factor=f"client {name} x therapist {name}")
    assert min(sign * found["ci_low"], sign * found["ci_high"]) > 0


def test_therapists_part_is_the_named_one_and_reacts_to_severity_only(tables):
    variance = tables["variance"]
    p = Parameters()
    constant = together(variance, basis="sessions", part="constant", trait="", case_mix="not held constant")
    # Beside therapists, clients and sessions: reactions to severity, a third of each subscale's own variance, leniency, error of items.
    error = 1.1 * (1 - p.client_reliability) / p.client_reliability
    beside = p.alliance_client_variance + p.alliance_within_variance + REACTIVITY**2 + p.subscale_sd**2 / 3 + p.halo**2 + error
    named = p.alliance_therapist_variance / (p.alliance_therapist_variance + beside)
    assert constant["ci_low"] < named < constant["ci_high"]
    severity = together(variance, part="client_specific", trait="intake_severity", estimate_type="slope_variance")
    dominance = together(variance, part="client_specific", trait="dominance", estimate_type="slope_variance")
    assert severity["p_boundary"] < 0.01 < dominance["p_boundary"]
    assert severity["ci_low"] > 0 == dominance["ci_low"]
