"""The tables of therapist factors, from the scores of clients on, equal what base R, lme4, lmerTest and metafor give."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import r_script
from alliance.questions.contract import POOLED, faults
from alliance.questions.therapist_factors import question as therapist_factors
from alliance.statistics.therapist_effects import detectable_noncentrality, detectable_r
from alliance.statistics.variance_parts import variance_parts
from scipy.stats import t
from unit.simulated_site import OPTIONS, score_rows, site_of

SITES = ("east", "north", "south", "west")
SCALES = ("total", "task", "goal", "bond")
CONTRAST = "(task + goal) / 2 - bond"
SESSIONS = 6
# Restricted likelihoods are flat at their maximum: two optimisers agree on estimates to about the root of what they agree on there.
MIXED = {"rel": 2e-4, "abs": 2e-5}


def simulated(seed: int = 5) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return clients and sessions of four sites; therapists differ in the alliance, its course, and what the client's trait means."""
    random = np.random.default_rng(seed)
    clients, sessions = [], []
    for number, site in enumerate(SITES):
        therapists = 11 + number
        sizes = random.integers(4, 9, therapists)
        therapist = np.repeat(np.arange(1, therapists + 1), sizes)
        n = len(therapist)
        own = {name: random.standard_normal(therapists) for name in ("level", "slope", "course", "change")}
        training = random.integers(1, 4, therapists).astype(float)
        trained = np.arange(therapists) % 2
        dominance = random.standard_normal(therapists)
        frame = pd.DataFrame(
            {
                "site": site,
                "client": np.arange(1, n + 1),
                "therapist": therapist,
                "training": training[therapist - 1],
                "alliance_training": trained[therapist - 1],
                "dominance_therapist": dominance[therapist - 1],
                "dominance_client": random.standard_normal(n),
                "severity": random.standard_normal(n),
                "social": random.standard_normal(n),
            }
        )
        common = (
            0.5 * own["level"][therapist - 1]
            + (0.2 + 0.6 * own["slope"][therapist - 1]) * frame["dominance_client"]
            - 0.3 * frame["dominance_client"] * frame["dominance_therapist"]
            + 0.3 * frame["social"]
            - 0.2 * frame["severity"]
            + 0.7 * random.standard_normal(n)
        )
        scales = {"task": 0.3, "goal": 0.25, "bond": 0.0}
        shift = {name: slope * frame["training"] + 0.4 * random.standard_normal(n) for name, slope in scales.items()}
        course = 1.5 * own["course"][therapist - 1] + 1.5 * random.standard_normal(n)
        switch = random.integers(3, 5, therapists)
        rows = frame.loc[np.repeat(np.arange(n), SESSIONS)].reset_index(drop=True)
        rows["session"] = np.tile(np.arange(1, SESSIONS + 1), n)
        index = rows["client"].to_numpy() - 1
        # Every second client of a therapist began after the training.
        rows["after"] = np.where(index % 2 == 0, 1.0, (rows["session"] > switch[rows["therapist"] - 1]).astype(float))
        at = (rows["session"] - 3) / 10
        base = common.to_numpy()[index] + course[index] * at + (0.2 + 0.5 * own["change"][rows["therapist"] - 1]) * rows["after"]
        for name in shift:
            rows[name] = 5 + base + shift[name].to_numpy()[index] + 0.5 * random.standard_normal(len(rows))
        rows["total"] = rows[["task", "goal", "bond"]].mean(axis=1) + 0.1 * random.standard_normal(len(rows))
        early = rows[rows["session"] <= 5].groupby("client")[list(SCALES)].mean()
        clients.append(frame.join(early, on="client"))
        sessions.append(rows[["site", "client", "session", "total", "after", "task", "goal", "bond"]])
    return pd.concat(clients, ignore_index=True), pd.concat(sessions, ignore_index=True)


def options() -> dict:
    chosen = copy.deepcopy(OPTIONS)
    chosen["questions"]["client_factors"]["factors"] = {
        "severity": {"category": "diagnostic", "reversed": True},
        "social": {"category": "interpersonal", "reversed": False},
    }
    return chosen


def sites(clients: pd.DataFrame, sessions: pd.DataFrame) -> list:
    found = []
    for site in SITES:
        own, rows = (frame[frame["site"].eq(site)].reset_index(drop=True) for frame in (clients, sessions))
        scores = [score_rows(rows["client"], rows[scale], instrument="wai_36", scale=scale, session=rows["session"]) for scale in SCALES]
        table = own[["client", "therapist", "dominance_client", "severity", "social"]].set_axis(
            ["client_no", "therapist_no", "dominance", "severity", "social"], axis=1
        )
        therapists = own[["therapist", "training", "alliance_training", "dominance_therapist"]].drop_duplicates()
        therapists = therapists.set_axis(["therapist_no", "training", "alliance_training", "dominance"], axis=1)
        held = rows[["client", "session", "after"]].set_axis(["client_no", "session", "after_training"], axis=1)
        one = site_of(scores, site, clients=table.astype({"client_no": "Int64", "therapist_no": "Int64"}))
        found.append(replace(one, therapists=therapists.reset_index(drop=True), sessions=held))
    return found


@pytest.fixture(scope="module")
def rows() -> tuple[pd.DataFrame, pd.DataFrame]:
    return simulated()


@pytest.fixture(scope="module")
def expected(rows: tuple[pd.DataFrame, pd.DataFrame], tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tmp_path_factory.mktemp("therapists")
    clients, sessions = rows
    # Therapists and clients are named across sites, as a model over all sites needs them.
    clients = clients.assign(**{name: clients["site"] + clients[name].astype(str) for name in ("client", "therapist")})
    sessions = sessions.assign(client=sessions["site"] + sessions["client"].astype(str))
    clients.to_csv(folder / "clients.csv", index=False, float_format="%.17g")
    sessions[["site", "client", "session", "total", "after"]].to_csv(folder / "sessions.csv", index=False, float_format="%.17g")
    return r_script.values("therapist_factors.R", folder)


@pytest.fixture(scope="module")
def found(rows: tuple[pd.DataFrame, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    data, chosen = sites(*rows), options()
    one_stage = therapist_factors.one_stage(iter(data), list(SITES), chosen)
    tables = therapist_factors.pool([therapist_factors.estimate(site, chosen, {}) for site in data], chosen, {"one_stage": one_stage})
    assert {name: faults(table.assign(scenario="base"), "therapist_factors", name) for name, table in tables.items()} == {
        "effects": [],
        "variance": [],
    }
    return tables


def row(table: pd.DataFrame, **where: str) -> pd.Series:
    chosen = table[np.logical_and.reduce([table[column].eq(value) for column, value in where.items()])]
    assert len(chosen) == 1, f"{len(chosen)} rows with {where}"
    return chosen.iloc[0]


def assert_level(effects: pd.DataFrame, values: dict, **where: str) -> None:
    for position, scale in enumerate((*SCALES, "")):
        one = row(effects, topic="level", factor="training", alliance_scale=scale, **where)
        for name, column in (("estimate", "estimate"), ("se", "std_error"), ("low", "ci_low"), ("high", "ci_high")):
            assert one[column] == pytest.approx(values[name][position], rel=1e-6), (scale, name)
        assert one["p_equivalence"] == pytest.approx(values["p_equivalence"][position], rel=1e-5)
        assert one["minimum_detectable"] == pytest.approx(detectable_noncentrality(values["df"], 0.8, 0.95) * one["std_error"])
        if not scale:
            assert one["p_joint"] == pytest.approx(values["p_joint"], rel=1e-5)


@pytest.mark.parametrize("site", SITES)
def test_slopes_on_training_of_all_scales_together_are_those_of_a_multivariate_regression(found, expected, site):
    assert_level(found["effects"], expected["level"][site], site=site)


def test_slopes_of_all_therapists_at_once_are_those_of_a_multivariate_regression_with_sites(found, expected):
    assert_level(found["effects"], expected["level_all"], site=POOLED, method="one_stage_therapist_means")


def test_slopes_on_several_scales_send_their_covariance(rows, expected):
    summary = therapist_factors.estimate(sites(*rows)[0], options(), {})
    known = summary.vcov[summary.vcov["parameter1"].str.contains("factor=training") & summary.vcov["parameter1"].str.contains("=task")]
    own = known[known["parameter2"].str.contains("alliance_scale=bond")]
    assert own["cov"].item() == pytest.approx(expected["level"]["east"]["cov_task_bond"], rel=1e-6)


@pytest.mark.parametrize(("scale", "name"), [("", "pooled_contrast"), ("bond", "pooled_bond")])
def test_pooled_slopes_are_those_of_metafor(found, expected, scale, name):
    one = row(found["effects"], topic="level", factor="training", alliance_scale=scale, site=POOLED, method="two_stage_reml")
    for key, column in (("estimate", "estimate"), ("se", "std_error"), ("low", "ci_low"), ("high", "ci_high")):
        assert one[column] == pytest.approx(expected[name][key], rel=1e-4, abs=1e-6), key


@pytest.mark.parametrize("topic", ["interaction", "course"])
@pytest.mark.parametrize("site", [*SITES, POOLED])
def test_products_and_change_over_sessions_are_those_of_lmertest(found, expected, topic, site):
    values = expected[f"{topic}_all"] if site == POOLED else expected[topic][site]
    where = {"method": "one_stage"} if site == POOLED else {}
    one = row(found["effects"], topic=topic, site=site, **where)
    assert one["estimate"] == pytest.approx(values["estimate"], **MIXED)
    assert one["std_error"] == pytest.approx(values["se"], rel=2e-3)
    margin = (one["ci_high"] - one["ci_low"]) / 2 / one["std_error"]
    assert margin == pytest.approx(t.ppf(0.975, values["df"]), rel=5e-3)


@pytest.mark.parametrize("site", SITES)
def test_before_and_after_training_is_that_of_lmertest(found, expected, site):
    for kind, name in (("mean_difference", "level"), ("slope_over_sessions", "slope")):
        one = row(found["effects"], topic="before_after", site=site, estimate_type=kind)
        assert one["estimate"] == pytest.approx(expected["before_after"][site][name]["estimate"], **MIXED)
        assert one["std_error"] == pytest.approx(expected["before_after"][site][name]["se"], rel=2e-3)


@pytest.mark.parametrize("site", [*SITES, POOLED])
def test_shares_of_therapists_clients_and_sessions_are_those_of_lme4(found, expected, site):
    values = expected["shares_all"] if site == POOLED else expected["shares"][site]
    where = {"basis": "sessions", "trait": "", "case_mix": "not held constant", "site": site}
    for part, name in (("constant", "therapist (Intercept)"), ("between_client", "client (Intercept)"), ("within_client", "Residual NA")):
        assert row(found["variance"], part=part, **where)["estimate"] == pytest.approx(values[name], rel=1e-3, abs=1e-5)


def test_shares_with_client_factors_held_constant_are_those_of_lme4(found, expected):
    where = {"basis": "sessions", "trait": "", "case_mix": "held constant", "site": POOLED}
    one = row(found["variance"], part="constant", **where)
    assert one["estimate"] == pytest.approx(expected["shares_held_all"]["therapist (Intercept)"], rel=1e-3)


def test_client_specific_part_is_that_of_lme4_with_its_profile_interval_and_test(found, expected):
    values = expected["reactive_all"]
    where = {"basis": "clients", "trait": "dominance", "site": POOLED, "estimate_type": "variance_share"}
    for part, name in (("constant", "constant"), ("client_specific", "specific"), ("between_client", "between_client")):
        assert row(found["variance"], part=part, **where)["estimate"] == pytest.approx(values[name], rel=1e-3)
    specific = row(found["variance"], part="client_specific", **where)
    assert [specific["ci_low"], specific["ci_high"]] == pytest.approx([values["low"], values["high"]], rel=2e-3, abs=1e-4)
    slope = row(found["variance"], basis="clients", trait="dominance", site=POOLED, estimate_type="slope_variance")
    assert slope["p_boundary"] == pytest.approx(values["p"], rel=1e-2, abs=1e-9)


def test_intervals_of_all_shares_are_those_that_profile_the_same_likelihood_for_one_site(rows):
    from alliance.statistics.multilevel import variance_shares

    clients, sessions = rows
    own = sessions[sessions["site"].eq("east")].merge(clients[["site", "client", "therapist"]], on=["site", "client"])
    found = variance_parts(own, "total", ["therapist", "client"], residual="session")
    shares = variance_shares(own, "total", ["therapist", "client"], residual="session")
    for one, other in zip(found.parts, shares.to_dict("records"), strict=True):
        assert [one.share, one.ci_low, one.ci_high] == pytest.approx([other[name] for name in ("share", "ci_low", "ci_high")], abs=1e-4)


def test_smallest_detectable_effects_are_those_of_noncentral_t(expected):
    found = [detectable_noncentrality(float(df), 0.8, 0.95) for df in (3, 7, 10, 28, 58)]
    assert found == pytest.approx(expected["noncentral"], rel=1e-7)
    assert detectable_r(9, 0.8, 0.95) == pytest.approx(expected["detectable_r_9"], rel=1e-7)
