"""The questions recover from a large simulated study the effects of alliance on outcome that its parameters name."""

from __future__ import annotations

import copy
import dataclasses
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from alliance.demo.measures import FORMS, Collected, measure_study
from alliance.demo.simulate import Size, simulate
from alliance.demo.truth import Parameters, with_values
from alliance.questions.alliance_outcome.contrasts import kind_block, rater_blocks, timing_blocks
from alliance.questions.alliance_outcome.levels import client_frame, level_rows, session_frame
from alliance.questions.alliance_outcome.measures import measures
from alliance.statistics.meta_analysis import pool
from simulated_site import INSTRUMENTS, OPTIONS, score_rows, site_of

SIZE = Size(sites=8, therapists=40, clients_per_therapist=10, sessions=14, vary=False)
SESSIONS = tuple(range(1, 15))
COLLECTED = (
    Collected("wai_36", "client", SESSIONS),
    Collected("wai_36", "therapist", (3, 4)),
    Collected("core_10", "client", SESSIONS, ("intake", "post")),
    *(Collected(name, rater, (), ("intake", "post")) for name in ("target_complaints", "scl_90_r") for rater in ("client", "therapist")),
)
SCALES = {"target_complaints": "severity", "scl_90_r": "gsi"}
WORSE = SimpleNamespace(construct="outcome_symptoms", direction="higher_is_worse")


def options(form="ancova"):
    chosen = copy.deepcopy(OPTIONS)
    kinds = {kind: {"instrument": name, "scale": SCALES[name]} for kind, name in zip(("tailored", "broad"), SCALES)}
    chosen["outcome"] |= {"form": form, "instruments": ["core_10"], **kinds}
    return chosen


def scored(name, frame):
    """Return one score a row: the scale that was collected, or the mean of the items turned one way."""
    if name in SCALES:
        return frame[SCALES[name]].to_numpy(dtype=float)
    form = FORMS[name]
    items = frame[[f"i{number}" for number in range(1, form.n_items + 1)]].to_numpy(dtype=float, na_value=np.nan)
    turned = [number - 1 for number in form.reverse]
    items[:, turned] = form.low + form.high - items[:, turned]
    return np.nanmean(np.where(np.isnan(items).all(axis=1)[:, None], 0.0, items), axis=1)


def study(*changes, seed=31):
    """Return the sites of a study and their measures."""
    parameters = with_values(Parameters(), list(changes))
    course = simulate(parameters, SIZE, seed)
    collected = measure_study(course, parameters, seed, list(COLLECTED), [f"s{number:02d}" for number in range(SIZE.sites)])
    found = []
    for number in range(SIZE.sites):
        tables = []
        for key, frame in collected.ratings.items():
            name, rater = key.rsplit("_", 1)
            own = frame[course.site[frame["client"]] == number]
            for timepoint, rows in own.groupby("timepoint", sort=True):
                session = rows["session"].astype("float64").to_numpy() if timepoint == "session" else None
                about = {"instrument": name, "scale": SCALES.get(name, "total"), "rater": rater, "timepoint": timepoint, "session": session}
                tables.append(score_rows(rows["client"].to_numpy(), scored(name, rows), **about))
        clients = np.flatnonzero(course.site == number)
        frame = pd.DataFrame({"client_no": clients, "therapist_no": course.therapist[clients]}).astype("Int64")
        site = site_of(tables, f"s{number:02d}", clients=frame)
        found.append(dataclasses.replace(site, instruments={**INSTRUMENTS, **dict.fromkeys(SCALES, WORSE)}))
    return found


@pytest.fixture(scope="module")
def sites():
    return study()


def pooled(blocks, **where):
    """Return the mean of one row over sites and its standard error."""
    estimates, variances = [], []
    for rows, vcov in blocks:
        for position, one in enumerate(rows):
            if all(one.get(key) == value for key, value in where.items()) and np.isfinite(vcov[position, position]):
                estimates.append(one["estimate"])
                variances.append(vcov[position, position])
    assert len(estimates) == SIZE.sites
    found = pool(np.array(estimates), np.array(variances))
    return found.estimate, found.std_error


def timing(sites):
    chosen = options()
    return [block for site in sites for block in timing_blocks(site, measures(site, chosen, every=False), chosen)]


@pytest.fixture(scope="module")
def kinds(sites):
    chosen = options("zero_order")
    return [block for site in sites for block in kind_block(measures(site, chosen), chosen)]


@pytest.mark.parametrize(("kind", "parameter"), [("tailored", "tailored_correlation"), ("broad", "broad_correlation")])
def test_tailored_and_broad_outcomes_are_predicted_as_named(kinds, kind, parameter):
    estimate, error = pooled(kinds, group=kind)
    # The simulation is calibrated to .01.
    assert estimate == pytest.approx(getattr(Parameters(), parameter), abs=3 * error + 0.01)


def test_tailored_outcome_is_predicted_better_on_the_same_clients_as_named(kinds):
    p = Parameters()
    estimate, error = pooled(kinds, contrast="tailored - broad")
    assert estimate == pytest.approx(p.tailored_correlation - p.broad_correlation, abs=3 * error + 0.01)
    assert estimate > 3 * error


def test_raters_agree_with_themselves_by_halo_and_without_it_do_not(sites):
    where = {"contrast": "same rater - crossed raters (client and therapist)", "outcome_instrument": "target_complaints"}
    chosen = options()
    found = []
    for one in (sites, study("halo=0")):
        blocks = [block for site in one for block in rater_blocks(measures(site, chosen), chosen)]
        found.append(pooled(blocks, **where))
    (with_halo, error), (without, other) = found
    assert with_halo > 3 * error
    assert abs(without) < 3 * other
    assert with_halo > without


def test_phases_that_matter_predict_better_than_those_that_do_not():
    phases = ("alliance_phase_variance=0.24", "alliance_within_variance=0.18")
    ends = pooled(timing(study("early_effect=0.4", "late_effect=0.4", *phases)), contrast="early and late - middle", sessions="as_rated")
    middle = ("early_effect=0", "late_effect=0", "middle_effect=0.4")
    centre = pooled(timing(study(*middle, *phases)), contrast="early and late - middle", sessions="as_rated")
    assert ends[0] > 3 * ends[1]
    assert centre[0] < -3 * centre[1]


QUIET = ("rupture_rate=0", "slope_sd=0", "coasting_share=0", "factor_fading=0", "alliance_phase_variance=0", "early_gain_sd=0")
FLAT = ("interpretation_quadratic=0", "accuracy_wish_response=0", "therapist_reactivity_sd=0", "peak_height=0", "settling=0")


def test_alliance_above_a_clients_own_mean_is_followed_by_better_symptoms_and_therapists_differ_as_named():
    chosen, sites = options(), study(*QUIET, *FLAT)
    found = [measures(site, chosen, every=False) for site in sites]
    clients = pd.concat([client_frame(site.site, one, chosen) for site, one in zip(sites, found)], ignore_index=True)
    sessions = pd.concat([session_frame(site, one, chosen) for site, one in zip(sites, found)], ignore_index=True)
    rows = level_rows(clients, sessions, chosen, "one_stage")
    within = next(one for one in rows if one["explained"] == "symptoms of the next session" and one["part"] == "within_client")
    assert within["estimate"] > 3 * np.sqrt(within["variance"])
    share = next(one for one in rows if one["explained"] == "alliance, session by session" and one["part"] == "therapist")
    p = with_values(Parameters(), [*QUIET, *FLAT])
    named = p.alliance_therapist_variance, p.alliance_client_variance, p.alliance_within_variance
    # Error of measurement takes its part of the variance of session scores.
    expected = named[0] / sum(named) * p.client_reliability
    assert share["ci_low"] <= expected <= share["ci_high"], (share["estimate"], expected)
