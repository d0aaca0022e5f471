"""Agreement, truth and bias, actor and partner effects, and response surfaces equal what R gives of the same rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import r_script
from alliance.questions.contract import POOLED, faults
from alliance.statistics.lagged_dyads import lagged_model
from unit.congruence_sites import options, rows, site_from, tables_of

SITES = ("a", "b", "c", "d")
EXACT = {"rel": 1e-7, "abs": 1e-9}
# Optimisers stop where they stop.
SEARCHED = {"rel": 2e-4, "abs": 2e-5}
TERMS = ("bias", "tracking within clients", "tracking between clients")
MODELS = ("null", "first only", "second only", "additive", "interaction", "squared difference", "rising ridge", "full")


@pytest.fixture(scope="module")
def data() -> dict[str, dict[str, pd.DataFrame]]:
    return {site: rows(clients=110, therapists=12, sessions=7, seed=place) for place, site in enumerate(SITES)}


@pytest.fixture(scope="module")
def tables(data):
    return tables_of([site_from(data[site], site) for site in SITES], options(least_share=0.02))


@pytest.fixture(scope="module")
def expected(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("congruence")
    for name in ("sessions", "clients", "therapists"):
        frame = pd.concat([data[site][name].assign(site=site) for site in SITES], ignore_index=True)
        frame.to_csv(folder / f"{name}.csv", index=False, float_format="%.17g")
    (folder / "panel.txt").write_text(lagged_model(5), encoding="utf-8")
    return r_script.values("congruence.R", folder)


def one(table: pd.DataFrame, site: str, **keys: str) -> pd.Series:
    chosen = table[table["site"].eq(site)]
    for name, value in keys.items():
        chosen = chosen[chosen[name].eq(value)]
    assert len(chosen) == 1, (site, keys, len(chosen))
    return chosen.iloc[0]


def assert_row(row: pd.Series, estimate: float, se: float, **tolerance: float) -> None:
    assert row["estimate"] == pytest.approx(estimate, **(tolerance or EXACT)), row["reason"]
    assert row["std_error"] == pytest.approx(se, **(tolerance or EXACT))


def test_the_tables_are_as_described(tables):
    assert {name: faults(table, "congruence", name) for name, table in tables.items()} == {name: [] for name in tables}


@pytest.mark.parametrize("site", SITES)
def test_agreement_and_its_limits_are_those_of_r(tables, expected, site):
    table, wanted = tables["agreement"], expected["sites"][site]
    keys = {"instrument": "wai_36", "instrument_scale": "total"}
    assert one(table, site, statistic="ICC(2,1)", **keys)["estimate"] == pytest.approx(wanted["icc"], **EXACT)
    names = ("first minus second", "lower limit of agreement", "upper limit of agreement")
    for place, name in enumerate(names):
        assert_row(one(table, site, statistic=name, **keys), wanted["limits"]["estimate"][place], wanted["limits"]["se"][place])
    own = one(table, site, statistic="first minus second", instrument="(preferred)", instrument_scale="total")
    assert_row(own, wanted["limits"]["estimate"][0] / wanted["spread"], wanted["limits"]["se"][0] / wanted["spread"])
    concordance = one(table, site, statistic="concordance", **keys)
    assert np.arctanh(concordance["estimate"]) == pytest.approx(wanted["limits"]["estimate"][5], **EXACT)
    assert concordance["std_error"] == pytest.approx(wanted["limits"]["se"][5], **EXACT)


@pytest.mark.parametrize("site", SITES)
def test_shares_of_clients_in_the_bands_are_those_of_r(tables, expected, site):
    wanted = expected["sites"][site]["bands"]
    place = 0
    for definition in ("one mean and SD for both raters", "each rater's own mean and SD"):
        for band in ("agree", "client higher", "therapist higher"):
            row = one(tables["agreement"], site, statistic=band, definition=definition, instrument_scale="total")
            share = wanted["estimate"][place]
            assert row["estimate"] == pytest.approx(share, **EXACT)
            assert row["std_error"] * share * (1 - share) == pytest.approx(wanted["se"][place], **EXACT)
            place += 1


@pytest.mark.parametrize("site", SITES)
def test_bias_and_tracking_are_those_of_lme4(tables, expected, site):
    table, wanted = tables["truth_and_bias"], expected["sites"][site]["truth"]
    for place, term in enumerate(TERMS):
        row = one(table, site, term=term, headline="yes")
        assert_row(row, wanted["estimate"][place], wanted["se"][place], **SEARCHED)
    found = sorted(table[table["site"].eq(site) & table["estimate_type"].eq("random_effect_sd")]["estimate"])
    client, slope, _, therapist, _ = wanted["sd"]
    assert found == pytest.approx(sorted([client, slope, therapist]), rel=2e-3, abs=2e-3)


@pytest.mark.parametrize("site", SITES)
def test_subscales_their_differences_and_moderators_are_those_of_r(tables, expected, site):
    table, wanted = tables["truth_and_bias"], expected["sites"][site]
    scales = ("task", "bond", "goal")
    places = [(scale, "") for scale in scales] + [
        ("", f"{one} - {other}") for one, other in (("task", "bond"), ("task", "goal"), ("bond", "goal"))
    ]
    for number, (scale, contrast) in enumerate(places):
        for place, term in enumerate(TERMS):
            row = one(table, site, term=term, instrument_scale=scale, contrast=contrast, moderator="")
            assert_row(row, wanted["scales"]["estimate"][3 * number + place], wanted["scales"]["se"][3 * number + place])
    for moderator in ("session", "training"):
        values = wanted[f"moderated_{moderator}"]
        for place, term in enumerate(TERMS[:2]):
            assert_row(one(table, site, term=term, moderator=moderator), values["estimate"][place], values["se"][place])


@pytest.mark.parametrize("site", SITES)
def test_actor_and_partner_effects_are_those_of_r(tables, expected, site):
    table, wanted = tables["actor_partner"], expected["sites"][site]
    for name, explained, part in (
        ("symptoms_within", "symptoms, next session", "within_client"),
        ("symptoms_between", "symptoms, next session", "between_client"),
        ("outcome", "outcome given intake", "between_client"),
    ):
        for place, effect in enumerate(("actor", "partner", "actor - partner")):
            row = one(table, site, explained=explained, part=part, effect=effect, explained_rater="client")
            assert_row(row, wanted[name]["estimate"][place], wanted[name]["se"][place])
    ratio = one(table, site, explained="symptoms, next session", part="within_client", effect="partner / actor")
    assert [ratio["ci_low"], ratio["ci_high"]] == pytest.approx(wanted["fieller"], rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("site", SITES)
def test_effects_on_the_next_rating_are_those_of_lavaan(tables, expected, site):
    values = expected["sites"][site]["panel"]
    wanted = dict(zip(values["name"], zip(values["estimate"], values["se"], strict=True), strict=True))
    for rater, own, other in (("client", "first", "second"), ("therapist", "second", "first")):
        for effect, name in (("actor", f"{own}_by_{own}"), ("partner", f"{own}_by_{other}"), ("actor - partner", f"{own}_contrast")):
            row = one(tables["actor_partner"], site, explained="alliance, next session", effect=effect, explained_rater=rater)
            assert_row(row, *wanted[name], **SEARCHED)


def assert_surface(table: pd.DataFrame, site: str, method: str, wanted: dict, keys: dict[str, str], **tolerance: float) -> None:
    chosen = table[table["site"].eq(site) & table["index"].eq("") & (table["method"].eq(method) if method else True)]
    values = wanted["b"]
    names = [f"b{place}" for place in range(6 - len(values["estimate"]), 6)]
    for name, estimate, se in zip(names, values["estimate"], values["se"], strict=True):
        assert_row(one(chosen, site, term=name, **keys), estimate, se, **tolerance)
    for name, values in wanted["lines"].items():
        assert_row(one(chosen, site, term=name, **keys), values["estimate"], values["se"], **(tolerance or {"rel": 1e-5, "abs": 1e-7}))


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize(
    "name, surface, part",
    [
        ("surface", "alliance_outcome", "client"),
        ("surface_within", "alliance_symptoms", "within_client"),
        ("dropout", "alliance_dropout", "client"),
    ],
)
def test_surfaces_of_a_site_are_those_of_r_with_the_delta_method(tables, expected, site, name, surface, part):
    wanted = expected["sites"][site][name]
    assert_surface(tables["response_surface"], site, "cluster_jackknife", wanted, {"surface": surface, "part": part})


@pytest.mark.parametrize("site", SITES)
def test_simpler_models_have_the_corrected_aic_of_r(tables, expected, site):
    table = tables["response_surface"]
    for model, value in zip(MODELS, expected["sites"][site]["aicc"], strict=True):
        row = one(table, site, surface="alliance_outcome", term=model, index="aicc")
        assert row["estimate"] == pytest.approx(value, **EXACT)


def test_the_pooled_surface_is_that_of_metafor_and_the_delta_method(tables, expected):
    wanted = expected["pooled"]
    values = {"b": {"estimate": wanted["b"], "se": wanted["se"]}, "lines": wanted["lines"]}
    keys = {"surface": "alliance_outcome", "part": "client"}
    assert_surface(tables["response_surface"], POOLED, "multivariate_reml", values, keys, rel=2e-4, abs=1e-5)


def test_the_surface_over_the_rows_of_all_sites_and_its_rivals_are_those_of_lm(tables, expected):
    keys = {"surface": "alliance_outcome", "part": "client"}
    assert_surface(tables["response_surface"], POOLED, "one_stage", expected["one_stage"], keys)
    for model, value in zip(MODELS, expected["one_stage_aicc"], strict=True):
        row = one(tables["response_surface"], POOLED, **keys, term=model, index="aicc")
        assert row["estimate"] == pytest.approx(value, **EXACT)
