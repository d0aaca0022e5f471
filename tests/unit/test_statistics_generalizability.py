"""Generalizability: expected mean squares of a balanced study, what cannot be told apart, and what is needed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from alliance.statistics.generalizability import g_study, generalizability_with_interval

CLIENTS, SESSIONS, RATERS = 30, 4, 3


def ratings(seed: int = 1, variances: tuple = (1.0, 0.5, 0.2, 0.3, 0.6)) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    client, session, rater = (index.ravel() for index in np.indices((CLIENTS, SESSIONS, RATERS)))
    target = client * SESSIONS + session
    effects = [
        random.normal(size=codes.max() + 1)[codes] for codes in (client, target, rater, client * RATERS + rater, np.arange(len(client)))
    ]
    value = np.sqrt(variances) @ np.array(effects)
    return pd.DataFrame({"client": client, "target": target, "rater": rater, "value": value, "therapist": client // 3})


def test_balanced_components_are_those_of_expected_mean_squares() -> None:
    rows = ratings()
    y = rows["value"].to_numpy().reshape(CLIENTS, SESSIONS, RATERS)
    client, session, rater, pair = (y.mean(axis=axes, keepdims=True) for axes in ((1, 2), 2, (0, 1), 1))
    mean = y.mean()
    squares = {
        "p": SESSIONS * RATERS * ((client - mean) ** 2).sum() / (CLIENTS - 1),
        "s": RATERS * ((session - client) ** 2).sum() / (CLIENTS * (SESSIONS - 1)),
        "r": CLIENTS * SESSIONS * ((rater - mean) ** 2).sum() / (RATERS - 1),
        "pr": SESSIONS * ((pair - client - rater + mean) ** 2).sum() / ((CLIENTS - 1) * (RATERS - 1)),
        "e": ((y - session - pair + client) ** 2).sum() / (CLIENTS * (SESSIONS - 1) * (RATERS - 1)),
    }
    expected = {
        "client": (squares["p"] - squares["s"] - squares["pr"] + squares["e"]) / (SESSIONS * RATERS),
        "session": (squares["s"] - squares["e"]) / RATERS,
        "rater": (squares["r"] - squares["pr"]) / (CLIENTS * SESSIONS),
        "client x rater": (squares["pr"] - squares["e"]) / SESSIONS,
        "residual": squares["e"],
    }
    found = g_study(rows)
    assert found.status == "estimated" and found.variances == pytest.approx(expected, rel=1e-5)
    assert sum(found.shares.values()) == pytest.approx(1)
    # In a balanced study generalizability is a ratio of mean squares of the design.
    error = (squares["s"] + squares["pr"] - squares["e"]) / squares["p"]
    assert found.generalizability(RATERS, SESSIONS) == pytest.approx(1 - error, rel=1e-5)
    assert found.dependability(RATERS, SESSIONS) == pytest.approx(1 / (1 / (1 - error) + expected["rater"] / RATERS / expected["client"]))


def test_more_raters_and_sessions_help_and_sessions_count_as_true_in_scores_of_sessions() -> None:
    found = g_study(ratings())
    assert found.generalizability(2, 4) < found.generalizability(4, 4) < found.generalizability(4, 8)
    assert found.session_generalizability(3) > found.generalizability(3, 1)
    assert found.session_dependability(3) < found.session_generalizability(3)


def test_order_level_and_unit_do_not_matter() -> None:
    rows = ratings().iloc[::2]
    found = g_study(rows)
    changed = g_study(rows.sample(frac=1, random_state=1).assign(value=lambda one: 50 - 10 * one["value"]))
    assert changed.shares == pytest.approx(found.shares, abs=1e-6)
    assert changed.variances["residual"] == pytest.approx(100 * found.variances["residual"], rel=1e-5)


def test_sources_that_cannot_be_told_apart_are_part_of_the_residual() -> None:
    rows = ratings()
    unknown = g_study(rows.drop(columns="rater"))
    assert set(unknown.variances) == {"client", "session", "residual"} and "not identified" in unknown.reason
    once = rows[(rows["rater"] == 0) | (rows["target"] % SESSIONS == rows["rater"])]
    apart = g_study(once)
    assert set(apart.variances) == {"client", "session", "rater", "residual"}
    assert "client x rater is part of the residual" in apart.reason and apart.status == "flagged"


def test_a_variance_of_zero_is_flagged() -> None:
    rows = ratings()
    pair, client, rater = (rows.groupby(by)["value"].transform("mean") for by in (["client", "rater"], "client", "rater"))
    found = g_study(rows.assign(value=rows["value"] - pair + client + rater))
    assert found.variances["client x rater"] == 0
    assert (found.status, found.reason) == ("flagged", "variance estimated as zero: client x rater")


def test_what_is_needed_is_said() -> None:
    rows = ratings()
    first = rows[rows["target"] % SESSIONS == 0]
    assert g_study(first).reason == "needs at least two rated sessions of at least 5 clients; has 0"
    alone = g_study(rows[rows["rater"] == 0])
    assert alone.reason == "needs at least two raters at one session; has 120 sessions with one rater each"
    assert (alone.status, alone.variances, alone.shares) == ("not_estimable", {}, {}) and np.isnan(alone.generalizability(2, 2))
    study, *both = generalizability_with_interval(first)
    assert {one.reason for one in both} == {study.reason} and {one.status for one in both} == {"not_estimable"}


def test_there_is_an_interval_where_a_small_variance_is_zero_without_some_therapist() -> None:
    for seed in range(5):
        rows = ratings(seed, variances=(1.0, 0.5, 0.2, 0.02, 0.6))
        _, *both = generalizability_with_interval(rows)
        for one in both:
            assert 0 < one.std_error < 0.2 and one.ci_low < one.estimate < one.ci_high < 1
