"""Mediation over sessions: true effects are found, rows hold whole chains in their order, and what is missing is said."""

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
from alliance.questions.path_models import mediation
from alliance.questions.site_data import Published
from alliance.questions.summary import SiteSummary
from simulated_site import OPTIONS, score_rows, site_of

WITHIN, BETWEEN = (0.4, 0.3, 0.1), (0.5, 0.4, 0.2)


def chain(kind: str = "1-1-1", **changes):
    first = {"construct": "alliance"} if kind == "1-1-1" else {"construct": "motivation"}
    through = {"construct": "empathy"} if kind == "1-1-1" else {"construct": "alliance"}
    lags = [1, 1] if kind == "1-1-1" else [1]
    return {
        "label": "",
        "kind": kind,
        "from": first,
        "through": through,
        "to": {"construct": "symptoms"},
        "given": [],
        "lags": lags,
    } | changes


def options(chains: dict | None = None, **changes):
    chosen = copy.deepcopy(OPTIONS)
    chosen["resampling"]["draws"] = 2000
    chosen["questions"]["path_models"]["mediation"] = {
        "enabled": True,
        "session_trend": True,
        "random_slopes": False,
        "chains": chains if chains is not None else {"through_empathy": chain(), "from_motivation": chain("2-1-1")},
    } | changes
    return chosen


def simulated(site="a", clients=120, therapists=20, sessions=12, seed=1, missing=0.15, trend=0.3, date=None):
    """Return a site in which sessions follow the paths one session later, clients' means other paths, with a trend of all measures.

    Motivation of clients is what leads to their level of the alliance (.5), the alliance's level to that of symptoms (.4 better).
    """
    random = np.random.default_rng(seed)
    a, b, direct = WITHIN
    x = random.standard_normal((clients, sessions))
    m = 0.9 * random.standard_normal((clients, sessions))
    m[:, 1:] += a * x[:, :-1]
    y = 0.9 * random.standard_normal((clients, sessions))
    y[:, 2:] += b * m[:, 1:-1] + direct * x[:, :-2]
    a, b, direct = BETWEEN
    therapist = np.arange(clients) % therapists
    motivation = random.standard_normal(clients)
    shared = random.standard_normal((3, therapists))[:, therapist] * 0.3
    level = 0.5 * motivation + 0.8 * random.standard_normal(clients) + shared[0]
    of_m = a * level + 0.8 * random.standard_normal(clients) + shared[1]
    of_y = b * of_m + direct * level + 0.8 * random.standard_normal(clients) + shared[2]
    drift = trend * np.arange(sessions)
    client, session = np.repeat(np.arange(1, clients + 1), sessions), np.tile(np.arange(1, sessions + 1), clients)
    values = {"wai_36": 5 + x + level[:, None] + drift, "care": 30 + m + of_m[:, None] + drift, "core_10": 20 - (y + of_y[:, None] + drift)}
    scores = []
    for name, table in values.items():
        kept = random.random(len(client)) >= missing
        dates = None if date is None else date(session[kept])
        number = therapist[client[kept] - 1] + 1
        about = {"instrument": name, "session": session[kept], "therapist_no": number, "date": dates}
        scores.append(score_rows(client[kept], table.ravel()[kept], **about))
    frame = pd.DataFrame({"client_no": np.arange(1, clients + 1), "therapist_no": therapist + 1}).astype("Int64")
    return site_of(scores, site, clients=frame.assign(motivation=motivation))


def summary(site, chosen):
    part = mediation.estimate(site, chosen)
    rows = [{**row, "model": "mediation"} for row in part.rows]
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
    found = finish(mediation.pool(effects.gather(summaries), summaries, chosen), "path_models", "indirect")
    check(found, "path_models", "indirect")
    return found


def one(found, model, effect, level, interval="delta", standardised=False, site="a"):
    form = "_standardised" if standardised else "_unstandardised"
    rows = found[found["model"].eq(model) & found["effect"].eq(effect) & found["level"].eq(level) & found["interval"].eq(interval)]
    rows = rows[rows["site"].eq(site) & rows["estimate_type"].str.endswith(form)]
    assert len(rows) == 1
    return rows.iloc[0]


@pytest.fixture(scope="module")
def large():
    return table([summary(simulated(clients=900, therapists=90), options())], options())


def test_the_true_paths_within_and_between_clients_are_found(large):
    for level, (a, b, direct) in (("within", WITHIN), ("between", BETWEEN)):
        for effect, value in (("a", a), ("b", b), ("direct", direct), ("indirect", a * b), ("total", direct + a * b)):
            row = one(large, "through_empathy", effect, level)
            assert row["estimate"] == pytest.approx(value, abs=3.5 * row["std_error"]), (level, effect)
            assert row["std_error"] < 0.07 and row["method"] == "cluster_jackknife" and row["status"] == "estimated"


def test_a_chain_that_begins_with_clients_has_its_paths_between_them(large):
    for effect, value in (("a", 0.5), ("b", 0.4), ("direct", 0.0), ("indirect", 0.2)):
        row = one(large, "from_motivation", effect, "between")
        assert row["estimate"] == pytest.approx(value, abs=3.5 * row["std_error"]), effect
    within = large[large["model"].eq("from_motivation") & large["level"].eq("within")]
    assert set(within["effect"]) == {"b"}


def test_effects_are_told_in_words(large):
    words = {row["effect"] + "." + row["level"]: row["definition"] for _, row in large[large["model"].eq("through_empathy")].iterrows()}
    assert words["indirect.within"] == "alliance (t) -> empathy (t+1) -> symptoms (t+2)"
    assert words["b.within"] == "empathy (t+1) -> symptoms (t+2) given alliance (t)"
    assert words["indirect.between"] == "alliance -> empathy -> symptoms; clients' means over these sessions"
    of_clients = large[large["model"].eq("from_motivation")]
    assert set(of_clients.loc[of_clients["level"].eq("within"), "definition"]) == {"alliance (t) -> symptoms (t+1)"}


def test_monte_carlo_stands_beside_the_delta_method(large):
    delta, drawn = (one(large, "through_empathy", "indirect", "within", way) for way in ("delta", "monte_carlo"))
    assert drawn["estimate"] == delta["estimate"] and drawn["std_error"] >= delta["std_error"]
    assert (drawn["ci_low"], drawn["ci_high"]) == pytest.approx((delta["ci_low"], delta["ci_high"]), abs=0.01)
    others = large[large["effect"].ne("indirect") & large["site"].ne(POOLED)]
    assert set(others["interval"]) == {"delta"}


def test_a_common_trend_is_no_effect_unless_it_is_left_in():
    site = simulated(clients=400, trend=0.8)
    held, bare = (table([summary(site, chosen)], chosen) for chosen in (options(), options(session_trend=False)))
    assert one(held, "through_empathy", "a", "within")["estimate"] == pytest.approx(0.4, abs=0.08)
    assert one(bare, "through_empathy", "a", "within")["estimate"] > 0.7


def test_rows_hold_each_measure_at_its_own_session():
    scores = [
        score_rows([1, 1, 1, 2], [1.0, 2.0, 3.0, 9.0], instrument="wai_36", session=[1, 2, 4, 1]),
        score_rows([1, 1, 1], [10.0, 20.0, 30.0], instrument="care", session=[2, 3, 5]),
        score_rows([1, 1, 2], [100.0, 200.0, 900.0], instrument="core_10", session=[3, 6, 3]),
    ]
    frame, facts, reason = mediation.chain_rows(mediation.Sessions(site_of(scores), options()), chain())
    assert not reason
    assert frame.to_dict("list") == {
        "client": [1, 1],
        "session": [1, 4],
        "from": [1.0, 3.0],
        "through": [10.0, 30.0],
        "to": [-100.0, -200.0],
    }
    assert facts["sources"]["to"] == "core_10.total (client, mean, turned)"
    same = mediation.chain_rows(mediation.Sessions(site_of(scores), options()), chain(lags=[1, 1], given=[{"construct": "motivation"}]))
    assert "motivation: the clients table has no column" in same[2]


def test_sessions_whose_dates_contradict_their_numbers_are_left_out():
    start = pd.Timestamp("2025-01-01")

    def backwards(session):
        days = np.where(session == 5, 0, session) * 7
        return [start + pd.Timedelta(days=int(day)) for day in days]

    straight, turned = simulated(clients=40, date=lambda session: [start + pd.Timedelta(days=int(one)) for one in session]), None
    turned = simulated(clients=40, date=backwards)
    found = [mediation.chain_rows(mediation.Sessions(site, options()), chain())[:2] for site in (straight, turned)]
    assert [facts["left_out_against_order"] for _, facts in found] == [0, len(found[0][0]) - len(found[1][0])]
    assert set(found[0][0]["session"]) - set(found[1][0]["session"]) == {3, 4}


def test_a_variable_of_clients_comes_before_the_sessions_it_leads_to():
    early = chain("2-1-1", **{"from": {"construct": "empathy", "window": "early"}})
    frame, facts, _ = mediation.chain_rows(mediation.Sessions(simulated(clients=40), options()), early)
    assert frame["session"].min() >= 5 and facts["left_out_against_order"] > 0


def test_links_within_one_session_are_called_concurrent():
    chosen = options({"same_session": chain(lags=[1, 0])})
    found = table([summary(simulated(), chosen)], chosen)
    for effect in ("b", "indirect"):
        row = one(found, "same_session", effect, "within")
        assert row["status"] == "flagged" and row["reason"].startswith("concurrent:") and "not causal" in row["reason"]
    for effect, level in (("a", "within"), ("total", "within"), ("indirect", "between")):
        assert one(found, "same_session", effect, level)["status"] == "estimated"
    assert any("concurrent" in sentence.text for sentence in mediation.methods(chosen, found))


def test_what_is_given_is_held_constant_between_clients():
    site = simulated(clients=600, therapists=60)
    chains = {"plain": chain("2-1-1", **{"from": {"construct": "clients.echo"}})}
    chains["held"] = chains["plain"] | {"given": [{"construct": "motivation"}]}
    echo = site.clients["motivation"] + 0.5 * np.random.default_rng(4).standard_normal(600)
    site = dataclasses.replace(site, clients=site.clients.assign(echo=echo))
    found = table([summary(site, options(chains))], options(chains))
    assert one(found, "plain", "a", "between")["estimate"] == pytest.approx(0.4, abs=0.1)
    row = one(found, "held", "a", "between")
    assert row["estimate"] == pytest.approx(0.0, abs=3.5 * row["std_error"])
    assert row["definition"] == "clients.echo -> alliance given motivation; clients' means over these sessions"


@pytest.mark.parametrize(
    ("site", "said"),
    [
        (
            lambda: site_of([score_rows([1, 2], [1.0, 2.0], instrument="wai_36", session=[1, 1])]),
            "empathy: no client-rated total score of care",
        ),
        (lambda: simulated(clients=8), "needs at least 10 clients with alliance at a session, empathy one session later and symptoms one"),
        (lambda: simulated(clients=40, sessions=3, missing=0.0), "sessions beyond the first of each client; has 0"),
        (
            lambda: dataclasses.replace(simulated(clients=20), published=Published(pd.DataFrame(), pd.DataFrame())),
            "publishes correlations only",
        ),
    ],
)
def test_what_is_missing_is_said_in_one_row_a_level(site, said):
    chosen = options({"through_empathy": chain()})
    found = table([summary(site(), chosen)], chosen)
    found = found[found["site"].ne(POOLED)]
    assert list(found["level"]) == ["between", "within"] and set(found["effect"]) == {"indirect"}
    assert set(found["status"]) == {"not_estimable"}
    assert all(text.startswith("not estimable: ") and said in text for text in found["reason"])


def test_sites_are_pooled_by_their_standardised_effects_and_summaries_give_the_same(tmp_path):
    chosen = options()
    summaries = [summary(simulated(f"s{number}", seed=number), chosen) for number in range(6)]
    missing = SiteSummary("s9", "path_models", "S9", status="excluded", reason="too few rows")
    for each in summaries:
        each.write(tmp_path / each.site)
    found = table([*summaries, missing], chosen)
    again = table([*(SiteSummary.read(tmp_path / each.site) for each in summaries), missing], chosen)
    pd.testing.assert_frame_equal(found, again, rtol=1e-12)
    pooled = found[found["site"].eq(POOLED)]
    assert set(pooled["interval"]) == {"random_effects"} and pooled["estimate_type"].str.endswith("_standardised").all()
    row = one(found, "through_empathy", "indirect", "within", "random_effects", True, POOLED)
    own = found[found["site"].ne(POOLED) & found["estimate_type"].eq("defined_standardised") & found["interval"].eq("delta")]
    own = own[own["model"].eq("through_empathy") & own["effect"].eq("indirect") & own["level"].eq("within")]
    weights = 1 / (own["std_error"] ** 2 + row["tau2"])
    assert row["n_sites"] == 6
    assert row["estimate"] == pytest.approx((weights * own["estimate"]).sum() / weights.sum(), abs=1e-6)
    absent = found[found["site"].eq("s9")]
    assert len(absent) == 3 and absent["reason"].str.contains("too few rows").all()
    cited = {key for sentence in mediation.methods(chosen, found) for key in sentence.citations}
    assert {"preacher_zyphur_zhang_2010", "kenny_korchmaros_bolger_2003", "mackinnon_2004", "viechtbauer_2005"} <= cited


def differing(site="a", clients=300, therapists=30, sessions=14, seed=2):
    """Return a site in which clients' slopes differ and go together: SD .4 of a and .4 of b, correlation .7, so covariance .112."""
    random = np.random.default_rng(seed)
    slopes = random.multivariate_normal([0.3, 0.3], [[0.16, 0.112], [0.112, 0.16]], clients)
    x, m, y = random.standard_normal((3, clients, sessions))
    m, y = 0.8 * m, 0.8 * y
    m[:, 1:] += slopes[:, :1] * x[:, :-1]
    y[:, 2:] += slopes[:, 1:] * m[:, 1:-1]
    client, session = np.repeat(np.arange(1, clients + 1), sessions), np.tile(np.arange(1, sessions + 1), clients)
    level, number = random.standard_normal((3, clients, 1)), (client - 1) % therapists + 1
    values = {"wai_36": 5 + x + level[0], "care": 30 + m + level[1], "core_10": 20 - y - level[2]}
    scores = [score_rows(client, one.ravel(), instrument=name, session=session, therapist_no=number) for name, one in values.items()]
    frame = pd.DataFrame({"client_no": np.arange(1, clients + 1)}).assign(
        therapist_no=lambda rows: (rows["client_no"] - 1) % therapists + 1
    )
    return site_of(scores, site, clients=frame.astype("Int64"))


SLOPES = "within_random_slopes"


def test_slopes_that_differ_between_clients_stand_beside_those_that_are_the_same():
    chosen = options({"through_empathy": chain()}, random_slopes=True)
    found = table([summary(differing(), chosen)], chosen)
    for effect, value in (
        ("a", 0.3),
        ("b", 0.3),
        ("direct", 0.0),
        ("ab_covariance", 0.112),
        ("indirect", 0.202),
        ("a_sd", 0.4),
        ("b_sd", 0.4),
    ):
        row = one(found, "through_empathy", effect, SLOPES)
        assert row["estimate"] == pytest.approx(value, abs=3.5 * row["std_error"]) and row["std_error"] < 0.05, effect
        assert row["method"] == "cluster_jackknife" and row["n_clients"] == 300 and row["n_therapists"] == 30
    fixed = one(found, "through_empathy", "indirect", "within")
    assert fixed["estimate"] == pytest.approx(0.09, abs=0.06) and fixed["definition"].endswith("symptoms (t+2)")
    assert one(found, "through_empathy", "indirect", SLOPES)["definition"].endswith("mean over clients, whose slopes differ")
    assert set(found.loc[found["effect"].eq("a_sd") & found["site"].ne(POOLED), "estimate_type"]) == {
        "slope_sd_unstandardised",
        "slope_sd_standardised",
    }
    text = " ".join(sentence.text for sentence in mediation.methods(chosen, found))
    assert "slopes that differ between them" in text and "taken as equal" not in text
    assert "bauer_preacher_gil_2006" in {key for sentence in mediation.methods(chosen, found) for key in sentence.citations}


def test_effects_of_differing_slopes_are_pooled_and_their_deviations_are_not():
    chosen = options({"through_empathy": chain()}, random_slopes=True)
    found = table([summary(differing(f"s{number}", 60, 12, seed=number), chosen) for number in range(3)], chosen)
    pooled = found[found["site"].eq(POOLED) & found["level"].eq(SLOPES)]
    assert set(pooled["effect"]) == {"a", "b", "direct", "indirect", "total", "ab_covariance"}
    row = one(found, "through_empathy", "ab_covariance", SLOPES, "random_effects", True, POOLED)
    assert row["n_sites"] == 3 and row["n_clients"] == 180 and 0 < row["estimate"] < 0.3


def test_too_few_sessions_for_differing_slopes_leave_the_other_rows():
    chosen = options({"through_empathy": chain()}, random_slopes=True)
    found = table([summary(simulated(sessions=5, missing=0.0), chosen)], chosen)
    found = found[found["site"].ne(POOLED)]
    assert one(found, "through_empathy", "indirect", "within")["status"] in ("estimated", "flagged")
    absent = found[found["level"].eq(SLOPES)]
    assert list(absent["effect"]) == ["indirect"] and set(absent["status"]) == {"not_estimable"}
    assert "at least 20 clients with 4 such sessions; has 0" in absent["reason"].iloc[0]
    text = " ".join(sentence.text for sentence in mediation.methods(chosen, found))
    assert "taken as equal over clients" in text


def test_chains_that_begin_with_clients_have_no_differing_slopes():
    chosen = options({"from_motivation": chain("2-1-1")}, random_slopes=True)
    found = table([summary(simulated(clients=40), chosen)], chosen)
    assert not found["level"].eq(SLOPES).any()


def test_the_order_of_rows_does_not_matter():
    site = simulated(clients=60)
    shuffled = dataclasses.replace(site, scores=site.scores.sample(frac=1, random_state=1).reset_index(drop=True))
    chosen = options(random_slopes=True)
    first, second = (table([summary(each, chosen)], chosen) for each in (site, shuffled))
    pd.testing.assert_frame_equal(first, second, rtol=1e-7)


def test_nothing_is_done_where_chains_are_switched_off():
    chosen = options({}, enabled=False)
    part = mediation.estimate(simulated(clients=20), chosen)
    assert part.rows == [] and mediation.pool(pd.DataFrame(), [], chosen).empty and mediation.methods(chosen, pd.DataFrame()) == []
