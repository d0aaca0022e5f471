"""Technique and alliance within clients: the true interaction is found, rows hold the right sessions, and what is missing is said."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pandas as pd
import pytest
from alliance.questions import effects
from alliance.questions.contract import POOLED, check, finish
from alliance.questions.correlations import variances
from alliance.questions.part import largest_counts
from alliance.questions.path_models import technique
from alliance.questions.site_data import Published
from alliance.questions.summary import SiteSummary
from simulated_site import OPTIONS, score_rows, site_of


def pair(**changes):
    return {
        "label": "",
        "technique": {"construct": "events.interpretation"},
        "alliance": {"construct": "alliance"},
        "outcome": {"construct": "symptoms"},
        "lag": 1,
        "window": None,
    } | changes


def options(pairs=None, **changes):
    chosen = copy.deepcopy(OPTIONS)
    section = {"enabled": True, "session_trend": True, "pairs": pairs if pairs is not None else {"interpretation": pair()}}
    chosen["questions"]["path_models"]["technique"] = section | changes
    return chosen


def coded(client, session, count):
    frame = pd.DataFrame({"client_no": client, "session": session, "code": "interpretation_wish", "count": count, "exposure": 30.0})
    return frame.astype({"client_no": "Int64", "session": "Int64"})


def simulated(site="a", clients=200, therapists=25, sessions=10, seed=1, within=0.25, across=0.2):
    """Return a site where technique (.1) and alliance (.3) lead to better symptoms, more so together, within and across clients."""
    random = np.random.default_rng(seed)
    shape = (clients, sessions)
    level = random.standard_normal((3, clients, 1))
    count = random.poisson(3.0, shape)
    alliance, noise = random.standard_normal(shape), random.standard_normal(shape)
    centred = (count - 3) / np.sqrt(3)
    symptoms = noise.copy()
    gain = 0.1 * centred + 0.3 * alliance + within * centred * alliance + across * level[0] * centred
    symptoms[:, 1:] += gain[:, :-1]
    client, session = np.repeat(np.arange(1, clients + 1), sessions), np.tile(np.arange(1, sessions + 1), clients)
    number = (client - 1) % therapists + 1
    values = {"wai_36": 5 + alliance + level[0], "core_10": 20 - symptoms - level[1]}
    scores = [score_rows(client, one.ravel(), instrument=name, session=session, therapist_no=number) for name, one in values.items()]
    frame = pd.DataFrame({"client_no": np.arange(1, clients + 1)}).assign(
        therapist_no=lambda rows: (rows["client_no"] - 1) % therapists + 1
    )
    return site_of(scores, site, clients=frame.astype("Int64"), events=coded(client, session, count.ravel()))


def summary(site, chosen):
    part = technique.estimate(site, chosen)
    rows = [{**row, "model": "technique"} for row in part.rows]
    return SiteSummary(
        site=site.site,
        label=site.label,
        question="path_models",
        n=largest_counts(rows),
        facts=part.facts,
        estimates=pd.DataFrame(rows),
        vcov=variances(rows, part.variances),
    )


def table(summaries, chosen):
    found = finish(technique.pool(effects.gather(summaries), summaries, chosen), "path_models", "conditions")
    check(found, "path_models", "conditions")
    return found


def one(found, contrast, variable="events.interpretation", site="a"):
    rows = found[found["contrast"].eq(contrast) & found["variable"].eq(variable) & found["site"].eq(site)]
    assert len(rows) == 1
    return rows.iloc[0]


@pytest.fixture(scope="module")
def large():
    return table([summary(simulated(clients=600, therapists=60), options())], options())


def test_the_true_slopes_and_interactions_are_found_in_standard_deviations(large):
    deviation = np.sqrt(1 + 0.01 + 0.09 + 0.0625 + 0.04)
    for contrast, variable, value in (
        ("", "events.interpretation", 0.1),
        ("", "alliance", 0.3),
        (technique.PRODUCT, "events.interpretation", 0.25),
        (technique.BY_MEAN, "events.interpretation", 0.2),
        (technique.LOW, "events.interpretation", -0.15),
        (technique.HIGH, "events.interpretation", 0.35),
    ):
        row = one(large, contrast, variable)
        assert row["estimate"] == pytest.approx(value / deviation, abs=3.5 * row["std_error"]) and row["std_error"] < 0.03, contrast
        assert row["method"] == "cluster_jackknife" and row["n_clients"] == 600 and row["n_sessions"] == 5400
    assert one(large, technique.PRODUCT)["where"] == "within_clients" and one(large, technique.BY_MEAN)["where"] == "across_levels"
    assert set(large["rater"]) == {"observer", "client"} and set(large["form"]) == {"prior_symptoms"}


def test_no_difference_between_clients_makes_an_interaction_within_them():
    found = table([summary(simulated(clients=600, therapists=60, within=0.0, across=0.5), options())], options())
    row = one(found, technique.PRODUCT)
    assert row["estimate"] == pytest.approx(0.0, abs=3 * row["std_error"])


def test_rows_hold_technique_and_alliance_before_the_symptoms():
    scores = [
        score_rows([1, 1, 1], [4.0, 5.0, 6.0], instrument="wai_36", session=[1, 2, 4]),
        score_rows([1, 1, 1, 1], [10.0, 20.0, 30.0, 40.0], instrument="core_10", session=[1, 2, 3, 5]),
    ]
    site = site_of(scores, events=coded([1, 1, 1], [1, 2, 4], [1, 2, 3]))
    sessions = technique.Sessions(site, options())
    frame, facts, reason = technique.pair_rows(sessions, pair())
    assert not reason and facts["sources"]["technique"] == "events.interpretation (an hour of session)"
    assert frame.to_dict("list") == {
        "client": [1, 1],
        "session": [1, 2],
        "technique": [2.0, 4.0],
        "alliance": [4.0, 5.0],
        "prior": [-10.0, -20.0],
        "outcome": [-20.0, -30.0],
    }
    assert technique.pair_rows(sessions, pair(lag=3))[0]["session"].tolist() == [2]
    assert technique.pair_rows(sessions, pair(window="session_1"))[0]["session"].tolist() == [1]


def test_sites_are_pooled_and_summaries_give_the_same(tmp_path):
    chosen = options()
    summaries = [summary(simulated(f"s{number}", 60, 12, seed=number), chosen) for number in range(3)]
    missing = SiteSummary("s9", "path_models", "S9", status="excluded", reason="too few rows")
    for each in summaries:
        each.write(tmp_path / each.site)
    found = table([*summaries, missing], chosen)
    again = table([*(SiteSummary.read(tmp_path / each.site) for each in summaries), missing], chosen)
    pd.testing.assert_frame_equal(found, again, rtol=1e-12)
    row = one(found, technique.PRODUCT, site=POOLED)
    own = found[found["contrast"].eq(technique.PRODUCT) & found["site"].str.startswith("s") & found["status"].eq("estimated")]
    weights = 1 / (own["std_error"] ** 2 + row["tau2"])
    assert row["n_sites"] == 3 and row["estimate"] == pytest.approx((weights * own["estimate"]).sum() / weights.sum(), abs=1e-6)
    assert "too few rows" in one(found, technique.PRODUCT, site="s9")["reason"]
    cited = {key for sentence in technique.methods(chosen, found) for key in sentence.citations}
    assert {"giesselmann_schmidt_catran_2022", "nickell_1981"} <= cited


@pytest.mark.parametrize(
    ("site", "said"),
    [
        (lambda: dataclasses.replace(simulated(clients=20), events=pd.DataFrame()), "events.interpretation: no coded events"),
        (lambda: simulated(clients=8), "at least 10 clients with 3 times events.interpretation, alliance and symptoms of one session and"),
        (lambda: simulated(clients=30, sessions=3), "has 0"),
        (
            lambda: dataclasses.replace(simulated(clients=20), published=Published(pd.DataFrame(), pd.DataFrame())),
            "publishes correlations only",
        ),
    ],
)
def test_what_is_missing_is_said_in_one_row(site, said):
    found = table([summary(site(), options())], options())
    found = found[found["site"].ne(POOLED)]
    assert len(found) == 1 and found["status"].iloc[0] == "not_estimable"
    assert found["reason"].iloc[0].startswith("not estimable: ") and said in found["reason"].iloc[0]


def test_the_order_of_rows_does_not_matter():
    site = simulated(clients=40)
    scores, events = (frame.sample(frac=1, random_state=1).reset_index(drop=True) for frame in (site.scores, site.events))
    shuffled = dataclasses.replace(site, scores=scores, events=events)
    first, second = (table([summary(each, options())], options()) for each in (site, shuffled))
    pd.testing.assert_frame_equal(first, second, rtol=1e-9)


def test_nothing_is_done_where_it_is_switched_off():
    chosen = options({}, enabled=False)
    assert technique.estimate(simulated(clients=20), chosen).rows == []
    assert technique.pool(pd.DataFrame(), [], chosen).empty and technique.methods(chosen, pd.DataFrame()) == []
