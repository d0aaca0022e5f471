"""Invariance of alliance measures over sites, languages, raters and sessions: rows, reasons, and what may be compared."""

from __future__ import annotations

import copy
import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from alliance.instruments.registry import load_registry
from alliance.questions import effects
from alliance.questions.contract import POOLED, faults, finish
from alliance.questions.correlations import variances
from alliance.questions.item_moments import item_block, main_window, published_blocks, rows_of_items
from alliance.questions.measurement import invariance as measurement_invariance
from alliance.questions.measurement.invariance import theory_factors
from alliance.questions.measurement.invariance_rows import may_compare
from alliance.questions.moments import COLUMNS
from alliance.questions.part import stacked
from alliance.questions.site_data import Published, SiteData
from alliance.questions.summary import SiteSummary
from alliance.sites.summaries import _row_like
from alliance.statistics.resampling import generator
from simulated_site import OPTIONS
from support import PROJECT

INSTRUMENTS = load_registry([PROJECT / "workflow" / "instruments"])
WAI = INSTRUMENTS["wai_s"]
FACTOR_OF = {item: place for place, items in enumerate(theory_factors(WAI).values()) for item in items}


def ratings(name, n, raters=("client", "therapist"), sessions=(3, 6), mean=0.0, intercepts=(), items=12, correlation=0.5):
    """Return forms of the short Working Alliance Inventory; ``intercepts`` are (rater, item, change)."""
    random = generator(1, "invariance", name)
    shift = {(rater, item): change for rater, item, change in intercepts}
    root = np.linalg.cholesky(np.full((3, 3), correlation) + (1 - correlation) * np.eye(3))
    client, own = random.standard_normal((n, 3)) @ root.T, 0.3 * random.standard_normal((n, 12))
    frames = []
    for rater in raters:
        for session in sessions:
            factors = mean + 0.7 * client + 0.7 * random.standard_normal((n, 3)) @ root.T
            answers = {}
            for item in range(1, items + 1):
                level = 4 + shift.get((rater, item), 0.0)
                value = level + 0.8 * factors[:, FACTOR_OF[item]] + own[:, item - 1] + 0.6 * random.standard_normal(n)
                value = np.clip(np.round(value), 1, 7)
                answers[f"i{item}"] = 8 - value if item in WAI.reverse else value
            frame = pd.DataFrame(answers)
            places = {"client_no": np.arange(1, n + 1), "therapist_no": np.arange(n) % 20 + 1, "session": session}
            frames.append(frame.assign(**places, timepoint="session", rater=rater, rater_no=1))
    table = pd.concat(frames, ignore_index=True)
    return table.astype({"client_no": "Int64", "therapist_no": "Int64", "session": "Int64"})


def site_of(name, language="de", n=150, **settings):
    rows = ratings(name, n, **settings)
    sessions = pd.DataFrame({"client_no": np.repeat(np.arange(1, n + 1), 8), "session": np.tile(np.arange(1, 9), n), "attended": True})
    sessions = sessions.astype({"client_no": "Int64", "session": "Int64"})
    clients = rows[["client_no", "therapist_no"]].drop_duplicates()
    frames = {"clients": clients, "sessions": sessions, "facts": {"language": language}}
    return SiteData(site=name, label=name, instruments=INSTRUMENTS, ratings={"wai_s": rows}, **frames)


def summary_of(site, options=OPTIONS):
    """Return a site's summary with the blocks of items that the question on structure sends."""
    part = measurement_invariance.estimate(site, options)
    rows = [{**row, "model": "invariance"} for row in part.rows]
    window, least = main_window(options), options["pooling"]["min_clients"]
    blocks = [item_block(one, window, least) for one in rows_of_items(site, options, ("alliance",), window)]
    if site.published is not None:
        blocks.append(published_blocks(site.published, site.instruments, window, least))
    return SiteSummary(
        site.site,
        "measurement",
        facts={"language": site.facts.get("language"), "invariance": part.facts},
        moments=stacked([*blocks, part.moments], COLUMNS),
        estimates=pd.DataFrame(rows),
        vcov=variances(rows, part.variances),
    )


def table_of(summaries, options=OPTIONS):
    gathered = effects.gather(summaries).reset_index(drop=True)
    table = finish(measurement_invariance.pool(gathered, sorted(summaries, key=lambda one: one.site), options), "measurement", "invariance")
    assert faults(table, "measurement", "invariance") == []
    return table


def changed(**settings):
    options = copy.deepcopy(OPTIONS)
    options["questions"]["measurement"]["invariance"] |= settings
    return options


def only(across):
    return changed(across=[across])


@pytest.fixture(scope="module")
def summaries():
    sites = [
        site_of("a", n=160),
        site_of("b", n=120, mean=0.3),
        site_of("c", language="en", n=200, intercepts=[("client", 5, 1.2)]),
        site_of("d", language="en", n=20, raters=("client",)),
    ]
    return [*map(summary_of, sites), SiteSummary("e", "measurement", status="excluded", reason="no client ids")]


@pytest.fixture(scope="module")
def table(summaries):
    return table_of(summaries)


def rows_of(table, **keys):
    for name, value in keys.items():
        table = table[table[name].eq(value)]
    return table


def test_every_step_has_its_fit_its_differences_and_a_decision(table):
    rows = rows_of(table, across="sites", rater="therapist", site=POOLED, groups="c, a, b")
    for model in ("configural", "metric", "scalar", "strict"):
        own = rows_of(rows, model=model)
        assert set(rows_of(own, estimate_type="fit_index")["index"]) == {"chi2", "df", "p_value", "cfi", "rmsea", "srmr"}
        rmsea = rows_of(own, estimate_type="fit_index", index="rmsea")
        assert rmsea["ci_low"].item() <= rmsea["estimate"].item() <= rmsea["ci_high"].item()
        assert set(own.loc[own["index"].ne("may_compare"), "decision"]) == {"holds"}
        if model != "configural":
            assert set(rows_of(own, estimate_type="fit_difference")["index"]) == {"cfi", "rmsea", "srmr"}
            assert set(rows_of(own, estimate_type="chi2_difference")["index"]) == {"chi2", "df", "p_value"}
    chi2 = rows_of(rows, estimate_type="fit_index", index="chi2").set_index("model")["estimate"]
    difference = rows_of(rows, estimate_type="chi2_difference", index="chi2", model="metric")["estimate"].item()
    assert difference == pytest.approx(chi2["metric"] - chi2["configural"])
    assert set(rows["n_clients"].dropna()) == {480} and set(rows["n_sites"].dropna()) == {3}
    assert set(rows["method"]) == {"multiple_groups"}


def test_a_planted_intercept_is_freed_and_told(table):
    rows = rows_of(table, across="sites", rater="client", model="partial_scalar")
    assert rows_of(rows, index="freed intercepts")["estimate"].item() == 1
    assert rows_of(rows, estimate_type="score_test")["index"].tolist() == ["intercept of i5"]
    values = rows_of(rows, estimate_type="intercept").set_index("site")["estimate"]
    assert values["c"] - values["a"] == pytest.approx(1.2, abs=0.35)
    assert may_compare(table, "wai_s", "sites", "client") == (
        "correlations and means of factors may be compared with caution; means of observed scores may not"
    )
    assert "also of observed scores" in may_compare(table, "wai_s", "sites", "therapist")
    assert may_compare(table, "wai_s", "sites").startswith("client: correlations and means of factors")
    decision = rows_of(table, across="sites", rater="client", index="may_compare")
    assert decision["status"].item() == "flagged"
    assert decision["reason"].item() == ("1 of 12 items differ (i5); left out: d (needs 36 clients who answered all 12 items; has 20)")


def test_means_stand_with_their_sites_against_the_largest(table):
    rows = rows_of(table, across="sites", rater="therapist", estimate_type="latent_mean", model="scalar")
    means = rows.pivot(index="site", columns="index", values="estimate")
    assert means.loc["c"].tolist() == [0.0, 0.0, 0.0]
    assert rows_of(rows, site="c")["reason"].str.startswith("reference: mean 0, SD 1").all()
    assert (means.loc["b"] > means.loc["a"]).all()
    assert rows_of(rows, site="b")["std_error"].between(0.05, 0.25).all()
    assert set(rows_of(rows, site="b")["n_clients"]) == {120}
    left_out = rows_of(table, across="sites", estimate_type="latent_mean", site="d")
    assert left_out["reason"].tolist() == ["not estimable: needs 36 clients who answered all 12 items; has 20"]
    absent = rows_of(table, across="sites", site="e")
    assert absent["reason"].tolist() == ["not estimable: site left out: no client ids"]


def test_sites_of_a_language_are_taken_together(table, summaries):
    rows = rows_of(table, across="languages", rater="therapist")
    assert set(rows_of(rows, estimate_type="fit_index")["groups"]) == {"de, en"}
    assert rows_of(rows, index="may_compare")["n_clients"].item() == 480
    assert rows_of(rows, index="may_compare")["n_sites"].item() == 3
    languages = rows_of(rows, estimate_type="latent_mean")
    assert set(languages["groups"]) == {"de", "en"} and set(languages["site"]) == {POOLED}
    alone = table_of(summaries[1:3], only("languages"))
    reason = "every language is one site: differences of languages and of sites can't be told apart"
    assert reason in rows_of(alone, across="languages", index="may_compare", rater="therapist")["reason"].item()


def test_one_site_as_a_language_gives_what_the_site_gives(summaries):
    languages, sites = (rows_of(table_of(summaries[1:3], only(across)), across=across) for across in ("languages", "sites"))
    one, other = (rows_of(table, estimate_type="fit_index", site=POOLED, status="estimated") for table in (languages, sites))
    assert len(one) > 36 and one["model"].tolist() == other["model"].tolist()
    assert one["estimate"].to_numpy() == pytest.approx(other["estimate"].to_numpy(), rel=1e-7, abs=1e-9)


def test_raters_of_the_same_sessions_are_compared_at_sites_and_over_them(table):
    rows = rows_of(table, across="raters", rater="client, therapist", form="WAI-S-C, WAI-S-T")
    assert {"a", "b", "c", POOLED} == set(rows["site"])
    assert set(rows_of(rows, site="a", estimate_type="fit_index")["method"]) == {"maximum_likelihood"}
    assert set(rows_of(rows, site=POOLED, index="may_compare")["method"]) == {"pooled_covariance"}
    assert rows_of(rows, site="c", estimate_type="score_test")["index"].tolist() == ["intercept of i5"]
    assert set(rows_of(rows, site="a")["n_sessions"].dropna()) == {160} and set(rows_of(rows, site="a")["n_therapists"].dropna()) == {20}
    assert rows_of(rows, site="a", groups="client", estimate_type="latent_mean")["estimate"].tolist() == [0.0] * 3
    assert rows_of(rows, site="a", groups="therapist", estimate_type="latent_mean")["std_error"].notna().all()
    one = rows_of(table, across="raters", site="d")
    assert one["reason"].tolist() == ["not estimable: needs two raters of the same sessions; has client only"]


def test_sessions_compare_the_first_two_windows(table):
    rows = rows_of(table, across="sessions", rater="client", window="session_3, late")
    assert set(rows_of(rows, estimate_type="fit_index", status="estimated")["groups"]) == {"session_3, late"}
    assert {"a", "b", "c", "d", POOLED} == set(rows["site"])
    assert set(rows_of(rows, site="a")["n_sessions"].dropna()) == {320}
    reason = "not estimable: needs 72 clients with a form in both windows who have answers to all items; has 20"
    assert rows_of(rows, site="d")["reason"].tolist() == [reason]
    assert rows_of(rows, site=POOLED, estimate_type="fit_index")["n_sites"].dropna().eq(4).all()


def test_a_form_is_not_compared_with_itself_where_windows_overlap():
    site = site_of("a", n=120, raters=("client",), sessions=(3,))
    sessions = site.sessions[site.sessions["session"].le(4)]
    short = SiteData(**{**vars(site), "sessions": sessions})
    rows = measurement_invariance.estimate(short, only("sessions")).rows
    assert [row["reason"] for row in rows] == [
        "not estimable: needs 72 clients with a form in both windows who have answers to all items; has 0"
    ]


def test_the_first_session_that_both_rated_counts(monkeypatch):
    options = changed(across=["raters"])
    options["questions"]["measurement"]["windows"] = ["early"]
    site = site_of("a", n=100, sessions=(2, 4))
    rows = site.ratings["wai_s"]
    late = rows["rater"].eq("therapist") & rows["session"].eq(2) & rows["client_no"].le(30)
    site = SiteData(**{**vars(site), "ratings": {"wai_s": rows[~late]}})
    moments = measurement_invariance.estimate(site, options).moments
    expected = []
    for rater in ("client", "therapist"):
        own = rows[rows["rater"].eq(rater)].sort_values("client_no")
        chosen = own[(own["client_no"].le(30) & own["session"].eq(4)) | (own["client_no"].gt(30) & own["session"].eq(2))]
        expected.append(chosen["i1"].mean())
    means = moments.drop_duplicates("var1").set_index("var1")["mean1"]
    assert [means["i1.client"], means["i1.therapist"]] == pytest.approx(expected)
    assert set(moments["n"]) == {100}


def test_order_of_sites_and_rows_changes_nothing(table, summaries):
    pd.testing.assert_frame_equal(table_of(summaries[::-1]), table, check_exact=True)
    site = site_of("a", n=160)
    shuffled = site.ratings["wai_s"].sample(frac=1, random_state=1).reset_index(drop=True)
    other = summary_of(SiteData(**{**vars(site), "ratings": {"wai_s": shuffled}}))
    pd.testing.assert_frame_equal(other.estimates, summaries[0].estimates, check_exact=True)


def test_one_group_is_not_enough(summaries):
    table = table_of([summaries[0], summaries[3]], changed(across=["sites", "languages"]))
    reason = rows_of(table, across="sites", site=POOLED, rater="client")["reason"].item()
    assert reason == "not estimable: needs two sites with at least 36 clients who answered all 12 items; has a (160), d (20)"
    assert rows_of(table, across="languages", rater="therapist")["reason"].item().endswith("has de (160)")
    assert may_compare(table, "wai_s", "sites", "client") == f"means may not be compared: invariance was not tested ({reason})"
    assert may_compare(table, "haq_2", "sites") == "means may not be compared: invariance was not tested (no such measure)"


def test_a_site_without_its_language_is_left_out_of_the_comparison_of_languages(summaries):
    unknown = summary_of(site_of("x", language=None, n=140))
    table = table_of([*summaries[:3], unknown], only("languages"))
    assert "x (needs its language in site.yaml)" in rows_of(table, across="languages", index="may_compare", rater="client")["reason"].item()


def test_more_items_than_clients_is_told_before_anything_is_fitted():
    table = table_of([summary_of(site_of("a", n=11)), summary_of(site_of("b", n=11))])
    assert set(table["status"]) == {"not_estimable"}
    assert rows_of(table, across="sites", site=POOLED, rater="client")["reason"].item().endswith("has a (11), b (11)")
    assert table["reason"].str.startswith("not estimable: needs").all()


def test_sites_without_items_of_an_alliance_measure_have_their_rows():
    bare = SiteData(site="z", label="z", instruments=INSTRUMENTS, ratings={})
    table = table_of([summary_of(site_of("a")), summary_of(bare)])
    reasons = rows_of(table, site="z").set_index("across")["reason"]
    assert set(reasons.index) == {"sites", "raters", "sessions"}
    assert set(reasons) == {"not estimable: needs answers to the items of an alliance instrument; has none"}


def test_no_site_at_all_gives_rows_that_say_so():
    table = table_of([SiteSummary("e", "measurement", status="missing", reason="not sent")])
    assert set(table["status"]) == {"not_estimable"}
    assert measurement_invariance.methods(OPTIONS, table) == []


def test_items_that_are_missing_at_a_site_leave_it_out(summaries):
    table = table_of([*summaries[:2], summary_of(site_of("x", n=150, items=11))], only("sites"))
    reasons = rows_of(table, across="sites", site="x", rater="client")["reason"].tolist()
    assert reasons == ["not estimable: needs all 12 items; without i12"]


def published(scale, means=True):
    forms = site_of("p", n=180)
    answers = next(one for one in rows_of_items(forms, OPTIONS, ("alliance",), "session_3") if one.answers.rater == "client")
    names = [f"wai_s.{item}.client" for item in answers.names]
    matrix = np.corrcoef(answers.values, rowvar=False) if scale == "correlation" else np.cov(answers.values, rowvar=False)
    first, second = np.triu_indices(12)
    mean = answers.values.mean(axis=0) if means else np.full(12, np.nan)
    moments = pd.DataFrame({"block": "m", "level": "client", "var1": np.array(names)[first], "var2": np.array(names)[second]})
    moments = moments.assign(n=180, mean1=mean[first], mean2=mean[second], cov=matrix[first, second], method=scale)
    site = SiteData(site="p", label="p", instruments=INSTRUMENTS, published=Published(moments, pd.DataFrame()), facts={"language": "de"})
    return summary_of(site), summary_of(forms)


def test_a_published_covariance_matrix_gives_what_rows_give(summaries):
    from_matrix, from_rows = (table_of([summaries[0], one], only("sites")) for one in published("covariance"))
    one, other = (rows_of(table, rater="client", estimate_type="fit_index", site=POOLED)["estimate"] for table in (from_matrix, from_rows))
    assert one.to_numpy() == pytest.approx(other.to_numpy(), rel=1e-9) and len(one) == 24


@pytest.mark.parametrize(
    ("scale", "means", "reason"),
    [
        ("correlation", True, "needs covariances and means of the items; has correlations"),
        ("covariance", False, "needs the means of the items; has covariances only"),
    ],
)
def test_matrices_that_do_not_suffice_are_told(summaries, scale, means, reason):
    table = table_of([*summaries[:2], published(scale, means)[0]], only("sites"))
    assert rows_of(table, site="p", rater="client", estimate_type="latent_mean")["reason"].tolist() == [f"not estimable: {reason}"]


def test_factors_that_cannot_be_told_apart_give_way_to_one():
    sites = [site_of(name, n=60, correlation=0.9999) for name in "abc"]
    table = table_of([summary_of(site) for site in sites], only("sites"))
    rows = rows_of(table, rater="client", model="configural", estimate_type="fit_index", site=POOLED)
    assert set(rows["status"]) == {"flagged"}
    assert rows["reason"].str.startswith("one factor of all items in place of task, bond, goal, which have no admissible solution").all()
    assert rows_of(rows, index="df")["estimate"].item() == 3 * 54


def test_a_site_without_an_admissible_solution_is_left_out(summaries):
    site = site_of("x", n=150)
    rows = site.ratings["wai_s"]
    constant = summary_of(SiteData(**{**vars(site), "ratings": {"wai_s": rows.assign(i3=4)}}))
    assert not constant.moments["block"].str.startswith("raters:").any()
    table = table_of([*summaries[:2], constant], only("sites"))
    assert rows_of(table, site="x", across="sites", rater="client")["reason"].tolist() == [
        "not estimable: no admissible solution: 'i3' does not vary"
    ]
    own = rows_of(table, across="sites", rater="client", site=POOLED, estimate_type="fit_index", model="configural")
    assert set(own["groups"]) == {"a, b"} and rows_of(own, index="df")["estimate"].item() == 102
    alone = table_of([summaries[0], constant], only("sites"))
    reason = rows_of(alone, across="sites", rater="client", site=POOLED)["reason"].item()
    assert reason.startswith("not estimable: needs two sites") and reason.endswith("no admissible solution: 'i3' does not vary")


def test_forms_are_named_though_a_site_lacks_a_rater(summaries):
    table = table_of([summaries[3], *summaries[:2]], only("sites"))
    assert set(rows_of(table, across="sites", rater="therapist")["form"]) == {"WAI-S-T"}


def test_many_sites_are_named_by_their_number_and_stay_below_the_limit(monkeypatch):
    monkeypatch.setattr(measurement_invariance, "MOST_PARAMETERS", 39 * 12)
    found = [summary_of(site_of(f"s{number:02d}", n=60 + number), changed(across=["sites"])) for number in range(14)]
    table = table_of(found, only("sites"))
    rows = rows_of(table, rater="client", index="may_compare")
    assert rows["groups"].item() == "12 sites, reference s13"
    assert rows["estimate"].item() == 12
    shares = rows_of(table, rater="client", model="alignment").set_index("index")["estimate"]
    assert set(shares.index) == {"loadings", "intercepts"} and shares.le(0.1).all()
    cited = {key for one in measurement_invariance.methods(OPTIONS, table) for key in one.citations}
    assert "asparouhov_muthen_2014" in cited
    reason = "not estimable: more than 12 groups: those with most clients are compared"
    assert rows_of(table, rater="client", site="s00")["reason"].tolist() == [reason]


def test_facts_hold_nothing_that_could_be_rows_of_clients(summaries):
    for one in summaries[:4]:
        facts = json.loads(json.dumps(one.facts))
        for size in (11, 12, 20, 160):
            assert list(_row_like(facts, {size})) == []
        names = {name for name in one.moments["block"] if not name.startswith("items:")}
        assert all(rows["n"].min() >= OPTIONS["pooling"]["min_clients"] for name, rows in one.moments.groupby("block") if name in names)


def test_summaries_are_written_and_read_back(summaries, tmp_path):
    summaries[0].write(tmp_path)
    back = SiteSummary.read(tmp_path)
    others = [one for one in summaries if one.site != summaries[0].site]
    pd.testing.assert_frame_equal(table_of([back, *others]), table_of(summaries), check_exact=True)


@pytest.mark.parametrize(
    ("instrument", "expected"),
    [
        ("wai_s", {"task": [1, 2, 8, 12], "bond": [3, 5, 7, 9], "goal": [4, 6, 10, 11]}),
        ("srs", {"total": [1, 2, 3, 4]}),
        ("wai_36", None),
    ],
)
def test_factors_of_the_theory(instrument, expected):
    found = theory_factors(INSTRUMENTS[instrument])
    assert found == expected if expected else [len(items) for items in found.values()] == [12, 12, 12]


def test_the_methods_say_what_was_done(table):
    sentences = measurement_invariance.methods(OPTIONS, table)
    text = " ".join(one.text for one in sentences)
    assert "over sites, languages, raters and sessions" in text
    assert "CFI fell by 0.010 or more and RMSEA rose by 0.015 or more or SRMR by 0.030 (loadings) or 0.010" in text
    assert "in at most 20% of the items" in text
    cited = {key for one in sentences for key in one.citations}
    bibliography = (PROJECT / "workflow" / "references.bib").read_text(encoding="utf-8")
    assert all(f"{{{key}," in bibliography for key in cited) and "chen_2007" in cited


def test_numbers_of_clients_are_those_who_answered_all_items(summaries):
    site = site_of("a", n=160)
    rows = site.ratings["wai_s"].copy()
    rows["i1"] = rows["i1"].astype(float)
    rows.loc[rows["client_no"].le(10), "i1"] = np.nan
    part = measurement_invariance.estimate(SiteData(**{**vars(site), "ratings": {"wai_s": rows}}), OPTIONS)
    assert part.facts["clients"] == {"wai_s:client": 150, "wai_s:therapist": 150}
    own = [row for row in part.rows if row["across"] == "raters" and row["status"] != "not_estimable"]
    assert {row["n_clients"] for row in own} == {150}
    assert {row["share_missing"] for row in own} == {10 / 160}


def test_every_number_tells_its_therapists(table, summaries):
    estimated = table[table["status"].ne("not_estimable")]
    sites = rows_of(estimated, across="sites")
    assert set(rows_of(sites, site=POOLED)["n_therapists"]) == {60} and set(sites[sites["site"].ne(POOLED)]["n_therapists"]) == {20}
    languages = rows_of(estimated, across="languages", rater="client", estimate_type="latent_mean")
    assert languages.groupby("groups")["n_therapists"].agg(set).to_dict() == {"de": {40}, "en": {40}}
    both = rows_of(estimated, across="raters", site=POOLED)
    assert set(both["n_therapists"]) == {60} and set(
        rows_of(estimated, across="sessions", site=POOLED, rater="therapist")["n_therapists"]
    ) == {60}
    nobody = [dataclasses.replace(one, facts={"invariance": {**one.facts["invariance"], "therapists": {}}}) for one in summaries[:3]]
    assert rows_of(table_of(nobody, only("sites")), across="sites")["n_therapists"].isna().all()


def test_a_site_with_answers_on_another_range_is_not_compared(summaries):
    site = site_of("s", n=160)
    wide = site.ratings["wai_s"].assign(response_min=0, response_max=7)
    other = summary_of(dataclasses.replace(site, ratings={"wai_s": wide}))
    table = table_of([*summaries, other])
    own = table[table["site"].eq("s") & table["across"].eq("sites") & table["rater"].eq("client")]
    assert own["reason"].tolist() == ["not estimable: its answers go from 0 to 7, elsewhere from 1 to 7"]
    assert not table.loc[table["across"].eq("sites") & table["site"].eq(POOLED), "groups"].str.contains("s,|, s$").any()
