"""Overlap beyond the correlations of pairs: unreliability, HTMT, parallel scales, raters, approaches, prediction; what sites lack."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pandas as pd
import pytest
from alliance.demo.measures import Collected, measure_study
from alliance.demo.simulate import Size, simulate
from alliance.demo.truth import Parameters
from alliance.instruments.registry import load_registry
from alliance.instruments.scoring import score_site
from alliance.questions.alliance_outcome import question as alliance_outcome
from alliance.questions.contract import MOMENTS, POOLED, PUBLISHED_EFFECTS, check, typed
from alliance.questions.convergent_validity import question as convergent_validity
from alliance.questions.site_data import Published, SiteData
from alliance.questions.summary import SiteSummary
from alliance.statistics.one_factor import one_factor
from alliance.statistics.overlap import Units, htmt_of_matrix, omega_without
from simulated_site import OPTIONS, score_rows, simulated, site_of
from support import PROJECT

SHIPPED = PROJECT / "workflow" / "instruments"
REGISTRY = load_registry([SHIPPED])
PARTS = ("task", "bond", "goal")


def options(**changes):
    chosen = copy.deepcopy(OPTIONS)
    chosen["questions"]["convergent_validity"] |= changes
    return chosen


def estimate(site, chosen=OPTIONS):
    return convergent_validity.estimate(site, chosen, {})


def pooled(sites, chosen=OPTIONS):
    found = convergent_validity.pool([estimate(site, chosen) for site in sites], chosen, {})
    for name, table in found.items():
        check(table, "convergent_validity", name)
    return found


def only(table, **where):
    for column, value in where.items():
        table = table[table[column].eq(value)]
    assert len(table) == 1, f"{len(table)} rows with {where}"
    return table.iloc[0]


def item_site(name="a", n=150, therapists=15, seed=1, spread=1.0, doubled=0.0):
    """Return a site with items of two client forms of one factor; ``doubled``: weight of errors that the same items of both share."""
    random = np.random.default_rng(seed)
    client = np.arange(1, n + 1)
    therapist = random.integers(1, therapists + 1, n)
    common = random.standard_normal(n)
    errors = random.standard_normal((n, 12))
    frames = {}
    for key, low, high, reverse in (("wai_sr", 1, 5, ()), ("wai_s", 1, 7, (4, 10))):
        own = np.sqrt(doubled) * errors + np.sqrt(1 - doubled) * random.standard_normal((n, 12))
        answers = np.clip(np.rint((low + high) / 2 + (high - low) / 5 * (common[:, None] + spread * own)), low, high)
        for item in reverse:
            answers[:, item - 1] = low + high - answers[:, item - 1]
        frames[key] = pd.DataFrame(
            {
                "site": name,
                "client_id": "c",
                "client_no": pd.array(client, dtype="Int64"),
                "therapist_id": "t",
                "therapist_no": pd.array(therapist, dtype="Int64"),
                "timepoint": "session",
                "session": pd.array([3] * n, dtype="Int64"),
                "date": pd.NaT,
                "rater": "client",
                "rater_no": pd.array([1] * n, dtype="Int64"),
                **{f"i{item}": answers[:, item - 1] for item in range(1, 13)},
            }
        )
    scores = score_site(frames, None, REGISTRY, {"derive_short_forms": False})
    clients = frames["wai_s"][["client_no", "therapist_no"]]
    return SiteData(site=name, label=name.upper(), clients=clients, scores=scores, ratings=frames, instruments=REGISTRY)


def matrix_site(names, r, n=200, effects=(), scale="correlation"):
    rows = [
        {"block": "all", "level": "client", "var1": names[i], "var2": names[j], "n": n, "cov": r[i, j], "method": scale}
        for i in range(len(names))
        for j in range(i + 1, len(names))
    ]
    own = pd.DataFrame(effects, columns=list(PUBLISHED_EFFECTS))
    published = Published(typed(pd.DataFrame(rows, columns=list(MOMENTS)), MOMENTS), typed(own, PUBLISHED_EFFECTS))
    return SiteData("p", "P", instruments=REGISTRY, published=published)


def test_sites_without_items_say_what_their_correlations_need():
    table = pooled([simulated("a"), simulated("b", seed=2)])["pairs"]
    for kind in ("correlation_disattenuated", "htmt"):
        rows = table[table["estimate_type"].eq(kind) & table["site"].ne(POOLED)]
        assert len(rows) and set(rows["reason"]) == {"not estimable: needs item answers"}
        assert set(rows["status"]) == {"not_estimable"}


def test_a_corrected_correlation_beyond_one_is_left_as_it_is_and_flagged_at_sites_and_pooled():
    # The same error in both items of a pair of forms counts as true agreement, but not as reliability.
    tables = pooled([item_site(name, seed=seed, spread=1.5, doubled=0.9) for seed, name in enumerate("abc")])
    rows = tables["pairs"][tables["pairs"]["estimate_type"].eq("correlation_disattenuated") & tables["pairs"]["level"].eq("total")]
    assert len(rows) == 4
    assert rows["estimate"].gt(1).all()
    assert rows["status"].eq("flagged").all() and rows["reason"].str.contains("1 or above").all()


def test_scales_whose_items_do_not_tell_them_apart_are_flagged_at_sites_and_pooled():
    tables = pooled([item_site(name, seed=seed, spread=1.5) for seed, name in enumerate("abc")])
    rows = tables["pairs"][tables["pairs"]["estimate_type"].eq("htmt")]
    told = rows["reason"].astype(str).str.contains("the items do not tell the two scales apart")
    assert (told == rows["estimate"].gt(0.9)).all() and told.any()
    assert {POOLED, "a"} <= set(rows.loc[told, "site"]) and rows.loc[told, "status"].eq("flagged").all()


def test_a_corrected_correlation_is_that_of_the_reliabilities_of_the_same_clients():
    site = item_site()
    row = only(estimate(site).estimates, estimate_type="correlation_disattenuated", pair_level="total")
    answers = {}
    for key, frame in site.ratings.items():
        values = frame[[f"i{item}" for item in range(1, 13)]].to_numpy(dtype=float).copy()
        for item in REGISTRY[key].reverse:
            values[:, item - 1] = 8 - values[:, item - 1]
        answers[key] = values
    omega = [float(one_factor(np.cov(answers[key], rowvar=False)).omega()) for key in ("wai_s", "wai_sr")]
    r = np.corrcoef(answers["wai_s"].sum(axis=1), answers["wai_sr"].sum(axis=1))[0, 1]
    assert row["estimate"] == pytest.approx(r / np.sqrt(omega[0] * omega[1]), rel=1e-6)


def test_few_therapists_leave_out_clients_and_say_so():
    summary = estimate(item_site(therapists=3))
    rows = summary.estimates[summary.estimates["estimate_type"].isin(["correlation_disattenuated", "htmt", "r_squared_mean"])]
    rows = rows[rows["status"].ne("not_estimable")]
    assert set(rows["method"]) == {"client_jackknife"}
    assert rows["reason"].str.contains("fewer than 5 therapists").all()


def test_counts_of_a_summary_cover_every_row_and_it_survives_its_file(tmp_path):
    site = simulated("a")
    summary = estimate(site)
    for name in ("clients", "therapists", "sessions"):
        assert summary.n[name] >= summary.estimates[f"n_{name}"].max()
    summary.write(tmp_path)
    pd.testing.assert_frame_equal(SiteSummary.read(tmp_path).estimates, summary.estimates, check_exact=True)


def test_parallel_scales_are_those_of_the_instrument_files_and_a_study_may_say_otherwise(tmp_path):
    def kinds(site):
        rows = estimate(site).estimates
        rows = rows[rows["estimate_type"].eq("correlation") & rows["comparison"].eq("instruments")]
        return {(row.scale1, row.scale2): row.parallel for row in rows.itertuples()}

    site = item_site()
    shipped = kinds(site)
    assert {pair for pair, kind in shipped.items() if kind == "yes"} == {(part, part) for part in (*PARTS, "total")}
    assert set(shipped.values()) == {"yes", "no"}
    own = "scales:\n  bond:\n    measures: {attachment: null, warmth: {certainty: high, source: own manual}}\n  goal: {measures: null}\n"
    (tmp_path / "wai_sr.yaml").write_text(
        own.replace("bond:\n", "bond:\n    facet: null\n").replace("goal: {", "goal: {facet: null, "), encoding="utf-8"
    )
    changed = kinds(dataclasses.replace(site, instruments=load_registry([SHIPPED, tmp_path])))
    assert changed["bond", "bond"] == "no"
    assert changed["goal", "goal"] == "unknown"
    assert changed["task", "task"] == "yes"


def test_parallel_against_other_pairs_is_the_difference_of_their_means():
    table = pooled([item_site()])
    pairs = table["pairs"]
    squares = pairs[pairs["estimate_type"].eq("r_squared") & pairs["level"].eq("subscale") & pairs["comparison"].eq("instruments")]
    squares = squares[squares["site"].eq("a")]
    means = squares.groupby("parallel")["estimate"].mean()
    row = only(table["overlap_summary"], site="a", rater="client", pairs_kind="parallel - non_parallel")
    assert row["estimate"] == pytest.approx(means["yes"] - means["no"], rel=1e-9)
    assert row["n_pairs"] == len(squares) == 9


def rated_by_two(seed=4, n=120):
    """Return rows of two instruments by clients and, for the first two thirds of them, by therapists."""
    random = np.random.default_rng(seed)
    common = random.standard_normal(n)
    rows, values = [], {}
    for rater, noise in (("client", 0.6), ("therapist", 1.2)):
        rated = np.arange(1, (n if rater == "client" else 80) + 1)
        for instrument in ("wai_36", "haq_2"):
            score = common + noise * random.standard_normal(n)
            values[rater, instrument] = score
            rows.append(score_rows(rated, score[rated - 1], instrument=instrument, session=3, rater=rater, therapist_no=rated % 12))
    return site_of(rows), values


def test_clients_against_therapists_are_compared_on_the_clients_whom_both_rated():
    site, values = rated_by_two()
    row = only(estimate(site).estimates, rater="client - therapist", pair_level="total")
    r = [np.corrcoef(values[rater, "wai_36"][:80], values[rater, "haq_2"][:80])[0, 1] for rater in ("client", "therapist")]
    assert row["estimate"] == pytest.approx(r[0] ** 2 - r[1] ** 2, rel=1e-9)
    assert (row["n_clients"], row["n_therapists"], row["method"]) == (80, 12, "cluster_jackknife")


def approach_site(name, instruments, seed, n=100):
    """Return scores of the scales of instruments; those of homogeneous ones correlate .8, those of blended ones .3."""
    random = np.random.default_rng(seed)
    rows = []
    for instrument in instruments:
        r = 0.8 if REGISTRY[instrument].approach == "homogeneous" else 0.3
        common = random.standard_normal(n)
        for scale in REGISTRY[instrument].scales:
            score = np.sqrt(r) * common + np.sqrt(1 - r) * random.standard_normal(n)
            score = -score if REGISTRY[instrument].higher_is_worse(scale) else score
            rows.append(score_rows(range(1, n + 1), score, instrument=instrument, scale=scale, session=3, therapist_no=np.arange(n) % 10))
    return dataclasses.replace(site_of(rows, name), instruments=REGISTRY)


def test_homogeneous_instruments_have_higher_correlations_of_their_scales_than_blended_ones():
    both = [approach_site(name, ("wai_36", "tas_marziali"), seed) for seed, name in enumerate("abcd")]
    apart = [approach_site("e", ("wai_36",), 11), approach_site("f", ("calpas_p",), 12)]
    overlap = pooled([*both, *apart])["overlap_summary"]
    contrasts = overlap[overlap["approach"].eq("homogeneous - blended") & overlap["estimate_type"].eq("correlation_contrast")]
    contrasts = contrasts[contrasts["rater"].eq("all") & contrasts["site"].eq(POOLED)].set_index("method")
    assert contrasts.loc["two_stage_reml", "n_sites"] == 4
    assert contrasts.loc["difference_of_means", "n_sites"] == 6
    for method in ("two_stage_reml", "difference_of_means"):
        assert contrasts.loc[method, "ci_low"] < 0.5 < contrasts.loc[method, "ci_high"]
        assert contrasts.loc[method, "estimate"] == pytest.approx(0.5, abs=0.1)
    row = only(overlap, site="a", instrument="tas_marziali", estimate_type="correlation_mean")
    r = only(overlap, site="a", instrument="tas_marziali", estimate_type="correlation_minimum")
    assert 0 < r["estimate"] < row["estimate"], "positive and negative contributions are turned alike"
    lone = only(overlap, site="f", rater="all", approach="homogeneous - blended", estimate_type="correlation_contrast")
    assert lone["reason"] == "not estimable: needs scales of both a homogeneous and a blended instrument"


def published_names(items=True):
    names = ["wai_s.bond.client", "wai_sr.bond.client", "wai_sr.task.client"]
    if items:
        names += [f"{key}.i{item}.client" for key in ("wai_s", "wai_sr") for item in (3, 5, 7, 9)]
    return names


def published_matrix(names):
    loading = np.array([0.85, 0.8, 0.7, *([0.7, 0.6, 0.65, 0.8] * 2)])[: len(names)]
    r = np.outer(loading, loading)
    np.fill_diagonal(r, 1)
    return r


def test_published_items_give_reliabilities_and_htmt():
    names = published_names()
    r = published_matrix(names)
    rows = estimate(matrix_site(names, r)).estimates
    pair = {"scale1": "bond", "scale2": "bond", "comparison": "instruments"}
    omega = [float(one_factor(r[np.ix_(block, block)]).omega()) for block in (range(3, 7), range(7, 11))]
    corrected = only(rows, estimate_type="correlation_disattenuated", **pair)
    assert corrected["estimate"] == pytest.approx(r[0, 1] / np.sqrt(omega[0] * omega[1]), rel=1e-8)
    assert corrected["reason"] == "standard error takes the reliabilities as known"
    ratio = only(rows, estimate_type="htmt", **pair)
    assert ratio["estimate"] == pytest.approx(float(htmt_of_matrix(r, list(range(3, 7)), list(range(7, 11)))))
    assert ratio["method"] == "normal_theory"
    other = only(rows, estimate_type="correlation_disattenuated", scale1="bond", scale2="task", comparison="instruments")
    assert other["reason"] == "not estimable: the reliability is not known: the site published neither it nor the items"


def test_published_reliabilities_correct_correlations():
    names = published_names(items=False)
    sent = [("convergent_validity", "reliability", name, value, 200, None) for name, value in zip(names, (0.8, 0.9, 0.7))]
    summary = estimate(matrix_site(names, published_matrix(names), effects=sent))
    row = only(summary.estimates, estimate_type="correlation_disattenuated", scale1="bond", scale2="task", comparison="instruments")
    assert row["estimate"] == pytest.approx(0.85 * 0.7 / np.sqrt(0.8 * 0.7))
    variance = summary.vcov.set_index("parameter1").loc[row["parameter"], "cov"]
    assert variance == pytest.approx((1 - (0.85 * 0.7) ** 2) ** 2 / (200 - 3) / 0.56)


def test_the_mean_overlap_of_a_published_matrix_has_the_error_of_normal_theory():
    names = published_names(items=False)
    r = published_matrix(names)
    summary = estimate(matrix_site(names, r))
    row = only(summary.estimates, estimate_type="r_squared_mean", pair_level="subscale", rater="client", pairs_kind="all")
    one, two, between = r[0, 1], r[0, 2], r[1, 2]
    assert row["estimate"] == pytest.approx((one**2 + two**2) / 2)
    # Olkin & Siotani (1976) for two correlations with one variable in common, and the delta method.
    covariance = between * (1 - one**2 - two**2) - one * two * (1 - one**2 - two**2 - between**2) / 2
    variances = [(1 - one**2) ** 2, (1 - two**2) ** 2]
    expected = (one**2 * variances[0] + two**2 * variances[1] + 2 * one * two * covariance) / 199
    assert summary.vcov.set_index("parameter1").loc[row["parameter"], "cov"] == pytest.approx(expected, rel=1e-6)


def test_published_correlations_with_the_outcome_are_contrasted():
    names = ["wai_36.total.client", "haq_2.total.client", "wai_36.total.therapist", "outcome", "intake"]
    r = np.array([[1, 0.8, 0.4, 0.35, 0.1], [0, 1, 0.3, 0.25, 0.1], [0, 0, 1, 0.2, 0.0], [0, 0, 0, 1, 0.5], [0, 0, 0, 0, 1]])
    r = np.triu(r) + np.triu(r, 1).T
    summary = estimate(matrix_site(names, r))
    rows = summary.estimates[summary.estimates["contrast"].eq("first - second")]
    row = only(rows, comparison="raters", form="zero_order")
    assert (row["rater1"], row["rater2"], row["estimate"]) == ("client", "therapist", pytest.approx(0.15))
    row = only(rows, comparison="instruments", form="zero_order")
    one, two, between = 0.25, 0.35, 0.8
    covariance = between * (1 - one**2 - two**2) - one * two * (1 - one**2 - two**2 - between**2) / 2
    expected = ((1 - one**2) ** 2 + (1 - two**2) ** 2 - 2 * covariance) / 199
    assert summary.vcov.set_index("parameter1").loc[row["parameter"], "cov"] == pytest.approx(expected, rel=1e-6)
    partial = only(rows, comparison="instruments", form="ancova")
    expected = [(value - 0.1 * 0.5) / np.sqrt((1 - 0.01) * (1 - 0.25)) for value in (0.25, 0.35)]
    assert partial["estimate"] == pytest.approx(expected[0] - expected[1])


def test_contrasts_of_raters_are_those_of_alliance_and_outcome():
    chosen = copy.deepcopy(OPTIONS)
    sites = [simulated(name, seed=seed) for seed, name in enumerate("abc")]
    own = pooled(sites, chosen)["predictive_contrast"]
    summaries = [alliance_outcome.estimate(site, chosen, {}) for site in sites]
    raters = alliance_outcome.pool(summaries, chosen, {})["raters"]
    for site in ("a", POOLED):
        one = only(
            own,
            site=site,
            comparison="raters",
            instrument1="(preferred)",
            rater2="therapist",
            form="ancova",
            contrast="first - second",
            outcome_instrument="core_10",
        )
        other = only(
            raters,
            site=site,
            contrast="client - therapist alliance",
            outcome_instrument="core_10",
            outcome_rater="client",
            estimate_type="correlation_contrast",
        )
        columns = ["estimate", "std_error", "ci_low", "ci_high", "n_clients"]
        assert one[columns].tolist() == other[columns].tolist()


def test_equal_prediction_is_said_only_where_differences_beyond_the_bound_are_ruled_out():
    sites = [simulated(name, n=900, therapists=90, seed=seed) for seed, name in enumerate("abcdef")]
    where = {"site": POOLED, "comparison": "instruments", "form": "ancova", "contrast": "first - second"}
    close = only(pooled(sites, options(equivalence_bound=0.2))["predictive_contrast"], **where)
    strict = only(pooled(sites, options(equivalence_bound=0.001))["predictive_contrast"], **where)
    assert close["decision"] in ("equivalent", "equivalent_and_different")
    assert strict["decision"] in ("different", "undecided")
    assert (close["bound"], strict["bound"]) == (0.2, 0.001)
    assert close["p_equivalence"] < 0.05 < strict["p_equivalence"]


def test_a_site_without_an_outcome_says_what_prediction_needs():
    site = site_of([score_rows(range(1, 31), np.arange(30.0), instrument="wai_36", session=3)])
    tables = pooled([site])
    for name in ("predictive_contrast", "overlap_summary"):
        own = tables[name][tables[name]["site"].ne(POOLED)]
        assert set(own["status"]) == {"not_estimable"}
        assert own["reason"].str.startswith("not estimable: needs two").all()


def test_omega_without_a_therapist_is_that_of_the_other_clients():
    site = item_site()
    items = site.ratings["wai_sr"][["i3", "i5", "i7", "i9"]].to_numpy(dtype=float)
    codes = site.clients["therapist_no"].to_numpy(dtype=int) - 1
    found = omega_without(items, Units(codes, 15))
    for therapist in (0, 7):
        expected = one_factor(np.cov(items[codes != therapist], rowvar=False)).omega()
        assert found.values[1 + therapist] == pytest.approx(float(expected), rel=1e-7)


def demo_site():
    """Return one large site of the demo study's simulation: two client-rated instruments in session 3, as items."""
    parameters = Parameters()
    course = simulate(parameters, Size(sites=1, therapists=150, clients_per_therapist=10, sessions=10, vary=False), 5)
    collected = [Collected("wai_36", "client", (3,)), Collected("haq_2", "client", (3,))]
    tables = measure_study(course, parameters, 5, collected, ["a"])
    ratings = {}
    for key, frame in tables.ratings.items():
        client = frame["client"].to_numpy()
        own = {"site": "a", "client_id": "c", "therapist_id": "t", "rater": "client", "timepoint": "session", "date": pd.NaT}
        numbers = {"client_no": client + 1, "therapist_no": course.therapist[client] + 1, "session": [3] * len(frame)}
        items = frame[[name for name in frame if name[0] == "i" and name[1:].isdigit()]].reset_index(drop=True)
        ratings[key.rsplit("_", 1)[0]] = items.assign(
            **own, rater_no=pd.array([1] * len(frame), dtype="Int64"), **{name: pd.array(v, dtype="Int64") for name, v in numbers.items()}
        )
    scores = score_site(ratings, None, REGISTRY, {"derive_short_forms": False})
    return SiteData(site="a", scores=scores, ratings=ratings, instruments=REGISTRY)


def test_two_client_rated_instruments_share_what_the_demo_study_names():
    summary = estimate(demo_site())
    row = only(summary.estimates, estimate_type="correlation_disattenuated", pair_level="total", comparison="instruments")
    error = np.sqrt(summary.vcov.set_index("parameter1").loc[row["parameter"], "cov"])
    # What is particular to the other instrument has 1.1 times the SD of what they share, and the shared view varies with SD 1.
    overlap = Parameters().instrument_overlap
    assert abs(row["estimate"] ** 2 - overlap) < 3 * 2 * row["estimate"] * error + 0.03


def test_short_forms_scored_from_a_long_form_are_pooled_apart_and_counted_once():
    clients = np.arange(1, 81)

    def site(name, seed, derived):
        random = np.random.default_rng(seed)
        alliance = random.standard_normal(80)
        rows = [score_rows(clients, alliance + random.standard_normal(80) / 2, instrument="haq_2", session=3)]
        if derived:
            rows.append(score_rows(clients, alliance, instrument="wai_36", session=3))
        short = {"derived_from": "wai_36"} if derived else {}
        rows.append(score_rows(clients, alliance + random.standard_normal(80) / 5, instrument="wai_sr", session=3, **short))
        return site_of(rows, name)

    tables = pooled([site("a", 1, True), site("b", 2, True), site("c", 3, False), site("d", 4, False)])
    pairs = tables["pairs"]
    short = pairs[pairs["instrument1"].eq("haq_2") & pairs["instrument2"].eq("wai_sr") & pairs["estimate_type"].eq("correlation")]
    of_pooled = short[short["site"].eq(POOLED)].set_index("derived")
    assert of_pooled["n_sites"].to_dict() == {"no": 2, "yes": 2}
    overlap = tables["overlap_summary"]
    keys = {"level": "total", "rater": "client", "pairs_kind": "all", "estimate_type": "r_squared_mean"}
    for name, pair in (("a", "wai_36"), ("c", "wai_sr")):
        row = only(overlap, site=name, **keys)
        assert row["n_pairs"] == 1
        square = only(pairs, site=name, instrument1="haq_2", instrument2=pair, estimate_type="r_squared")
        assert row["estimate"] == pytest.approx(square["estimate"])
    assert only(overlap, site=POOLED, basis="pairs", **keys)["n_pairs"] == 2


def test_scales_that_share_items_share_them_in_a_published_matrix_too():
    shared = REGISTRY["haq_2"].model_copy(update={"shared_items": True})
    site = matrix_site(["haq_2.positive.client", "haq_2.negative.client"], np.array([[1, -0.6], [-0.6, 1]]))
    site = dataclasses.replace(site, instruments={**REGISTRY, "haq_2": shared})
    row = only(estimate(site).estimates, estimate_type="correlation")
    assert (row["shared_items"], row["status"]) == ("yes", "flagged")
    assert "share items" in row["reason"]


def test_contrasts_of_raters_who_used_different_instruments_say_so():
    random = np.random.default_rng(8)
    clients, common = np.arange(1, 61), np.random.default_rng(9).standard_normal(60)
    rows = [
        score_rows(clients, common + random.standard_normal(60), instrument="wai_36", session=3),
        score_rows(clients, common + random.standard_normal(60), instrument="haq_2", session=3, rater="therapist"),
        score_rows(clients, common + random.standard_normal(60), instrument="core_10", timepoint="post"),
    ]
    table = estimate(site_of(rows)).estimates
    own = only(table, instrument1="(preferred)", form="zero_order", contrast="first - second", outcome_instrument="core_10")
    assert own["status"] == "flagged"
    assert "the raters used different instruments (wai_36 and haq_2)" in own["reason"]
