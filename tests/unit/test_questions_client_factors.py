"""Client factors over time, beside the alliance and by therapist: what is recovered, what is refused, and what sites share."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest
from alliance.questions.client_factors import question as client_factors
from alliance.questions.client_factors.measures import category_means, same_rater, site_factors
from alliance.questions.client_factors.over_time import verdict
from alliance.questions.client_factors.unique_shared import chosen_factors
from alliance.questions.contract import MOMENTS, POOLED, PUBLISHED_EFFECTS, check, typed
from alliance.questions.site_data import Published, SiteData
from simulated_site import INSTRUMENTS, OPTIONS, score_rows, simulated, site_of


def options(**question):
    chosen = copy.deepcopy(OPTIONS)
    chosen["alliance"]["windows"]["later"] = {"sessions": [6, 99]}
    chosen["questions"]["client_factors"]["over_time"] |= {"second": "later", "equal_sessions": 3}
    chosen["questions"]["client_factors"].update(question)
    return chosen


def course(site, n=500, seed=1, start=0.5, late=0.0, therapists=40, sessions=12):
    """Return a site whose alliance depends on motivation by ``start`` in session 1 and by ``late`` in session 11, linearly between."""
    random = np.random.default_rng(seed)
    client = np.arange(1, n + 1)
    therapist = random.integers(1, therapists + 1, n)
    motivation = random.standard_normal(n)
    level = 0.4 * random.standard_normal(n) + 0.3 * random.standard_normal(therapists + 1)[therapist]
    rows = []
    for session in range(1, sessions + 1):
        weight = start + (late - start) * (session - 1) / 10
        score = weight * motivation + level + 0.3 * random.standard_normal(n)
        rows.append(score_rows(client, 5 + score, instrument="wai_36", session=session, therapist_no=therapist))
    clients = pd.DataFrame({"client_no": client, "therapist_no": therapist, "motivation": motivation}).astype(
        {"client_no": "Int64", "therapist_no": "Int64"}
    )
    return site_of(rows, site, clients=clients)


def pooled(sites, chosen):
    return client_factors.pool([client_factors.estimate(site, chosen, {}) for site in sites], chosen, {})


def row(table, **where):
    chosen = table
    for column, value in where.items():
        chosen = chosen[chosen[column].eq(value)]
    assert len(chosen) == 1, f"{len(chosen)} rows with {where}"
    return chosen.iloc[0]


MOTIVATION = {"motivation": {"category": "intrapersonal", "reversed": False}}


@pytest.mark.parametrize(
    ("start", "late", "judged"), [(0.5, -0.2, "fades"), (0.1, 0.6, "grows"), (0.5, 0.5, "throughout"), (0.0, 0.0, "nowhere")]
)
def test_the_verdict_over_time_is_the_truth_that_was_simulated(start, late, judged):
    chosen = options(factors=MOTIVATION, unique_shared=["motivation"])
    sites = [course(name, seed=seed, start=start, late=late, n=700) for seed, name in enumerate("abcdef")]
    over_time = pooled(sites, chosen)["over_time"]
    own = over_time[over_time["site"].eq(POOLED) & over_time["factor"].eq("motivation")]
    # The alliance at the sessions of the second phase depends on motivation by less than at its end.
    expected = "start_only" if judged == "fades" and verdict(own, "motivation") == "start_only" else judged
    assert verdict(own, "motivation") == expected
    change = row(own, analysis="growth", part="change in ten sessions")
    scores = pd.concat([site.scores["score"] for site in sites])
    expected_change = (late - start) / scores.std()
    assert abs(change["estimate"] - expected_change) < 4 * change["std_error"] + 0.02
    assert row(own, contrast="first - second")["decision"] in ("equivalent", "different", "equivalent_and_different")


def verdict_rows(first, second, contrast):
    """Return pooled rows of the phases, each given as (low, high, decision)."""
    rows = [
        {"part": part, "contrast": name, "ci_low": low, "ci_high": high, "estimate": (low + high) / 2, "decision": decision}
        for part, name, (low, high, decision) in (("first", "", first), ("second", "", second), ("", "first - second", contrast))
    ]
    return pd.DataFrame(rows).assign(factor="x", analysis="phases", status="estimated")


@pytest.mark.parametrize(
    ("rows", "judged"),
    [
        (((0.2, 0.4, "different"), (-0.05, 0.05, "equivalent"), (0.1, 0.4, "different")), "start_only"),
        (((-0.4, -0.2, "different"), (-0.05, 0.05, "equivalent"), (-0.4, -0.1, "different")), "start_only"),
        (((0.3, 0.5, "different"), (0.1, 0.3, "different"), (0.1, 0.4, "different")), "fades"),
        (((0.2, 0.4, "different"), (-0.1, 0.3, "undecided"), (0.05, 0.4, "different")), "undecided"),
        (((0.2, 0.4, "different"), (0.2, 0.4, "different"), (-0.05, 0.05, "equivalent")), "throughout"),
        (((0.2, 0.4, "different"), (0.1, 0.4, "different"), (-0.2, 0.3, "undecided")), "both_phases"),
        (((0.2, 0.4, "different"), (0.25, 0.45, "different"), (-0.07, -0.01, "equivalent_and_different")), "throughout"),
        (((-0.1, 0.2, "undecided"), (0.2, 0.5, "different"), (-0.5, -0.1, "different")), "grows"),
        (((-0.05, 0.05, "equivalent"), (-0.05, 0.05, "equivalent"), (-0.1, 0.1, "undecided")), "nowhere"),
        (((-0.2, 0.2, "undecided"), (-0.2, 0.2, "undecided"), (-0.2, 0.2, "undecided")), "undecided"),
    ],
)
def test_the_verdict_follows_from_intervals_and_equivalence_tests(rows, judged):
    assert verdict(verdict_rows(*rows), "x") == judged
    assert verdict(verdict_rows(*rows), "y") == ""


def test_slopes_within_and_between_therapists_recover_two_truths():
    random = np.random.default_rng(5)
    therapist = np.repeat(np.arange(60), 12)
    between = random.standard_normal(60)[therapist]
    within = random.standard_normal(len(therapist))
    within -= pd.Series(within).groupby(therapist).transform("mean").to_numpy()
    factor = between + within
    alliance = 0.2 * within + 0.8 * between + 0.5 * random.standard_normal(len(therapist))
    client = np.arange(1, len(therapist) + 1)
    clients = pd.DataFrame({"client_no": client, "therapist_no": therapist, "motivation": factor})
    site = site_of([score_rows(client, alliance, instrument="wai_36", session=2)], clients=clients)
    factors = pooled([site], options(factors=MOTIVATION, unique_shared=["motivation"], windows=[], raters=[]))["factors"]
    scale = factor.std() / alliance.std()
    for part, truth in (("within_therapists", 0.2), ("between_therapists", 0.8), ("between_therapists - within_therapists", 0.6)):
        found = row(factors, site="a", part=part)
        assert abs(found["estimate"] - truth * scale) < 4 * found["std_error"]
        assert found["ci_low"] < truth * scale < found["ci_high"] or abs(found["estimate"] - truth * scale) < 3 * found["std_error"]


def test_tables_keep_their_contract_and_every_gap_has_a_reason():
    chosen = options(raters=["therapist", "observer"])
    lacking = simulated("c", n=60)
    lacking = SiteData(**{**vars(lacking), "clients": lacking.clients.drop(columns=["motivation"])})
    sites = [simulated("a", n=120), simulated("b", n=150, seed=2), lacking]
    tables = pooled(sites, chosen)
    for name, table in tables.items():
        check(table, "client_factors", name)
    absent = row(tables["factors"], site="c", factor="motivation", headline="yes")
    assert absent["reason"] == "not estimable: the clients table has no column motivation"
    observer = tables["factors"].query("alliance_rater == 'observer'")
    assert set(observer["status"]) == {"not_estimable"} and observer["reason"].ne("").all()
    assert row(tables["factors"], site=POOLED, factor="motivation", headline="yes")["n_sites"] == 2


def test_a_site_of_published_figures_takes_part_and_says_what_it_lacks():
    moments = [
        ("social_relations", "alliance", 0.3, 80),
        ("social_relations", "outcome", 0.2, 80),
        ("alliance", "outcome", 0.4, 80),
    ]
    frame = pd.DataFrame(
        [{"block": "all", "level": "client", "var1": a, "var2": b, "n": n, "cov": r, "method": "correlation"} for a, b, r, n in moments],
        columns=list(MOMENTS),
    )
    sent = Published(typed(frame, MOMENTS), typed(pd.DataFrame(columns=list(PUBLISHED_EFFECTS)), PUBLISHED_EFFECTS))
    site = SiteData("p", "P", instruments=INSTRUMENTS, published=sent)
    tables = pooled([site, simulated("a", n=120), simulated("b", n=150, seed=2)], options())
    own = tables["unique_shared"].query("site == 'p' and factor == 'social_relations' and form == 'zero_order'")
    both = (0.2**2 + 0.4**2 - 2 * 0.2 * 0.4 * 0.3) / (1 - 0.3**2)
    assert row(own, quantity="together")["estimate"] == pytest.approx(both, rel=1e-12)
    assert row(own, quantity="in common")["estimate"] == pytest.approx(0.2**2 + 0.4**2 - both, rel=1e-12)
    simple = row(own, quantity="factor with outcome")
    # Olkin and Siotani: the variance of r over n - 1 (the covariance of normal theory has that divisor).
    assert simple["std_error"] * (1 - 0.2**2) == pytest.approx((1 - 0.2**2) / np.sqrt(79), rel=1e-6)
    given = row(tables["unique_shared"], site="p", factor="social_relations", form="ancova", quantity="in common")
    assert "published no correlation" in given["reason"]
    assert row(tables["unique_shared"], site="p", factor="(all)", quantity="alliance by factors")["status"] == "not_estimable"
    late = tables["over_time"].query("site == 'p'")
    assert len(late) and late["reason"].str.startswith("not estimable: needs the alliance session by session").all()
    assert row(tables["unique_shared"], site=POOLED, factor="social_relations", form="zero_order", quantity="in common")["n_sites"] == 3


def test_pooled_shares_are_what_the_pooled_correlations_imply():
    from alliance.statistics.commonality import two_predictors
    from alliance.statistics.multivariate_meta import pool_coefficients

    chosen = options()
    summaries = [client_factors.estimate(simulated(name, n=150 + 30 * seed, seed=seed), chosen, {}) for seed, name in enumerate("abcde")]
    table = client_factors.pool(summaries, chosen, {})["unique_shared"]
    names = [f"social_relations/zero_order/{one}" for one in ("factor with alliance", "factor with outcome", "alliance with outcome")]
    y, v = [], []
    for summary in summaries:
        r = summary.estimates.set_index("parameter").loc[names, "estimate"].to_numpy()
        known = summary.vcov[summary.vcov["model"].eq("unique_shared")].set_index(["parameter1", "parameter2"])["cov"]
        matrix = np.array([[known.get((a, b), known.get((b, a))) for b in names] for a in names])
        y.append(np.arctanh(r))
        v.append(matrix / np.outer(1 - r**2, 1 - r**2))
    fit = pool_coefficients(np.array(y), np.array(v), names)
    r = np.tanh(fit.coefficients["estimate"].to_numpy())
    expected = two_predictors(r[1], r[2], r[0])
    for quantity, value in zip(("factor alone", "alliance alone", "in common", "together"), expected, strict=True):
        found = row(table, site=POOLED, factor="social_relations", form="zero_order", quantity=quantity)
        assert found["estimate"] == pytest.approx(value, rel=1e-9)
        assert found["method"] == "multivariate_reml" and found["std_error"] > 0
    # Truth: social relations correlate .4 with the alliance and act on the outcome through it alone.
    alone = row(table, site=POOLED, factor="social_relations", form="zero_order", quantity="factor alone")
    assert alone["ci_low"] <= 0.0 + 1e-9 and alone["ci_high"] < 0.05


def test_factors_that_say_the_same_or_are_seldom_known_do_not_enter_together():
    random = np.random.default_rng(1)
    first, second = random.standard_normal((2, 100))
    seldom = np.where(np.arange(100) < 60, np.nan, random.standard_normal(100))
    x = np.column_stack([first, second, 2 * first + 1, seldom])
    everybody = np.ones(100, dtype=bool)
    assert chosen_factors(x, everybody) == [0, 1]
    assert chosen_factors(x, everybody, held=first) == [1]
    assert chosen_factors(x, np.zeros(100, dtype=bool)) == []


def test_the_mean_of_a_category_needs_half_of_its_factors():
    clients = pd.DataFrame(
        {
            "client_no": range(1, 6),
            "social_relations": [1.0, 2, 3, 4, np.nan],
            "life_events": [1.0, np.nan, 3, 4, np.nan],
            "motivation": [1.0, 2, 1, 2, 1],
        }
    )
    own = site_factors(site_of([], clients=clients), options())
    names, means = category_means(own, own.x)
    mean = dict(zip(names, means.T))["interpersonal"]
    assert np.isnan(mean[4]) and np.isfinite(mean[:4]).all()
    # Life events are turned: more of them is worse.
    scored = (clients["social_relations"] - 2.5) / clients["social_relations"].std()
    turned = -(clients["life_events"] - 8 / 3) / clients["life_events"].std()
    assert mean[0] == pytest.approx((scored[0] + turned[0]) / 2)
    assert mean[1] == pytest.approx(scored[1])


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([("client", "client")], "yes"),
        ([("client", "therapist")], "no"),
        ([("", "client")], "unknown"),
        ([("client", "client"), ("client", "therapist")], "mixed"),
        ([("client", "client"), ("unknown", "client")], "unknown"),
    ],
)
def test_rows_say_whether_one_person_gave_all_ratings(pairs, expected):
    assert same_rater(*pairs) == expected


def test_severity_below_the_bound_is_found_equivalent_and_a_strong_factor_is_not():
    sites = [simulated(name, n=600, seed=seed, therapists=40) for seed, name in enumerate("abcdef")]
    factors = pooled(sites, options())["factors"].query("headline == 'yes'")
    severity, relations = (row(factors, site=POOLED, factor=name) for name in ("intake_severity", "social_relations"))
    assert (severity["bound"], severity["decision"]) == (0.1, "equivalent") and severity["p_equivalence"] < 0.05
    assert relations["decision"] == "different" and relations["p_equivalence"] > 0.95


def test_the_order_of_rows_and_sites_changes_nothing():
    chosen, site = options(), course("a", n=90, therapists=9)
    shuffled = SiteData(
        **{
            **vars(site),
            "clients": site.clients.sample(frac=1, random_state=1),
            "scores": site.scores.sample(frac=1, random_state=2).reset_index(drop=True),
        }
    )
    one, other = (client_factors.estimate(here, chosen, {}) for here in (site, shuffled))
    pd.testing.assert_frame_equal(one.estimates, other.estimates, rtol=0, atol=1e-12)
    summaries = [one, client_factors.estimate(course("b", n=80, seed=3, therapists=8), chosen, {})]
    forwards, backwards = (client_factors.pool(given, chosen, {}) for given in (summaries, summaries[::-1]))
    for name, table in forwards.items():
        pd.testing.assert_frame_equal(table, backwards[name])
