"""Therapist factors where sites lack something, publish summaries only or have few therapists; power, refusals, order and rows."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from alliance.questions.contract import MOMENTS, POOLED, PUBLISHED_EFFECTS, WITH_NUMBERS, faults, typed
from alliance.questions.site_data import Published, SiteData
from alliance.questions.summary import SiteSummary
from alliance.questions.therapist_factors import question as therapist_factors
from alliance.statistics.multilevel import mixed_model
from alliance.statistics.therapist_effects import (
    composite,
    detectable_noncentrality,
    detectable_r,
    mean_weights,
    therapist_regression,
)
from alliance.statistics.variance_parts import SLOPES, variance_parts, zero_variance_p
from simulated_site import INSTRUMENTS, OPTIONS, score_rows, site_of
from support import PROJECT

SCALES = ("total", "task", "goal", "bond")


def options(**changes):
    chosen = copy.deepcopy(OPTIONS)
    chosen["questions"]["therapist_factors"] |= changes
    return chosen


def treated(site="a", therapists=12, clients=6, seed=1, training=0.0, sessions=5):
    """Return a site whose therapists' training raises task and goal, not bond."""
    random = np.random.default_rng([seed, *site.encode()])
    n = therapists * clients
    therapist = np.repeat(np.arange(1, therapists + 1), clients)
    level, own = 0.4 * random.standard_normal(therapists), 0.6 * random.standard_normal(n)
    trained = random.integers(1, 4, therapists).astype(float)
    trained[:3] = (1, 2, 3)
    table = pd.DataFrame(
        {
            "therapist_no": pd.array(np.arange(1, therapists + 1), dtype="Int64"),
            "training": trained,
            "attachment_anxiety": random.standard_normal(therapists),
            "alliance_training": np.arange(therapists) % 2.0,
            "dominance": random.standard_normal(therapists),
        }
    )
    facts = pd.DataFrame(
        {
            "client_no": pd.array(np.arange(1, n + 1), dtype="Int64"),
            "therapist_no": pd.array(therapist, dtype="Int64"),
            "dominance": random.standard_normal(n),
            "social_relations": random.standard_normal(n),
            "motivation": random.standard_normal(n),
        }
    )
    shifts = {"task": training, "goal": training, "bond": 0.0, "total": 0.67 * training}
    scores = []
    for scale, slope in shifts.items():
        mean = 5 + level[therapist - 1] + own + slope * trained[therapist - 1] + 0.3 * random.standard_normal(n)
        for session in range(1, sessions + 1):
            rated = mean + 0.4 * random.standard_normal(n)
            scores.append(score_rows(facts["client_no"].to_numpy(), rated, instrument="wai_36", scale=scale, session=session))
    return replace(site_of(scores, site, clients=facts), therapists=table)


def tables_of(sites, chosen=None, absent=()):
    chosen = chosen or options()
    rows = [site for site in sites if site.published is None]
    names = sorted([site.site for site in sites] + [name for name, _ in absent])
    one_stage = therapist_factors.one_stage(iter(rows), names, chosen)
    summaries = [therapist_factors.estimate(site, chosen, {}) for site in sites]
    summaries += [SiteSummary(name, "therapist_factors", status="excluded", reason=reason) for name, reason in absent]
    found = therapist_factors.pool(summaries, chosen, {"one_stage": one_stage})
    for name, table in found.items():
        assert faults(table.assign(scenario="base"), "therapist_factors", name) == []
    return found


def rows_of(table, **where):
    return table[np.logical_and.reduce([table[column].eq(value) for column, value in where.items()])]


def row(table, **where):
    chosen = rows_of(table, **where)
    assert len(chosen) == 1, f"{len(chosen)} rows with {where}"
    return chosen.iloc[0]


@pytest.fixture(scope="module")
def three():
    return tables_of([treated(site, training=0.5) for site in "abc"])


def test_training_raises_task_and_goal_over_bond_and_the_contrast_is_their_difference(three):
    effects = rows_of(three["effects"], topic="level", factor="training", site=POOLED, method="one_stage_therapist_means")
    by_scale = effects.set_index("alliance_scale")["estimate"]
    assert by_scale[""] == pytest.approx((by_scale["task"] + by_scale["goal"]) / 2 - by_scale["bond"], abs=1e-12)
    contrast = row(effects, alliance_scale="")
    assert contrast["ci_low"] > 0 and contrast["p_joint"] < 0.05 and contrast["decision"].startswith("different")


def test_attachment_is_contrasted_the_other_way_round(three):
    kinds = three["effects"].groupby("factor_kind")["contrast"].agg(set)
    assert kinds["attachment"] - {""} == {"bond - (task + goal) / 2"}
    assert kinds["training"] - {""} == {"(task + goal) / 2 - bond"}


def test_sites_with_few_therapists_are_flagged_with_what_they_could_detect():
    effects = tables_of([treated("a", therapists=9), treated("b", therapists=40)])["effects"]
    few, many = (row(effects, site=site, topic="level", factor="training", alliance_scale="bond") for site in "ab")
    assert few["status"] == "flagged"
    assert "with 9 therapists only a correlation of 0.74 or more could be detected (power 0.8)" in few["reason"]
    assert many["status"] == "estimated" and many["detectable_r"] < 0.5 < few["detectable_r"]
    assert few["minimum_detectable"] == pytest.approx(detectable_noncentrality(7.0, 0.8, 0.95) * few["std_error"])


def test_every_row_tells_the_smallest_detectable_effect(three):
    estimated = three["effects"][three["effects"]["status"].isin(WITH_NUMBERS)]
    assert (estimated["minimum_detectable"] > 0).all() and estimated["decision"].ne("").all()
    assert estimated["detectable_r"].between(0, 1).all()


def test_a_trait_that_a_site_lacks_is_named_and_the_others_are_pooled_without_it():
    one = treated("a")
    lacking = replace(one, therapists=one.therapists.drop(columns="attachment_anxiety"), clients=one.clients.drop(columns="dominance"))
    found = tables_of([lacking, treated("b"), treated("c")])
    own = rows_of(found["effects"], site="a", factor="attachment_anxiety")
    assert set(own["reason"]) == {"not estimable: needs the column attachment_anxiety of the therapists table"}
    pooled = row(found["effects"], site=POOLED, factor="attachment_anxiety", alliance_scale="bond", method="two_stage_reml")
    assert pooled["n_sites"] == 2
    interaction = row(found["effects"], site="a", topic="interaction")
    assert "needs dominance of clients" in interaction["reason"]
    assert set(rows_of(found["variance"], site="a", trait="dominance")["status"]) == {"not_estimable"}


def test_training_that_all_therapists_share_is_not_estimable():
    one = treated("a")
    found = tables_of([replace(one, therapists=one.therapists.assign(training=2.0)), treated("b")])
    reasons = set(rows_of(found["effects"], site="a", factor="training")["reason"])
    assert reasons == {"not estimable: needs therapists who differ in training"}


def test_without_task_goal_and_bond_the_whole_alliance_is_still_told():
    one = treated("a")
    total = replace(one, scores=one.scores[one.scores["scale"].eq("total")].reset_index(drop=True))
    effects = tables_of([total, treated("b")])["effects"]
    own = rows_of(effects, site="a", topic="level", factor="training")
    assert row(own, alliance_scale="total")["status"] in WITH_NUMBERS
    for scale in ("task", "goal", "bond", ""):
        assert row(own, alliance_scale=scale)["reason"].startswith("not estimable: needs the scale")


def test_unknown_therapists_are_refused():
    one = treated("a")
    scores = one.scores.assign(therapist_no=pd.array([None] * len(one.scores), dtype="Int64"))
    found = tables_of([replace(one, clients=one.clients.drop(columns="therapist_no"), scores=scores), treated("b")])
    for table in found.values():
        own = rows_of(table, site="a")
        assert len(own) and set(own["reason"]) == {"not estimable: needs to know which therapist saw each client"}


def test_summary_sites_and_sites_left_out_have_rows_that_say_so():
    matrix = pd.DataFrame([{"block": "all", "level": "client", "var1": "alliance", "var2": "outcome", "cov": 0.3, "n": 60}])
    empty = typed(pd.DataFrame(), PUBLISHED_EFFECTS)
    published = SiteData("p", "P", instruments=INSTRUMENTS, published=Published(typed(matrix, MOMENTS), empty))
    found = tables_of([treated("a"), treated("b"), published], absent=[("x", "no client ids")])
    for table in found.values():
        assert rows_of(table, site="p")["reason"].str.contains("published summaries only").all()
        assert rows_of(table, site="x")["reason"].str.contains("no client ids").all()
        assert len(rows_of(table, site="p")) == len(rows_of(table, site="a")) == len(rows_of(table, site="x"))
    together = rows_of(found["effects"], site=POOLED, method="one_stage_therapist_means", factor="training")
    assert together["reason"].str.contains("without p, x, which share no rows").all()


def test_what_one_site_alone_sends_is_not_told_as_of_all_sites():
    lacking = replace(treated("b"), therapists=treated("b").therapists.drop(columns="attachment_anxiety"))
    effects = tables_of([treated("a"), lacking])["effects"]
    together = rows_of(effects, site=POOLED, factor="attachment_anxiety")
    assert set(together["reason"]) == {
        "not estimable: needs the rows of several sites that have these; has 1",
        "not estimable: needs at least 2 sites with an estimate; has 1",
    }


def test_one_site_alone_is_told_without_pooling():
    found = tables_of([treated("a")])
    assert rows_of(found["variance"], site=POOLED)["reason"].str.contains("needs the rows of several sites").all()
    pooled = rows_of(found["effects"], site=POOLED)
    assert len(pooled) and set(pooled["status"]) == {"not_estimable"}


def test_shares_need_therapists_with_enough_clients():
    found = tables_of([treated("a", therapists=20, clients=2), treated("b")])["variance"]
    own = row(found, site="a", basis="sessions", part="constant", trait="", case_mix="not held constant")
    assert own["reason"] == "not estimable: needs at least 5 therapists with 3 clients each who have the alliance; has 0"


def test_shares_of_a_split_add_up_to_one(three):
    shares = three["variance"][three["variance"]["estimate_type"].eq("variance_share") & three["variance"]["estimate"].notna()]
    sums = shares.groupby(["site", "basis", "trait", "case_mix", "window"])["estimate"].sum()
    assert len(sums) > 12 and sums.to_numpy() == pytest.approx(1)
    told = shares[shares["ci_low"].notna()]
    assert told["ci_low"].between(0, 1).all() and told["ci_high"].between(0, 1).all()
    assert (told["ci_low"] <= told["estimate"]).all() and (told["estimate"] <= told["ci_high"]).all()


def test_client_factors_are_held_constant_on_the_same_clients():
    one = treated("a")
    gap = one.clients.assign(motivation=one.clients["motivation"].mask(one.clients["client_no"].eq(1)))
    found = tables_of([replace(one, clients=gap), treated("b")])["variance"]
    own = rows_of(found, site="a", basis="clients", part="constant", trait="", estimate_type="variance_share").set_index("case_mix")
    assert own["n_clients"].to_dict() == {
        "held constant": 71,
        "not held constant": 72,
        "not held constant, same clients": 71,
    }


def test_client_factors_that_a_site_does_not_measure_are_not_held_there():
    one, other = treated("a"), treated("b")
    other = replace(other, clients=other.clients.drop(columns="motivation"))
    bare = replace(treated("c"), clients=treated("c").clients[["client_no", "therapist_no"]])
    found = tables_of([one, other, bare])["variance"]
    keys = {"basis": "clients", "part": "constant", "trait": "", "estimate_type": "variance_share", "case_mix": "held constant"}
    together = row(found, site=POOLED, **keys)
    assert together["n_clients"] == 144 and together["n_sites"] == 2
    assert row(found, site="c", **keys)["reason"].startswith("not estimable: needs a client factor")


def test_more_client_factors_than_clients_allow_are_refused():
    found = tables_of([treated("a", therapists=5, clients=3), treated("b")], options())["variance"]
    own = row(found, site="a", basis="clients", part="constant", case_mix="held constant", trait="", estimate_type="variance_share")
    assert own["status"] in WITH_NUMBERS
    chosen = options()
    more = {f"factor_{i}": {"category": "diagnostic", "reversed": False} for i in range(4)}
    chosen["questions"]["client_factors"]["factors"] = more
    random = np.random.default_rng(3)
    one = treated("a", therapists=5, clients=3)
    one = replace(one, clients=one.clients.assign(**{name: random.standard_normal(15) for name in more}))
    own = row(
        tables_of([one, treated("b")], chosen)["variance"],
        **{"site": "a", "basis": "clients", "part": "constant", "case_mix": "held constant", "trait": ""},
        estimate_type="variance_share",
    )
    assert own["reason"] == "not estimable: needs at least 5 clients a client factor with all of them (20); has 15"


def test_before_and_after_training_needs_its_column_and_therapists_with_both():
    one = treated("a", sessions=5)
    found = row(tables_of([one, treated("b")])["effects"], site="a", topic="before_after", estimate_type="mean_difference")
    assert "needs the column after_training of the sessions table" in found["reason"]
    keys = one.scores[["client_no", "session"]].drop_duplicates().astype("int64").reset_index(drop=True)
    random = np.random.default_rng(7)
    after = (random.random(len(keys)) < 0.5).astype(float)
    higher = one.scores.merge(keys.assign(after=after), on=["client_no", "session"])
    raised = replace(
        one,
        scores=higher.assign(score=higher["score"] + 0.8 * higher["after"]).drop(columns="after"),
        sessions=keys.assign(after_training=after),
    )
    found = row(tables_of([raised, treated("b")])["effects"], site="a", topic="before_after", estimate_type="mean_difference")
    spread = raised.scores.loc[raised.scores["scale"].eq("total"), "score"].std()
    assert found["estimate"] * spread == pytest.approx(0.8, abs=0.1)
    words = replace(raised, sessions=keys.assign(after_training=after + 1))
    found = row(tables_of([words, treated("b")])["effects"], site="a", topic="before_after", estimate_type="mean_difference")
    assert found["reason"] == "not estimable: needs after_training of the sessions table as 0 and 1"


def test_a_trait_that_therapists_rate_themselves_shares_its_rater_with_their_alliance():
    chosen = options()
    chosen["alliance"]["rater"] = "therapist"
    one = treated("a")
    effects = tables_of([replace(one, scores=one.scores.assign(rater="therapist")), treated("b")], chosen)["effects"]
    told = rows_of(effects, site="a", topic="level").groupby("factor")["same_rater"].agg(set)
    assert told["attachment_anxiety"] == {"yes"} and told["training"] == {"no"}


def test_order_of_rows_and_sites_does_not_matter(three):
    random = np.random.default_rng(0)

    def shuffled(site):
        frames = {
            name: getattr(site, name).sample(frac=1, random_state=random.integers(1e6)) for name in ("scores", "clients", "therapists")
        }
        return replace(site, **{name: frame.reset_index(drop=True) for name, frame in frames.items()})

    again = tables_of([shuffled(treated(site, training=0.5)) for site in "cab"])
    for name, table in three.items():
        pd.testing.assert_frame_equal(again[name], table, rtol=1e-6, atol=1e-9)


def test_summaries_can_be_written_and_read_and_hold_no_client(tmp_path):
    summary = therapist_factors.estimate(treated("a"), options(), {})
    summary.write(tmp_path)
    again = SiteSummary.read(tmp_path)
    pd.testing.assert_frame_equal(again.estimates, summary.estimates)
    assert not summary.estimates["parameter"].duplicated().any()
    assert len(summary.estimates) < 200


def test_methods_cite_works_of_the_bibliography(three):
    known = (PROJECT / "workflow" / "references.bib").read_text(encoding="utf-8")
    sentences = therapist_factors.methods(options(), three)
    assert len(sentences) >= 5
    assert all(f"{{{key}," in known for sentence in sentences for key in sentence.citations)


def test_with_equal_numbers_of_clients_therapists_means_give_what_a_mixed_model_gives():
    random = np.random.default_rng(11)
    therapist = np.repeat(np.arange(14), 5)
    predictor = random.standard_normal(14)[therapist]
    scores = (0.3 * predictor + 0.5 * random.standard_normal(14)[therapist] + random.standard_normal(70))[:, None]
    model = mixed_model(
        pd.DataFrame({"y": scores[:, 0], "x": predictor, "therapist": therapist}), "y", ["1", "x"], ["therapist"]
    ).coefficients.loc["x"]
    for share in (0.0, 0.3):
        found = therapist_regression(scores, predictor, therapist, share)
        slope, error = found.combination([1.0])
        assert slope == pytest.approx(model["estimate"], rel=1e-8)
        assert [error, found.df] == pytest.approx([model["std_error"], model["df"]], rel=1e-3)


def test_weights_of_means_run_from_the_number_of_clients_to_equal():
    assert mean_weights([1, 4], 0.0) == pytest.approx([1, 4])
    assert mean_weights([1, 4], 1.0) == pytest.approx([1, 1])


def test_too_few_therapists_and_a_predictor_that_does_not_vary_give_no_numbers():
    random = np.random.default_rng(2)
    therapist = np.repeat(np.arange(4), 5)
    assert "needs at least 5 therapists" in therapist_regression(random.standard_normal((20, 1)), therapist * 1.0, therapist, 0.1).reason
    therapist = np.repeat(np.arange(6), 5)
    assert "differ" in therapist_regression(random.standard_normal((30, 1)), np.ones(30), therapist, 0.1).reason


def test_detectable_effects_ask_for_possible_power():
    assert np.isnan(detectable_r(2, 0.8, 0.95))
    with pytest.raises(ValueError, match="degrees of freedom"):
        detectable_noncentrality(0.0, 0.8, 0.95)
    with pytest.raises(ValueError, match="power"):
        detectable_noncentrality(5.0, 0.04, 0.95)


def test_composite_of_traits_is_the_mean_of_what_a_client_has():
    one = np.array([1.0, 2.0, 3.0, np.nan])
    found = composite({"a": one, "b": np.array([1.0, 2.0, 3.0, np.nan])})
    assert np.isnan(found[3]) and found[:3] == pytest.approx([-1, 0, 1])
    assert np.isnan(composite({"a": np.ones(3)})).all()


def test_slopes_without_variance_have_an_interval_from_zero_and_no_evidence():
    random = np.random.default_rng(4)
    therapist = np.repeat(np.arange(12), 8)
    frame = pd.DataFrame({"therapist": therapist, "x": np.tile([-1.0, 1.0], 48)})
    for seed in range(20):
        random = np.random.default_rng(seed)
        frame["y"] = 0.5 * random.standard_normal(12)[therapist] + random.standard_normal(96)
        found = variance_parts(frame, "y", ["therapist"], residual="client", slope="x")
        slopes = next(part for part in found.parts if part.part == SLOPES)
        if slopes.variance < 1e-8:
            break
    assert slopes.ci_low == 0 < slopes.ci_high < 0.5
    assert found.p_no_slopes == 1
    assert "estimated as zero" in found.reason
    assert zero_variance_p(2.7055) == pytest.approx(0.05, abs=1e-4)
