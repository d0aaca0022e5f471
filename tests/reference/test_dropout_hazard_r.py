"""Hazard models, curves and subdistribution weights equal glm, lme4, survival and psych in R."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
import r_script
from alliance.statistics.agreement import kappa
from alliance.statistics.competing_risks import clustered_error, cumulative_incidence, share_interval, subdistribution_rows
from alliance.statistics.discrete_time_hazard import HazardModel, fit_without_each, hazard_model
from alliance.statistics.resampling import generator
from needed import EXAMPLES, needs_examples, needs_r

pytestmark = needs_r
PREDICTORS = ["alliance", "severity", "session"]


def person_periods(therapists: int, clients: tuple[int, int], frailty: float, sites: int = 1) -> pd.DataFrame:
    """Return sessions until the client leaves or comes to the twelfth; each site has a hazard of its own."""
    random = generator(5, "dropout", therapists, sites)
    therapist = np.repeat(np.arange(therapists), random.integers(*clients, therapists))
    site = therapist % sites
    alliance, severity = random.standard_normal((2, len(therapist)))
    shared = frailty * random.standard_normal(therapists)
    staying, periods = np.ones(len(therapist), dtype=bool), []
    for session in range(1, 13):
        linear = -2.6 + 0.4 * site - 0.2 * np.log2(session) - 0.5 * alliance + 0.2 * severity + shared[therapist]
        leaves = staying & (random.random(len(therapist)) < -np.expm1(-np.exp(linear)))
        here = np.flatnonzero(staying)
        columns = {"event": leaves[here].astype(int), "alliance": alliance[here], "severity": severity[here], "session": np.log2(session)}
        periods.append(pd.DataFrame({**columns, "therapist": therapist[here], "site": [f"s{number}" for number in site[here]]}))
        staying &= ~leaves
    return pd.concat(periods, ignore_index=True)


FRAMES = {
    "many": person_periods(40, (5, 20), 0.5),
    "few": person_periods(14, (3, 9), 1.1),
    "strata": person_periods(30, (4, 12), 0.6, sites=3),
}


def endings() -> pd.DataFrame:
    random = generator(5, "endings")
    n = 90
    last, ending = random.integers(1, 9, n), random.choice([0, 1, 2], n, p=[0.25, 0.3, 0.45])
    return pd.DataFrame({"id": np.arange(n), "last": last, "ending": ending, "therapist": random.integers(0, 12, n)})


def judgments() -> pd.DataFrame:
    random = generator(5, "judged")
    first = random.random(120) < 0.3
    return pd.DataFrame({"first": first.astype(int), "second": np.where(random.random(120) < 0.8, first, ~first).astype(int)})


@pytest.fixture(scope="module")
def of_r(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("dropout")
    for name, rows in {**FRAMES, "endings": endings(), "judged": judgments()}.items():
        rows.to_csv(folder / f"{name}.csv", index=False, float_format="%.17g")
    return r_script.values("dropout_hazard.R", folder)


def fitted(name: str, link: str, *, frailty: bool, **options: object) -> HazardModel:
    rows = FRAMES[name]
    clusters, strata = rows["therapist"] if frailty else None, rows["site"] if name == "strata" else None
    return hazard_model(rows["event"], rows[PREDICTORS], PREDICTORS, clusters, strata, link=link, **options)


@pytest.mark.parametrize("link", ["cloglog", "logit"])
@pytest.mark.parametrize("name", sorted(FRAMES))
def test_models_without_frailty_equal_glm(of_r: Any, name: str, link: str) -> None:
    expected = of_r[name][link]
    model = fitted(name, link, frailty=False)
    assert model.coefficients["estimate"].to_numpy() == pytest.approx(np.array(expected["plain"]), abs=1e-6)
    # Second differences of the log-likelihood in R.
    assert model.coefficients["std_error"].to_numpy() == pytest.approx(np.array(expected["plain_error"]), rel=1e-5)
    assert model.log_likelihood == pytest.approx(expected["plain_log_likelihood"], abs=1e-6)
    assert model.frailty_sd is None


@pytest.mark.parametrize("link", ["cloglog", "logit"])
@pytest.mark.parametrize("name", sorted(FRAMES))
def test_models_with_frailty_equal_glmer(of_r: Any, name: str, link: str) -> None:
    expected = of_r[name][link]
    model = fitted(name, link, frailty=True, nodes=25, interval=False)
    assert model.coefficients["estimate"].to_numpy() == pytest.approx(np.array(expected["mixed"]), abs=5e-5)
    assert model.coefficients["std_error"].to_numpy() == pytest.approx(np.array(expected["mixed_error"]), rel=1e-3)
    assert np.sort(model.intercepts) == pytest.approx(np.sort(np.atleast_1d(expected["intercepts"])), abs=1e-4)
    assert model.frailty_sd == pytest.approx(expected["sd"], abs=1e-4)
    assert model.log_likelihood == pytest.approx(expected["log_likelihood"], abs=1e-5)


@pytest.mark.parametrize("link", ["cloglog", "logit"])
@pytest.mark.parametrize("name", sorted(FRAMES))
def test_the_usual_number_of_nodes_is_enough(name: str, link: str) -> None:
    usual, many = (fitted(name, link, frailty=True, interval=False, **options) for options in ({}, {"nodes": 41}))
    error = many.coefficients["std_error"].to_numpy()
    away = np.abs(usual.coefficients["estimate"].to_numpy() - many.coefficients["estimate"].to_numpy())
    assert (away < 0.002 * error).all()
    assert usual.coefficients["std_error"].to_numpy() == pytest.approx(error, rel=1e-3)
    assert usual.frailty_sd == pytest.approx(many.frailty_sd, abs=1e-3)


def test_profile_limits_of_the_frailty_equal_those_of_the_integral_on_a_fine_grid(of_r: Any) -> None:
    model = fitted("few", "cloglog", frailty=True)
    assert (model.frailty_low, model.frailty_high) == pytest.approx(tuple(of_r["profile"]), abs=2e-3)


def test_weighted_rows_and_therapists_left_out_equal_glm(of_r: Any) -> None:
    rows = FRAMES["few"]
    weights = 0.5 + ((np.arange(len(rows)) + 1) % 3) / 2
    groups = pd.factorize(rows["therapist"])[0]
    whole, without = fit_without_each(rows["event"], rows[PREDICTORS], PREDICTORS, groups, weights=weights)
    assert whole.both == pytest.approx(np.array(of_r["weighted"]["whole"]), abs=1e-6)
    assert without == pytest.approx(np.array(of_r["weighted"]["without"]), abs=1e-6)


@needs_examples
def test_a_hazard_of_each_day_gives_the_grouped_model_of_glm_and_nearly_that_of_cox(of_r: Any) -> None:
    patients, names = pd.DataFrame(of_r["lung"]["patients"]), ["age", "sex", "ecog"]
    days = pd.DataFrame({"day": np.unique(patients.loc[patients["died"].eq(1), "time"])})
    rows = patients.merge(days, how="cross").query("day <= time")
    rows = rows.assign(event=(rows["died"].eq(1) & rows["day"].eq(rows["time"])).astype(int)).reset_index(drop=True)
    model = hazard_model(rows["event"], rows[names], names, strata=rows["day"])
    ours = model.coefficients["estimate"].to_numpy()
    assert ours == pytest.approx(np.array(of_r["lung"]["grouped"]), abs=1e-6)
    stored = json.loads(EXAMPLES.read_text(encoding="utf-8"))["survival_lung"]["cox_efron"]
    cox = np.array([stored["age"], stored["sex"], stored["ph.ecog"]])
    assert cox == pytest.approx(np.array(of_r["lung"]["cox"]), rel=1e-6) and stored["n"] == of_r["lung"]["n"]
    # Grouped and continuous time differ where several die on one day, by little of a standard error.
    assert (np.abs(ours - cox) < 0.05 * np.array(stored["se"])).all()


def counts(rows: pd.DataFrame, sessions: int) -> tuple[np.ndarray, ...]:
    at = np.arange(1, sessions + 1)
    last, ending = rows["last"].to_numpy()[:, None], rows["ending"].to_numpy()[:, None]
    tables = (last >= at, (last == at) & (ending == 1), (last == at) & (ending == 2))
    return tuple(table.sum(axis=0) for table in tables)


def test_curves_and_their_errors_equal_survfit(of_r: Any) -> None:
    expected, rows = of_r["curves"], endings()
    found = cumulative_incidence(*counts(rows, 8))
    for name, ours in (
        ("staying", found.staying),
        ("incidence", found.incidence),
        ("staying_error", found.staying_error),
        ("incidence_error", found.incidence_error),
        ("greenwood", found.staying_error),
    ):
        assert ours == pytest.approx(np.array(expected[name]), abs=1e-9), name
    by_therapist = [counts(own, 8) for _, own in rows.groupby("therapist")]
    staying, incidence = clustered_error(found, *(np.array(table) for table in zip(*by_therapist, strict=True)))
    assert staying == pytest.approx(np.array(expected["staying_clustered"]), abs=1e-9)
    assert incidence == pytest.approx(np.array(expected["incidence_clustered"]), abs=1e-9)


def test_limits_of_curves_equal_those_of_survfit(of_r: Any) -> None:
    expected, found = of_r["curves"], cumulative_incidence(*counts(endings(), 8))
    low, high = share_interval(found.incidence, found.incidence_error, 0.95)
    assert low == pytest.approx(np.array(expected["low"]), abs=1e-8)
    assert high == pytest.approx(np.array(expected["high"]), abs=1e-8)


def test_weights_of_the_subdistribution_equal_those_of_finegray(of_r: Any) -> None:
    expected = pd.DataFrame(of_r["subdistribution"])
    rows = endings()
    client, session, _, weight = subdistribution_rows(rows["last"], rows["ending"], 8)
    compared = 0
    for one, at, ours in zip(client, session, weight, strict=True):
        here = expected[(expected["id"] == one) & (expected["start"] < at) & (expected["stop"] >= at)]
        if len(here):
            assert ours == pytest.approx(here["weight"].item(), abs=1e-9), (one, at)
            compared += 1
    assert compared > 300


def test_kappa_equals_psych(of_r: Any) -> None:
    rows = judgments()
    assert kappa(rows["first"], rows["second"]).estimate[0] == pytest.approx(of_r["kappa"], abs=1e-9)
