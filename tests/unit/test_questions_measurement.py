"""Reliability, agreement of raters and components: rows of every site, reasons, flags, and what never leaves a site."""

from __future__ import annotations

import copy
import dataclasses
import re

import numpy as np
import pandas as pd
import pytest
from alliance.instruments.scoring import score_site
from alliance.questions import effects
from alliance.questions.alliance_outcome.measures import PREFERRED
from alliance.questions.contract import MOMENTS, POOLED, PUBLISHED_EFFECTS, WITH_NUMBERS, faults, finish, typed
from alliance.questions.correlations import variances
from alliance.questions.measurement import components as measurement_components
from alliance.questions.measurement import interrater as measurement_interrater
from alliance.questions.measurement import question as measurement
from alliance.questions.measurement import reliability as measurement_reliability
from alliance.questions.part import largest_counts
from alliance.questions.site_data import Published, SiteData
from alliance.questions.summary import SiteSummary
from alliance.sites import summaries
from alliance.sites.site_file import SiteFile
from simulated_items import REGISTRY, bifactor_answers, item_frame, item_site, raters_site, scale_scores, wai_site
from simulated_site import OPTIONS as SHARED
from support import PROJECT

PARTS = {"reliability": measurement_reliability, "interrater": measurement_interrater, "components": measurement_components}
NEEDS = re.compile(r"not estimable: needs .*; (has|the|with|without) ")


def options(**pooling):
    chosen = copy.deepcopy(SHARED)
    chosen["alliance"]["instruments"] = ["wai_36", "wai_sr", "wai_s", "haq_2"]
    chosen["scoring"] = {"missing_rule": "instrument", "derive_short_forms": True}
    chosen["resampling"]["draws"] = 200
    chosen["pooling"] |= pooling
    return chosen


OPTIONS = options()


def summary_of(site, chosen=OPTIONS):
    """Return a site's summary of the three tables."""
    parts = {name: part.estimate(site, chosen) for name, part in PARTS.items()}
    rows = [{**row, "model": name} for name, part in parts.items() for row in part.rows]
    spread = [value for part in parts.values() for value in part.variances]
    return SiteSummary(
        site.site, "measurement", label=site.label, n=largest_counts(rows), estimates=pd.DataFrame(rows), vcov=variances(rows, spread)
    )


def tables_of(all_summaries, chosen=OPTIONS):
    gathered = effects.gather(all_summaries)
    found = {}
    for name, part in PARTS.items():
        own = gathered[gathered["model"].eq(name)].reset_index(drop=True)
        found[name] = finish(part.pool(own, sorted(all_summaries, key=lambda one: one.site), chosen), "measurement", name)
        assert faults(found[name], "measurement", name) == []
    return found


def rows_of(table, **keys):
    for name, value in keys.items():
        table = table[table[name].eq(value)]
    return table


def only(table, **keys):
    found = rows_of(table, **keys)
    assert len(found) == 1, (keys, len(found))
    return found.iloc[0]


def observed_site(site="o", n=40, therapists=8, seed=3, raters=2):
    """Return a site whose sessions two or more observers rated, each of two sessions, and clients too."""
    random = np.random.default_rng(seed)
    therapist = np.arange(n) % therapists + 1
    general = random.standard_normal((n, 1))
    frames = []
    for session in (3, 4):
        for rater, number in [("client", 1), *(("observer", number) for number in range(1, raters + 1))]:
            answers = 4 + general + 0.2 * number + 0.8 * random.standard_normal((n, 12))
            answers = np.clip(np.rint(answers), 1, 7)
            frames.append(item_frame("wai_s", answers, session=session, rater=rater, therapist_no=therapist).assign(rater_no=number))
    ratings = {"wai_s": pd.concat(frames, ignore_index=True).astype({"rater_no": "Int64"})}
    return with_scores(item_site(site, ratings, therapist_no=therapist))


def with_scores(site):
    """Return a site with the scores of its ratings."""
    whole = {key: frame.assign(site=site.site, client_id="h", therapist_id="t", date=pd.NaT) for key, frame in site.ratings.items()}
    return dataclasses.replace(site, scores=score_site(whole, None, REGISTRY, OPTIONS["scoring"]))


def components_site(
    site="k", n=80, therapists=16, seed=4, names=("care.total", "blri_os64.regard", "wai_s.task", "wai_s.bond", "wai_s.goal")
):
    random = np.random.default_rng(seed)
    therapist = np.arange(n) % therapists + 1
    values = 18 + 2 * random.standard_normal((n, 1)) + 1.4 * random.standard_normal((n, len(names)))
    return item_site(site, {}, scores=scale_scores(names, values, therapist_no=therapist), n=n, therapist_no=therapist)


def published_site(site="p", items=True):
    names = [f"wai_s.i{item}.client" for item in range(1, 13)] if items else ["wai_s.total.client", "care.total.client"]
    matrix = np.full((len(names), len(names)), 0.4) + 0.6 * np.eye(len(names))
    first, second = np.triu_indices(len(names))
    moments = pd.DataFrame({"block": "m", "level": "client", "var1": np.array(names)[first], "var2": np.array(names)[second]})
    moments = typed(moments.assign(n=120, cov=matrix[first, second], method="correlation"), MOMENTS)
    return SiteData(site, site.upper(), instruments=REGISTRY, published=Published(moments, typed(pd.DataFrame(), PUBLISHED_EFFECTS)))


@pytest.fixture(scope="module")
def sites():
    return [
        wai_site("a", n=90, therapists=12, seed=1),
        wai_site("b", n=70, therapists=10, seed=2),
        observed_site("o"),
        components_site("k"),
        raters_site("s", n=60),
        published_site("p"),
        published_site("q", items=False),
        wai_site("t", n=9, therapists=3, seed=5),
    ]


@pytest.fixture(scope="module")
def answers(sites):
    return [
        *map(summary_of, sites),
        SiteSummary("x", "measurement", status="excluded", reason="no client ids"),
        SiteSummary("y", "measurement", status="missing", reason="not sent"),
    ]


@pytest.fixture(scope="module")
def tables(answers):
    return tables_of(answers)


@pytest.mark.parametrize("name", PARTS)
def test_every_site_has_rows_in_every_table(tables, answers, name):
    assert {one.site for one in answers} <= set(tables[name]["site"])


@pytest.mark.parametrize("name", PARTS)
def test_sites_without_an_answer_have_one_row_with_their_reason(tables, name):
    assert "site left out: no client ids" in only(tables[name], site="x")["reason"]
    assert "no summary for these options: not sent" in only(tables[name], site="y")["reason"]
    assert {only(tables[name], site=site)["status"] for site in "xy"} == {"not_estimable"}


@pytest.mark.parametrize("name", PARTS)
def test_reasons_say_what_is_needed_and_what_there_is(tables, name):
    silent = tables[name][tables[name]["status"].eq("not_estimable") & ~tables[name]["site"].isin(["x", "y"])]
    # What the data do not give although there are enough of them has a reason of its own.
    told = silent["reason"][~silent["reason"].str.contains("improper solution|has no proper maximum|did not end|needs the alliance scales")]
    assert told.str.match(NEEDS).all(), told[~told.str.match(NEEDS)].unique()


def test_sites_with_scale_scores_or_matrices_say_what_they_lack(tables):
    table = tables["reliability"]
    assert "the site sends scale scores only" in only(table, site="s", status="not_estimable")["reason"]
    assert "the published matrix holds none" in only(table, site="q")["reason"]
    assert only(tables["interrater"], site="q")["reason"].endswith("the site publishes correlations only")


def test_a_published_matrix_of_items_gives_reliability_of_standardised_items(tables):
    alpha = only(tables["reliability"], site="p", instrument_scale="total", estimate_type="alpha")
    assert alpha["estimate"] == pytest.approx(12 * 0.4 / (1 + 11 * 0.4))
    assert alpha["status"] == "flagged" and "standardised items" in alpha["reason"]
    assert alpha["method"] == "normal_theory" and alpha["n_clients"] == 120
    omega = only(tables["reliability"], site="p", instrument_scale="total", estimate_type="omega_total")
    assert omega["estimate"] == pytest.approx(alpha["estimate"], rel=1e-6)
    assert {"a", "b", "o", "p"} <= set(rows_of(tables["reliability"], instrument="wai_s", estimate_type="alpha")["site"])


def test_a_published_matrix_of_scales_gives_the_component_that_rows_give():
    site = components_site("k")
    wide = site.scores.assign(variable=site.scores["instrument"] + "." + site.scores["scale"]).pivot(
        index="client_no", columns="variable", values="score"
    )
    names, matrix = [f"{name}.client" for name in wide], np.corrcoef(wide.to_numpy(dtype=float), rowvar=False)
    first, second = np.triu_indices(len(names), 1)
    moments = pd.DataFrame({"block": "m", "level": "client", "var1": np.array(names)[first], "var2": np.array(names)[second]})
    moments = typed(moments.assign(n=len(wide), cov=matrix[first, second], method="correlation"), MOMENTS)
    published = SiteData("z", "Z", instruments=REGISTRY, published=Published(moments, typed(pd.DataFrame(), PUBLISHED_EFFECTS)))
    table = tables_of([summary_of(site), summary_of(published)])["components"]
    loadings = rows_of(table, estimate_type="component_loading").pivot(index=["group", "variable"], columns="site", values="estimate")
    assert len(loadings) == 9 and loadings["z"].to_numpy() == pytest.approx(loadings["k"].to_numpy())
    assert set(rows_of(table, site="z", estimate_type="component_share")["method"]) == {"normal_theory"}
    assert "without congruence" in only(table, site="z", estimate_type="component_share")["reason"]
    for group in ("condition", "alliance"):
        own = rows_of(table, site="k", group=group).set_index("variable")["estimate"]
        real = own[~own.index.str.startswith("(")]
        assert (own["(smallest)"], own["(largest)"]) == (real.min(), real.max())


def test_a_component_needs_conditions_and_all_alliance_scales():
    lacking = {
        ("care.total", "wai_s.task", "wai_s.bond", "wai_s.goal"): "needs at least 2 of the conditions empathy, regard, congruence",
        ("care.total", "blri_os64.regard", "wai_s.task", "wai_s.bond"): "needs the alliance scales task, bond, goal of one instrument",
    }
    for names, reason in lacking.items():
        assert reason in measurement_components.estimate(components_site(names=names), OPTIONS).rows[0]["reason"]
    few = measurement_components.estimate(components_site(n=9), OPTIONS).rows[0]["reason"]
    assert few == "not estimable: needs at least 10 clients with all scores; has 9"


def test_low_reliability_is_flagged_and_pooled_all_the_same():
    made = []
    for site, seed in (("a", 1), ("b", 2)):
        random = np.random.default_rng(seed)
        values = np.clip(np.rint(4 + 0.6 * random.standard_normal((80, 1)) + 1.3 * random.standard_normal((80, 12))), 1, 7)
        made.append(item_site(site, {"wai_s": item_frame("wai_s", values)}))
    table = tables_of([*map(summary_of, made)])["reliability"]
    low = rows_of(table, instrument="wai_s", instrument_scale="bond", estimate_type="alpha", window="session_3")
    for site in "ab":
        row = only(low, site=site)
        assert row["estimate"] < 0.7 and row["status"] == "flagged" and row["reason"].startswith("below 0.7")
    pooled = only(low, site=POOLED)
    assert pooled["status"] == "flagged" and pooled["n_sites"] == 2
    assert pooled["reason"].startswith("2 of 2 site estimates flagged")
    assert low["estimate"].iloc[:2].min() < pooled["estimate"] < 0.7


def test_derived_short_forms_stand_apart_from_those_that_were_filled_in():
    random = np.random.default_rng(6)
    long = item_site("a", {"wai_36": item_frame("wai_36", bifactor_answers("wai_36", 60, random))})
    table = tables_of([summary_of(long), summary_of(wai_site("b", n=60))])["reliability"]
    totals = rows_of(table, instrument="wai_s", instrument_scale="total", estimate_type="alpha", window="session_3")
    assert totals.set_index("site")["derived_from"].drop(POOLED).to_dict() == {"a": "wai_36", "b": ""}
    pooled = rows_of(totals, site=POOLED)
    assert sorted(pooled["derived_from"]) == ["", "wai_36"] and set(pooled["status"]) == {"not_estimable"}
    # The derived form keeps the range of the long one.
    derived = rows_of(table, site="a", instrument="wai_sr", instrument_scale="total")
    assert set(derived["categories"].dropna()) == {7} and "omega_ordinal" not in set(derived["estimate_type"])
    preferred = only(table, site="a", instrument=PREFERRED, rater="client", estimate_type="alpha")
    assert preferred["n_items"] == 36
    assert pd.isna(only(table, site=POOLED, instrument=PREFERRED, rater="client", estimate_type="alpha")["n_items"])


def test_an_instrument_of_few_answers_is_read_by_its_categorical_omega_also_where_it_is_absent():
    random = np.random.default_rng(7)
    made = [
        item_site(site, {"wai_sr": item_frame("wai_sr", bifactor_answers("wai_sr", n, random))})
        for site, n in (("a", 60), ("b", 50), ("c", 8))
    ]
    table = tables_of([*map(summary_of, made)])["reliability"]
    first = rows_of(table, instrument="wai_sr", headline="yes", window="session_3")
    assert set(first["estimate_type"]) == {"omega_ordinal"}
    assert rows_of(first, site="c")["reason"].unique().tolist() == [
        "not estimable: needs at least 10 clients who answered all items; has 8"
    ]
    assert rows_of(first, site=POOLED)["n_sites"].eq(2).all()


def test_items_that_all_answered_alike_are_named():
    site = wai_site("a", n=60)
    constant = site.ratings["wai_s"].assign(i3=5)
    rows = measurement_reliability.estimate(dataclasses.replace(site, ratings={"wai_s": constant}), OPTIONS).rows
    by_scale = {
        scale: [row for row in rows if row.get("instrument_scale") == scale and row["window"] == "session_3"] for scale in ("bond", "task")
    }
    told = {row["estimate_type"]: row["reason"] for row in by_scale["bond"] if row["status"] == "not_estimable"}
    assert "(1 of 4)" in told["alpha"] and told["omega_total"] == told["alpha"]
    assert told["inter_item_correlation"] == "not estimable: needs items whose answers differ; 1 of 4 are constant"
    assert not [row for row in by_scale["task"] if row["status"] == "not_estimable"]


@pytest.mark.parametrize(("n", "least"), [(9, 10), (19, 20)])
def test_too_few_clients_give_a_reason_and_no_number(n, least):
    found = summary_of(observed_site(n=n), options(min_clients=least)).estimates
    assert set(found["status"]) == {"not_estimable"} and found["reason"].str.contains(f"at least {least}").any()
    assert found["reason"].str.contains(f"has {n}").any()


def test_one_therapist_is_told_and_clients_take_his_place():
    random = np.random.default_rng(8)
    values = bifactor_answers("wai_s", 40, random)
    one = item_site("a", {"wai_s": item_frame("wai_s", values, therapist_no=[1] * 40)}, therapist_no=[1] * 40)
    rows = measurement_reliability.estimate(one, OPTIONS).rows
    alpha = next(row for row in rows if row["estimate_type"] == "alpha" and row["instrument_scale"] == "total")
    assert alpha["status"] == "flagged" and "fewer than 5 therapists (1)" in alpha["reason"]
    assert alpha["method"] == "client_jackknife" and alpha["n_therapists"] == 1
    unknown = item_site("a", {"wai_s": item_frame("wai_s", values)})
    same = next(row for row in measurement_reliability.estimate(unknown, OPTIONS).rows if row["parameter"] == alpha["parameter"])
    assert same["status"] == "estimated" and same["n_therapists"] is None
    assert [same[name] for name in ("estimate", "ci_low", "ci_high")] == [alpha[name] for name in ("estimate", "ci_low", "ci_high")]


def test_one_rater_gives_no_agreement_and_no_differences_between_raters():
    alone = observed_site(raters=1)
    rows = measurement_interrater.estimate(alone, OPTIONS).rows
    assert [row["reason"] for row in rows] == ["not estimable: needs at least two raters of one kind at one session; has none"]
    outside = alone.ratings["wai_s"].assign(timepoint="intake", session=pd.NA).drop_duplicates(["client_no", "rater"])
    two = pd.concat([outside, outside.assign(rater_no=2)], ignore_index=True).astype({"session": "Int64", "rater_no": "Int64"})
    rows = measurement_interrater.estimate(dataclasses.replace(alone, ratings={"wai_s": two}), OPTIONS).rows
    assert [row["reason"] for row in rows] == ["not estimable: needs at least two raters of one kind at one session; has none"]
    contrasts = [
        row for row in measurement_reliability.estimate(wai_site("a", n=40), OPTIONS).rows if row["estimate_type"] == "reliability_contrast"
    ]
    assert [row["contrast"] for row in contrasts] == ["therapist minus client", "therapist minus observer", "client minus observer"]
    assert all(re.search("needs answers to items by .* of the same dyads; has none by", row["reason"]) for row in contrasts)


def test_order_of_rows_and_sites_changes_nothing(answers, tables, sites):
    for name, table in tables_of(answers[::-1]).items():
        pd.testing.assert_frame_equal(table, tables[name], check_exact=True)
    for site in sites:
        if not len(site.ratings) and site.scores.empty:
            continue
        shuffled = dataclasses.replace(
            site,
            ratings={key: rows.sample(frac=1, random_state=2).reset_index(drop=True) for key, rows in site.ratings.items()},
            clients=site.clients.sample(frac=1, random_state=3).reset_index(drop=True),
            scores=site.scores.sample(frac=1, random_state=4).reset_index(drop=True),
        )
        one, other = summary_of(shuffled).estimates, summary_of(site).estimates
        pd.testing.assert_frame_equal(one, other, check_exact=False, rtol=1e-9, atol=1e-12)


def test_a_summary_that_was_sent_gives_the_same_tables(tmp_path, sites):
    for site in (sites[0], sites[2], sites[3], sites[4]):
        summary = dataclasses.replace(measurement.estimate(site, OPTIONS, {}), options_digest="0" * 12, instruments_digest="1" * 12)
        folder = tmp_path / site.site / "measurement" / summary.options_digest / site.site
        summary.write(folder)
        pd.testing.assert_frame_equal(SiteSummary.read(folder).estimates, summary.estimates, check_exact=True)
        before, after = (measurement.pool([one], OPTIONS, {}) for one in (summary, SiteSummary.read(folder)))
        for name, table in before.items():
            pd.testing.assert_frame_equal(after[name], table, check_exact=True)
        # What the check of sent summaries says: counts fit (A04), no rows of clients (A07).
        delivery = summaries.clean_summary_site(tmp_path / site.site, site.site, SiteFile(data="summary", label="North"), REGISTRY)
        assert delivery.status["status"] == "ok", [issue for issue in delivery.issues]
        most = summary.estimates[["n_clients", "n_sessions", "n_therapists"]].max()
        assert most.to_dict() == {f"n_{name}": summary.n[name] for name in ("clients", "sessions", "therapists")}


def test_no_values_of_clients_leave_the_site():
    site = observed_site()
    marked = site.ratings["wai_s"].assign(
        client_no=lambda rows: rows["client_no"] + 770_000, therapist_no=lambda rows: rows["therapist_no"] + 880_000
    )
    clients = site.clients.assign(
        client_no=lambda rows: rows["client_no"] + 770_000, therapist_no=lambda rows: rows["therapist_no"] + 880_000
    )
    scores = site.scores.assign(client_no=site.scores["client_no"] + 770_000, therapist_no=site.scores["therapist_no"] + 880_000)
    moved = dataclasses.replace(site, ratings={"wai_s": marked}, clients=clients, scores=scores)
    summary = summary_of(moved)
    text = summary.estimates.to_csv(index=False, float_format="%.6g") + summary.vcov.to_csv(index=False, float_format="%.6g")
    assert not re.search(r"\b(77|88)0\d{3}\b", text)
    with_numbers = summary.estimates[summary.estimates["status"].isin(WITH_NUMBERS)]
    assert with_numbers["n_clients"].ge(OPTIONS["pooling"]["min_clients"]).all()
    assert len(summary.moments) == 0 and len(summary.draws) == 0
    pd.testing.assert_series_equal(summary.estimates["estimate"], summary_of(site).estimates["estimate"])


def test_methods_cite_works_of_the_bibliography(tables):
    known = set(re.findall(r"^@\w+\{([^,]+),", (PROJECT / "workflow" / "references.bib").read_text(encoding="utf-8"), re.MULTILINE))
    for name, part in PARTS.items():
        told = part.methods(OPTIONS, tables[name])
        assert told and {key for sentence in told for key in sentence.citations} <= known
        nothing = part.methods(OPTIONS, tables[name].iloc[:0])
        assert len(nothing) == 1 and not nothing[0].citations


def test_agreement_names_its_form_and_its_headline(tables):
    own = rows_of(tables["interrater"], site="o", instrument="wai_s", instrument_scale="total", estimate_type="icc")
    assert sorted(own["form"]) == ["ICC(1,1)", "ICC(1,k)", "ICC(2,1)", "ICC(2,k)", "ICC(3,1)", "ICC(3,k)"]
    assert own.set_index("form")["headline"].eq("yes").pipe(lambda mask: list(mask.index[mask])) == ["ICC(2,k)"]
    assert own.set_index("form")["definition"].to_dict()["ICC(3,1)"] == "consistency"
    assert set(own["n_raters"]) == {1.0, 2.0} and set(own["n_sessions"]) == {80} and set(own["n_clients"]) == {40}
    every = rows_of(tables["interrater"], site="o")
    assert set(every["estimate_type"]) > {"icc", "generalizability", "mean_difference"}
    assert set(every[every["estimate"].notna()]["n_therapists"]) == {8}
    shares = rows_of(tables["interrater"], site="o", instrument="wai_s", instrument_scale="total", estimate_type="variance_component")
    assert shares["estimate"].sum() == pytest.approx(1)
