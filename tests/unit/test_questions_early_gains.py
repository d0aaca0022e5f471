"""Early gains: overlap of alliance and gain, items that describe improvement, change rules, and what sites lack."""

from __future__ import annotations

import copy
import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from alliance.instruments.registry import load_registry
from alliance.instruments.scoring import score
from alliance.questions import benchmarks
from alliance.questions.alliance_outcome import question as alliance_outcome
from alliance.questions.contract import POOLED, WITH_NUMBERS, faults
from alliance.questions.early_gains import question as early_gains
from alliance.questions.summary import SiteSummary
from simulated_site import OPTIONS, score_rows, site_of
from support import PROJECT
from test_questions_alliance_outcome import MATRIX, published, row, treated

COUNTED = {"reliable_change": 6, "cutoff": 15, "reliability": None}


def changed(**settings):
    options = copy.deepcopy(OPTIONS)
    options["questions"]["early_gains"] |= settings
    return options


FULL = changed(sudden_gain_points=4, change=COUNTED)


def tables_of(sites, options=FULL, absent=()):
    summaries = [early_gains.estimate(site, options, {}) for site in sites]
    summaries += [SiteSummary(name, "early_gains", status=status, reason="no client ids") for name, status in absent]
    return early_gains.pool(summaries, options, {"alliance_outcome/timing": timing_of(sites, options)})


TIMINGS = {}


def timing_of(sites, options):
    """Return the table of the other question that this one reads, once for sites of which this question alone asks again."""
    others = {name: settings for name, settings in options["questions"].items() if name != "early_gains"}
    asked = options | {"questions": others}
    key = tuple(map(id, sites)), json.dumps(asked, sort_keys=True)
    if key not in TIMINGS:
        summaries = [alliance_outcome.estimate(site, asked, {}) for site in sites]
        # The sites are kept, so that no other site gets their id.
        TIMINGS[key] = sites, alliance_outcome.pool(summaries, asked, {})["timing"]
    return TIMINGS[key][1].copy()


def sound(tables):
    assert list(tables) == list(early_gains.tables)
    for name, table in tables.items():
        assert faults(table, "early_gains", name) == [], name
    return tables


@pytest.fixture(scope="module")
def sites():
    return [treated(name, n=60 + 10 * seed, seed=seed, therapists=12) for seed, name in enumerate("abc")]


@pytest.fixture(scope="module")
def tables(sites):
    return sound(tables_of(sites))


BOTH = "intake and early symptoms"


def test_alliance_measured_inside_the_gain_window_is_flagged_where_the_gain_is_held_constant(tables):
    rows = tables["partial"][tables["partial"]["site"].ne(POOLED)]
    early = rows[rows["window"].eq("early") & rows["covariates"].eq(BOTH)]
    assert set(early["status"]) == {"flagged"}
    assert early["reason"].str.startswith("alliance measured inside the early-gain window (sessions 0 to 3)").all()
    assert set(rows.loc[rows["window"].eq("session_3"), "status"]) == {"estimated"}
    assert set(rows.loc[rows["covariates"].eq("intake"), "status"]) == {"estimated"}


def test_alliance_measured_inside_the_gain_window_is_refused_where_the_configuration_says_so(sites, tables):
    refused = sound(tables_of(sites, changed(sudden_gain_points=4, change=COUNTED, refuse_overlap=True)))["partial"]
    early = refused[refused["window"].eq("early") & refused["covariates"].eq(BOTH) & refused["site"].ne(POOLED)]
    assert set(early["status"]) == {"not_estimable"}
    assert early["reason"].str.startswith("not estimable: alliance measured inside the early-gain window").all()
    others = ~(refused["window"].eq("early") & refused["covariates"].eq(BOTH))
    pd.testing.assert_frame_equal(refused[others], tables["partial"][others], check_exact=True)


IMPROVEMENT = [1, 2, 3, 4, 5, 9]


def haq_site(site, seed, improvement_items):
    """Return a site that rated HAq-I in session 3, its scores by the registry's rules, with the items of improvement set; and the items."""
    n, random = 60, np.random.default_rng(seed)
    base = load_registry([PROJECT / "workflow" / "instruments"])["haq_1"]
    instrument = base.model_copy(update={"improvement_items": list(improvement_items), "verified_by": "A. Checker"})
    level, severity = random.standard_normal(n), random.standard_normal(n)
    items = np.clip(np.round(3.5 + level[:, None] + random.standard_normal((n, instrument.n_items))), 1, 6).astype(int)
    client = np.arange(1, n + 1)
    common = {"client_no": client, "therapist_no": client % 12 + 1}
    ratings = pd.DataFrame(
        {"site": site, "client_id": [f"h{one}" for one in client], **common, "therapist_id": "t", "timepoint": "session", "session": 3}
        | {"date": pd.NaT, "rater": "client", "rater_no": 1}
        | {f"i{number + 1}": pd.array(items[:, number], dtype="Int8") for number in range(instrument.n_items)}
    )
    post = 15 + 4 * severity - 3 * level + 3 * random.standard_normal(n)
    scores = [
        score(ratings, instrument),
        score_rows(client, 20 + 5 * severity, instrument="core_10", timepoint="intake", therapist_no=common["therapist_no"]),
        score_rows(client, post, instrument="core_10", timepoint="post", therapist_no=common["therapist_no"]),
    ]
    clients = pd.DataFrame(common).astype("Int64")
    one = site_of(scores, site, clients=clients)
    return dataclasses.replace(one, instruments={**one.instruments, "haq_1": instrument}), items


def test_haq_1_is_related_to_outcome_with_and_without_its_items_that_describe_improvement():
    options = copy.deepcopy(FULL)
    options["alliance"]["instruments"] = ["haq_1"]
    made = [haq_site(name, seed, IMPROVEMENT) for seed, name in enumerate("ab")]
    partial = sound(tables_of([site for site, _ in made], options))["partial"]
    for site, items in made:
        others = [number for number in range(items.shape[1]) if number + 1 not in IMPROVEMENT]
        levels = site.scores[site.scores["instrument"].eq("core_10")].sort_values("client_no")
        post, intake = (levels.loc[levels["timepoint"].eq(time), "score"].to_numpy() for time in ("post", "intake"))
        for kept, columns in (("as_scored", range(items.shape[1])), ("without_improvement", others)):
            total = items[:, list(columns)].sum(axis=1)
            r = np.corrcoef([total, -post, -intake])
            expected = (r[0, 1] - r[0, 2] * r[1, 2]) / np.sqrt((1 - r[0, 2] ** 2) * (1 - r[1, 2] ** 2))
            keys = {"site": site.site, "window": "session_3", "covariates": "intake", "estimate_type": "partial_correlation"}
            assert row(partial, items=kept, **keys)["estimate"] == pytest.approx(expected, rel=1e-9), kept
    plain = sound(tables_of([haq_site("a", 0, [])[0]], options))["partial"]
    assert set(plain["items"]) == {"as_scored"}
    # The total without them is no alliance measure of its own among the correlations with outcomes.
    effects = alliance_outcome.estimate(made[0][0], options, {}).estimates
    assert "total_without_improvement" not in set(effects["alliance_scale"])


def test_sites_without_items_that_describe_improvement_have_no_row_without_them(tables):
    assert set(tables["partial"]["items"]) == {"as_scored"}


def test_hypotheses_speak_for_or_against_by_their_interval_only(tables):
    rows = tables["hypotheses"]
    assert set(rows["hypothesis"]) == {"a", "b", "c"}
    assert rows.groupby("hypothesis")["statement"].nunique().eq(1).all()
    tested = rows[rows["status"].isin(WITH_NUMBERS) & rows["ci_low"].notna()]
    for one in tested[tested["hypothesis"].eq("b")].to_dict("records"):
        expected = "supports" if one["ci_high"] < 0 else "contradicts" if one["ci_low"] > 0 else "undecided"
        assert one["decision"] == expected
    third = tested[tested["hypothesis"].eq("c")]
    assert (third["decision"].eq("contradicts") == third["ci_low"].gt(0)).all()
    assert not third["decision"].eq("supports").any()
    parts = tested[tested["hypothesis"].eq("a") & ~tested["group"].str.contains(" - ")]
    assert set(parts["decision"]) == {""}


def test_shares_are_squares_of_the_correlations_and_start_at_zero_where_the_interval_holds_it(tables):
    keys = ["window", "items", "covariates", "site"]
    rows = tables["partial"].set_index(keys)
    for correlation, share in early_gains.SQUARES.items():
        r, squared = (rows[rows["estimate_type"].eq(kind)] for kind in (correlation, share))
        squared = squared.loc[r.index]
        assert squared["estimate"].tolist() == pytest.approx((r["estimate"] ** 2).tolist())
        crossing = r["ci_low"].le(0) & r["ci_high"].ge(0)
        assert squared.loc[crossing, "ci_low"].eq(0).all()
        assert (squared["ci_low"] <= squared["estimate"]).all() and (squared["estimate"] <= squared["ci_high"]).all()


def test_change_needs_a_rule_and_says_where_it_comes_from(sites):
    none = sound(tables_of(sites, changed()))
    change = none["change_categories"]
    assert change.loc[change["site"].ne(POOLED), "reason"].str.contains("set reliable_change or reliability under").all()
    sudden = none["sudden_gains"]
    assert sudden.loc[sudden["site"].ne(POOLED), "reason"].str.contains("needs reliable change of core_10").all()
    instruments = {**sites[0].instruments, "core_10": SimpleNamespace(**vars(sites[0].instruments["core_10"]))}
    instruments["core_10"].change = SimpleNamespace(reliable=6, cutoff=11)
    known = [dataclasses.replace(site, instruments=instruments) for site in sites]
    published_rule = sound(tables_of(known, changed()))["change_categories"]
    rules = set(published_rule.loc[published_rule["site"].eq("a"), "rule"])
    assert rules == {"core_10.total (client, sum, turned): reliable change 6 (published for core_10), cut-off 11"}
    own = sound(tables_of(known, changed(change={**COUNTED, "reliable_change": 5})))["change_categories"]
    assert "reliable change 5 (the configuration), cut-off 15" in own.loc[own["site"].eq("a"), "rule"].iloc[0]
    by_sd = sound(tables_of(sites, changed(change={"reliable_change": None, "cutoff": 15, "reliability": 0.9})))["change_categories"]
    assert "SD of this sample at intake, reliability 0.9 of the configuration" in by_sd.loc[by_sd["site"].eq("a"), "rule"].iloc[0]


def test_shares_of_all_categories_add_up_to_everybody(tables):
    change = tables["change_categories"]
    for _, rows in change[change["site"].ne(POOLED)].groupby(["site", "denominator"]):
        assert rows["estimate"].sum() == pytest.approx(1)
        assert rows["n_clients"].nunique() == 1


def test_what_a_site_lacks_is_said_in_every_table(sites):
    whole = sites[0]
    no_outcome = dataclasses.replace(whole, site="n", scores=whole.scores[whole.scores["timepoint"].ne("post")])
    no_sessions = dataclasses.replace(whole, site="s", scores=whole.scores[whole.scores["timepoint"].ne("session")])
    found = sound(tables_of([whole, no_outcome, no_sessions]))
    partial, sudden = found["partial"], found["sudden_gains"]
    assert set(partial.loc[partial["site"].eq("n"), "reason"]) == {"not estimable: no client-rated total score of core_10, ors at post"}
    assert partial.loc[partial["site"].eq("s"), "reason"].str.contains("no client-rated total score of wai_36, haq_2").all()
    assert set(sudden.loc[sudden["site"].eq("s"), "reason"]) == {"not estimable: needs client-rated symptoms (core_10) in sessions"}
    change = found["change_categories"]
    assert set(change.loc[change["site"].eq("n"), "reason"]) == {"not estimable: no client-rated total score of core_10, ors at post"}


def test_few_clients_few_therapists_one_site_and_none_give_sound_tables(sites):
    sound(tables_of([treated("a", n=8, therapists=3), treated("b", n=9, therapists=3)]))
    few = sound(tables_of([treated("a", n=60, therapists=3), treated("b", n=60, therapists=4, seed=2)]))["partial"]
    assert few["reason"].str.contains("clients taken as independent").any()
    sound(tables_of(sites[:1]))
    for nobody in ([], [site_of([], "a"), site_of([], "b")]):
        found = sound(tables_of(nobody))
        assert "could not be judged" in early_gains.methods(FULL, found)[0].text


def test_published_summaries_cannot_answer_and_absent_sites_are_named(sites, tables):
    found = sound(tables_of([*sites, published("p", MATRIX)], absent=(("x", "excluded"), ("y", "missing"))))
    for name, table in found.items():
        kept = table[table["site"].isin(["a", "b", "c", POOLED])].reset_index(drop=True)
        pd.testing.assert_frame_equal(kept, tables[name], check_exact=True)
    assert set(found["partial"].loc[found["partial"]["site"].eq("x"), "reason"]) == {"site left out: no client ids"}
    assert "published summaries only" in early_gains.estimate(published("p", MATRIX), FULL, {}).facts["reason"]


def test_order_of_sites_clients_and_scores_changes_nothing(sites, tables):
    def turned(frame):
        return frame.iloc[::-1].reset_index(drop=True)

    again = tables_of([dataclasses.replace(one, scores=turned(one.scores), clients=turned(one.clients)) for one in reversed(sites)])
    for name, table in tables.items():
        pd.testing.assert_frame_equal(again[name], table, check_exact=True)


def test_summaries_written_and_read_again_give_the_same_tables(sites, tables, tmp_path):
    timing = timing_of(sites, FULL)
    read = []
    for site in sites:
        early_gains.estimate(site, FULL, {}).write(tmp_path / site.site)
        read.append(SiteSummary.read(tmp_path / site.site))
    again = early_gains.pool(read, FULL, {"alliance_outcome/timing": timing})
    for name, table in tables.items():
        pd.testing.assert_frame_equal(again[name], table, check_exact=True)


def test_published_figures_stand_beside_the_rows_they_speak_to_and_no_others(tables):
    figures = benchmarks.read(PROJECT / "workflow" / "benchmarks.yaml")
    filled = {name: benchmarks.fill(table, figures, "early_gains", name) for name, table in tables.items()}
    assert {name: set(table["claim"]) - {""} for name, table in filled.items()} == {
        "partial": {"E3"},
        "hypotheses": {"E1", "E2", "E3"},
        "sudden_gains": {"E6"},
        "change_categories": set(),
    }
    beside = filled["partial"][filled["partial"]["claim"].eq("E3")]
    assert set(zip(beside["estimate_type"], beside["covariates"])) == {("share_of_rest", BOTH)}
    assert set(filled["hypotheses"].loc[filled["hypotheses"]["claim"].eq("E2"), "hypothesis"]) == {"b"}
    for name, table in filled.items():
        assert faults(table, "early_gains", name) == [], name


def test_the_alliance_around_sudden_gains_stands_beside_that_of_clients_without_one_and_what_it_rests_on(tables):
    around = tables["sudden_gains"][tables["sudden_gains"]["estimate_type"].eq("mean_difference")]
    known = around[around["status"].isin(("estimated", "flagged"))]
    sites = known[known["site"].ne(POOLED)]
    assert len(sites) and (sites["mean_gain"] - sites["mean_without"]).to_numpy() == pytest.approx(sites["estimate"].to_numpy())
    for pooled in known[known["site"].eq(POOLED)].itertuples():
        own = sites[sites["statistic"].eq(pooled.statistic) & sites["std_error"].notna()]
        assert pooled.n_gains == own["n_gains"].sum() and pooled.n_without == own["n_without"].sum()
        assert pooled.mean_gain == pytest.approx(np.average(own["mean_gain"], weights=own["n_gains"]))
    assert around.loc[~around["status"].isin(("estimated", "flagged")), ["mean_gain", "mean_without"]].isna().all(axis=None)
