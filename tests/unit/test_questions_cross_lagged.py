"""Cross-lagged models over sites: the truth of simulated sites, directions, what is said where nothing can be estimated, summaries."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from alliance.questions import effects
from alliance.questions.contract import POOLED, check, finish
from alliance.questions.correlations import variances
from alliance.questions.part import VCOV, largest_counts, stacked
from alliance.questions.path_models import cross_lagged as part
from alliance.questions.site_data import SiteData
from alliance.questions.summary import SiteSummary
from alliance.statistics.cross_lagged import CLASSIC_EQUAL, EQUAL, GROWTH, RANDOM_INTERCEPTS
from simulated_site import OPTIONS, score_rows, site_of

LAGGED = np.array([[0.3, 0.0], [0.3, 0.2]])
HEADLINE = {"model": EQUAL, "estimate_type": "path_standardised", "lag": part.MEAN}
JOINT = "pooled_covariance"


def options(**changed: object) -> dict:
    own = copy.deepcopy(OPTIONS)
    content = {
        "series": {"alliance": {"construct": "alliance"}, "symptoms": {"construct": "symptoms"}},
        "sessions": [1, 2, 3, 4],
        "sessions_per_wave": 1,
    }
    section = {"enabled": True, "clients_per_parameter": 2, "pairs": {"alliance_symptoms": content}}
    content |= {key: value for key, value in changed.items() if key in ("series", "sessions", "sessions_per_wave")}
    section |= {key: value for key, value in changed.items() if key in section}
    own["questions"]["path_models"]["cross_lagged"] = section
    return own


def site(name: str = "a", n: int = 220, seed: int = 1, sessions: int = 4, scale: float = 5.0, stable: float = 1.0) -> SiteData:
    """Return a site whose alliance moves the symptoms of the next session by .3, not the other way round; a tenth of scores missing.

    ``stable`` is how much clients differ in what is stable of them.
    """
    random = np.random.default_rng(seed)
    client, therapist = np.arange(1, n + 1), np.arange(n) % max(2, n // 10) + 1
    lasting = stable * random.normal(size=(n, 2)) @ np.array([[1.0, 0.3], [0.0, 0.9]])
    within, scores = random.normal(size=(n, 2)) * 1.1, []
    for session in range(1, sessions + 1):
        if session > 1:
            within = within @ LAGGED.T + random.normal(size=(n, 2))
        better = lasting + within + 0.1 * session
        for place, (instrument, turned) in enumerate((("wai_36", 1.0), ("core_10", -scale))):
            there = random.uniform(size=n) > 0.1
            values = 20 + turned * better[there, place]
            scores.append(score_rows(client[there], values, instrument=instrument, session=session, therapist_no=therapist[there]))
    clients = pd.DataFrame({"client_no": pd.array(client, dtype="Int64"), "therapist_no": pd.array(therapist, dtype="Int64")})
    return site_of(scores, name, clients=clients)


def summary(one: SiteData, settings: dict) -> SiteSummary:
    found = part.estimate(one, settings)
    rows = [{**row, "model": part.NAME} for row in found.rows]
    return SiteSummary(
        site=one.site,
        label=one.label,
        question="path_models",
        n=largest_counts(rows),
        facts=found.facts,
        moments=found.moments,
        estimates=pd.DataFrame(rows),
        vcov=stacked([variances(rows, found.variances), found.covariances.assign(model=part.NAME)], VCOV),
    )


def table(summaries: list[SiteSummary], settings: dict) -> pd.DataFrame:
    gathered = effects.gather(summaries)
    own = gathered[gathered["model"].eq(part.NAME)].reset_index(drop=True)
    found = finish(part.pool(own, summaries, settings), "path_models", "cross_lagged")
    check(found, "path_models", "cross_lagged")
    return found


def chosen(rows: pd.DataFrame, **values: object) -> pd.DataFrame:
    keep = pd.Series(True, index=rows.index)
    for column, value in values.items():
        keep &= rows[column].eq(value)
    return rows[keep]


def one(rows: pd.DataFrame, **values: object) -> pd.Series:
    found = chosen(rows, **values)
    assert len(found) == 1, found
    return found.iloc[0]


@pytest.fixture(scope="module")
def summaries() -> list[SiteSummary]:
    return [summary(site(name, seed=seed, scale=scale), options()) for name, seed, scale in (("a", 1, 5.0), ("b", 2, 2.0), ("c", 3, 7.0))]


@pytest.fixture(scope="module")
def rows(summaries: list[SiteSummary]) -> pd.DataFrame:
    return table(summaries, options())


def test_the_direction_within_clients_is_found(rows: pd.DataFrame) -> None:
    truth = 0.3 * np.sqrt(1 / (1 - 0.09)) / np.sqrt(1.25)
    for method in (JOINT, "two_stage_reml"):
        forward = one(rows, site=POOLED, parameter="alliance -> symptoms", method=method, **HEADLINE)
        backward = one(rows, site=POOLED, parameter="symptoms -> alliance", method=method, **HEADLINE)
        # Symptoms are turned: more alliance, better symptoms.
        assert abs(forward["estimate"] - truth) < 3 * forward["std_error"]
        assert forward["ci_low"] > 0
        assert abs(backward["estimate"]) < 3 * backward["std_error"]
        assert forward["n_clients"] == chosen(rows, parameter="alliance -> symptoms", **HEADLINE)["n_clients"].iloc[:3].sum()


def test_one_model_within_sites_agrees_with_random_effects(rows: pd.DataFrame) -> None:
    joint = one(rows, site=POOLED, parameter="alliance -> symptoms", method=JOINT, **HEADLINE)
    pooled = one(rows, site=POOLED, parameter="alliance -> symptoms", method="two_stage_reml", **HEADLINE)
    assert joint["estimate"] == pytest.approx(pooled["estimate"], abs=pooled["std_error"])
    assert joint["std_error"] == pytest.approx(pooled["std_error"], rel=0.6)
    assert joint["n_sites"] == pooled["n_sites"] == 3


def test_fit_and_tests_of_the_true_model(rows: pd.DataFrame) -> None:
    joint = chosen(rows, site=POOLED, method=JOINT)
    assert one(joint, model=EQUAL, index="p_value")["estimate"] > 0.001
    assert one(joint, model=RANDOM_INTERCEPTS, index="df")["estimate"] == 9
    assert one(joint, model="comparison", parameter="equal lags against free lags", index="df")["estimate"] == 8
    assert one(joint, model="comparison", parameter="equal lags against free lags", index="p_value")["estimate"] > 0.001
    assert one(joint, model="comparison", parameter="no random intercepts against random intercepts", index="p_value")["estimate"] < 1e-6
    sites = chosen(rows, site="a", model=EQUAL)
    assert one(sites, index="aic")["estimate"] < one(chosen(rows, site="a", model=CLASSIC_EQUAL), index="aic")["estimate"]
    # AIC and BIC need rows.
    assert chosen(joint, index="aic").empty


def test_growth_is_in_standard_deviations_a_session(rows: pd.DataFrame) -> None:
    found = one(rows, site=POOLED, method=JOINT, model=GROWTH, parameter="slope of alliance", estimate_type="mean")
    assert abs(found["estimate"] - 0.1 / np.sqrt(1 + 1 / 0.91)) < 3.5 * found["std_error"]


def test_rows_of_a_site_are_few_and_say_lags(rows: pd.DataFrame) -> None:
    own = chosen(rows, site="a")
    assert len(own) < 90
    lags = chosen(own, model=RANDOM_INTERCEPTS, parameter="alliance -> symptoms")["lag"].tolist()
    assert lags == ["session 1 to 2", "session 2 to 3", "session 3 to 4"]
    assert (own.loc[own["status"].ne("not_estimable"), "n_therapists"] == 22).all()


def test_scale_of_an_instrument_does_not_matter(rows: pd.DataFrame) -> None:
    again = summary(site("a", seed=1, scale=50.0), options()).estimates
    before = summary(site("a", seed=1), options()).estimates
    assert again["estimate"].to_numpy() == pytest.approx(before["estimate"].to_numpy(), rel=1e-6, abs=1e-8, nan_ok=True)


def test_a_written_summary_gives_the_same_table(summaries: list[SiteSummary], rows: pd.DataFrame, tmp_path: Path) -> None:
    read = []
    for number, written in enumerate(summaries):
        written.write(tmp_path / str(number))
        read.append(SiteSummary.read(tmp_path / str(number)))
    again = table(read[::-1], options())
    pd.testing.assert_frame_equal(again, rows, rtol=1e-9)


def test_order_of_rows_does_not_matter() -> None:
    whole = site(n=120)
    mixed = site_of([whole.scores.sample(frac=1, random_state=3)], clients=whole.clients.sample(frac=1, random_state=4))
    first, second = (summary(one, options()).estimates for one in (whole, mixed))
    pd.testing.assert_frame_equal(first, second)


def test_no_scores_of_a_measure_is_said() -> None:
    whole = site(n=60)
    without = site_of([whole.scores[whole.scores["instrument"].eq("wai_36")]], clients=whole.clients)
    found = part.estimate(without, options())
    assert len(found.rows) == 4
    assert {row["status"] for row in found.rows} == {"not_estimable"}
    assert all(row["reason"].startswith("not estimable: symptoms: ") for row in found.rows)
    assert found.moments.empty
    assert found.covariances.empty


def test_nothing_is_sent_of_fewer_clients_than_allowed() -> None:
    found = part.estimate(site(n=9), options())
    assert [row["reason"] for row in found.rows] == ["not estimable: needs at least 10 clients with scores at the waves; has 9"] * 4
    assert found.moments.empty
    assert found.covariances.empty
    assert all(row.get("estimate") is None for row in found.rows)


def test_small_sites_share_one_model() -> None:
    settings = options(clients_per_parameter=5)
    found = table([summary(site(name, n=50, seed=seed), settings) for seed, name in enumerate("abcdef", start=1)], settings)
    single = chosen(found, site="a", parameter="alliance -> symptoms", **HEADLINE).iloc[0]
    assert single["status"] == "not_estimable"
    assert single["reason"] == "not estimable: needs at least 135 clients (5 for each free parameter); has 50"
    joint = one(found, site=POOLED, parameter="alliance -> symptoms", method=JOINT, **HEADLINE)
    assert (joint["status"], joint["n_clients"], joint["n_sites"]) == ("estimated", 300, 6)
    assert abs(joint["estimate"] - 0.28) < 3.5 * joint["std_error"]


def test_few_clients_and_few_therapists_are_flagged() -> None:
    small = site(n=70)
    few = site_of([small.scores.assign(therapist_no=pd.array([1] * len(small.scores), dtype="Int64"))])
    found = pd.DataFrame(part.estimate(few, options()).rows)
    headline = found[found["dynamics"].eq(EQUAL) & found["estimate_type"].eq("path_standardised")]
    assert headline["reason"].str.contains("few clients: 2.6 for each free parameter").all()
    assert headline["reason"].str.contains("clients as independent: few therapists").all()
    assert headline["method"].eq("maximum_likelihood").all()


def test_no_number_is_taken_from_an_improper_solution() -> None:
    """Where clients do not differ in what is stable of them, every second solution has a negative variance of it."""
    unstable = site(n=60, seed=4, stable=0.0)
    found = pd.DataFrame(part.estimate(unstable, options(clients_per_parameter=1)).rows)
    improper = found[found["reason"].str.contains("improper solution")]
    assert {EQUAL, "comparison"} <= set(improper["dynamics"])
    assert set(improper["status"]) == {"not_estimable"} and improper["estimate"].isna().all()
    assert not found.loc[found["dynamics"].eq(EQUAL), "status"].isin(["estimated", "flagged"]).any()
    usable = found["status"].isin(["estimated", "flagged"])
    assert not found.loc[usable, "reason"].str.contains("negative variance|not positive definite|correlation of").any()
    classic = found[found["dynamics"].eq(CLASSIC_EQUAL) & usable]
    assert len(classic) > 4, "the model without stable parts has a proper solution"


def test_waves_may_be_means_of_sessions() -> None:
    settings = options(sessions=[1, 3, 5], sessions_per_wave=2)
    frame, _, reason = part.wave_frame(
        site(sessions=6), settings["questions"]["path_models"]["cross_lagged"]["pairs"]["alliance_symptoms"], settings
    )
    assert not reason
    assert list(frame.columns) == ["alliance1", "alliance2", "alliance3", "symptoms1", "symptoms2", "symptoms3"]
    spread = [np.sqrt(frame[[f"{name}{wave}" for wave in (1, 2, 3)]].var().mean()) for name in ("alliance", "symptoms")]
    assert spread == pytest.approx([1, 1])
    assert frame[["alliance1", "symptoms1"]].mean().tolist() == pytest.approx([0, 0], abs=1e-12)
    found = pd.DataFrame(part.estimate(site(sessions=6), settings).rows)
    assert set(found.loc[found["dynamics"].eq(RANDOM_INTERCEPTS), "lag"]) == {"session 1-2 to 3-4", "session 3-4 to 5-6", ""}


def test_reliability_makes_effects_larger() -> None:
    series = {
        "alliance": {"construct": "alliance", "reliability": 0.9},
        "symptoms": {"construct": "symptoms", "reliability": 0.9},
    }
    plain, corrected = (pd.DataFrame(part.estimate(site(n=400), settings).rows) for settings in (options(), options(series=series)))
    same = {"dynamics": EQUAL, "estimate_type": "path_standardised", "explained": "symptoms", "predictor": "alliance"}
    assert one(corrected, **same)["estimate"] > one(plain, **same)["estimate"] > 0


def test_a_site_left_out_keeps_its_reason(summaries: list[SiteSummary]) -> None:
    absent = SiteSummary(site="z", label="Z", question="path_models", status="missing", reason="no answer")
    found = chosen(table([*summaries, absent], options()), site="z")
    assert len(found) == 4
    assert found["reason"].str.contains("no answer").all()


def test_methods_name_sites_sessions_and_conventions(rows: pd.DataFrame) -> None:
    text = " ".join(sentence.text for sentence in part.methods(options(), rows))
    assert "alliance and symptoms at sessions 1, 2, 3, 4" in text
    assert "fitted at 3 sites" in text
    assert "covariances within 3 sites" in text
    assert part.methods(options(), rows[rows["status"].eq("nothing")])[0].text.startswith("The cross-lagged models could not be estimated")
    assert part.methods(options(enabled=False), rows) == []


def test_switched_off_gives_nothing() -> None:
    off = options(enabled=False)
    assert part.estimate(site(n=30), off).rows == []
    assert part.pool(pd.DataFrame(), [], off).empty
