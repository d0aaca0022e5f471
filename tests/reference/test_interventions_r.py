"""Effects of events, curves, transitions and attention by initial level equal what R gives of the same rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import r_script
from alliance.questions.contract import POOLED, faults
from alliance.questions.interventions import complementarity as circle
from unit.intervention_sites import rows, site_from, tables_of

SITES = ("a", "b", "c")
CODED_BY_CIRCLE = "d"
EXACT = {"rel": 1e-7, "abs": 1e-9}
# Optimisers stop where they stop.
SEARCHED = {"rel": 3e-4, "abs": 2e-5}
LAGGED = {"topic": "frequency", "event": "interpretations", "window": "all", "treatment": ""}
POOR = (
    "attention, initial level - 1 SD",
    "attention, initial level + 1 SD",
    "attention x initial level",
    "attention x initial level, as observed",
    "gain of the lowest third",
    "gain of the lowest third that noise alone brings",
    "gain of the lowest third beyond noise",
    "reliability of the initial level",
)


@pytest.fixture(scope="module")
def data() -> dict[str, dict[str, pd.DataFrame]]:
    found = {site: rows(seed=place) for place, site in enumerate(SITES)}
    return {**found, CODED_BY_CIRCLE: rows(seed=7, circle=0.6)}


@pytest.fixture(scope="module")
def tables(data):
    return tables_of([site_from(data[site], site) for site in SITES])


@pytest.fixture(scope="module")
def expected(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("interventions")
    for name in ("sessions", "events"):
        frame = pd.concat([data[site][name].assign(site=site) for site in data], ignore_index=True)
        frame.to_csv(folder / f"{name}.csv", index=False, float_format="%.17g")
    return r_script.values("interventions.R", folder)


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
    assert {name: faults(table, "interventions", name) for name, table in tables.items()} == {name: [] for name in tables}


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("frequency", {"explained": "alliance", "part": "within_clients", "compared_with": "all_sessions"}),
        ("prior", {"explained": "alliance", "part": "within_clients", "compared_with": "earlier_sessions"}),
        ("back", {"explained": "event", "part": "within_clients", "compared_with": "all_sessions"}),
    ],
)
def test_slopes_within_clients_and_their_errors_are_those_of_r(tables, expected, site, name, keys):
    found = expected[site][name]
    assert_row(one(tables["events"], site, **LAGGED, **keys), found["estimate"], found["se"])


@pytest.mark.parametrize("site", SITES)
def test_slopes_between_clients_and_their_excess_are_those_of_r(tables, expected, site):
    found = expected[site]["between"]
    for place, part in enumerate(("between_clients", "between - within")):
        assert_row(one(tables["events"], site, **LAGGED, part=part), found["estimate"][place], found["se"][place])


@pytest.mark.parametrize("site", SITES)
def test_accuracy_by_kind_is_that_of_r(tables, expected, site):
    found = expected[site]["accuracy"]
    for place, event in enumerate(("wish_and_response", "response_of_self", "wish_and_response - others")):
        assert_row(one(tables["events"], site, topic="accuracy", event=event), found["estimate"][place], found["se"][place])


@pytest.mark.parametrize("site", SITES)
def test_quadratic_and_two_lines_are_those_of_r(tables, expected, site):
    table, wanted = tables["curvilinear"], expected[site]
    for name, terms in (("quadratic", ("linear", "quadratic")), ("lines", ("line_below", "line_above"))):
        for place, term in enumerate(terms):
            row = one(table, site, part="within_clients", term=term)
            assert_row(row, wanted[name]["estimate"][place], wanted[name]["se"][place])
    assert one(table, site, part="within_clients", term="bend")["estimate"] == pytest.approx(wanted["lines"]["bend"], rel=1e-9)


@pytest.mark.parametrize("site", SITES)
def test_counted_answers_are_those_of_r(tables, expected, site):
    found = expected[site]["answers"]
    keys = {"topic": "after_event", "response": "involvement", "model": "counted"}
    for place, group in enumerate(("low", "high")):
        row = one(tables["transitions"], site, group=group, estimate_type="share", **keys)
        assert_row(row, 1 / (1 + np.exp(-found["estimate"][place])), found["se"][place])
        assert_row(
            one(tables["transitions"], site, group=group, estimate_type="transition_odds", **keys),
            np.exp(found["estimate"][place]),
            found["se"][place],
        )
    row = one(tables["transitions"], site, group="high - low", estimate_type="odds_ratio", **keys)
    assert_row(row, np.exp(found["estimate"][2]), found["se"][2])


@pytest.mark.parametrize("site", SITES)
def test_odds_ratios_with_random_clients_are_those_of_glmer(tables, expected, site):
    keys = {"topic": "after_event", "response": "involvement", "model": "multilevel"}
    group, parts = expected[site]["group"], expected[site]["parts"]
    row = one(tables["transitions"], site, group="high - low", **keys)
    assert_row(row, np.exp(group["estimate"]), group["se"], **SEARCHED)
    spread = one(tables["transitions"], site, group="SD between clients (log odds)", **keys)
    assert spread["estimate"] == pytest.approx(group["sd"], rel=2e-3, abs=2e-3)
    for place, name in enumerate(("within clients", "between clients")):
        row = one(tables["transitions"], site, group=name, **keys)
        assert_row(row, np.exp(parts["estimate"][place]), parts["se"][place], **SEARCHED)


@pytest.mark.parametrize("site", SITES)
def test_attention_by_true_initial_level_is_that_of_r(tables, expected, site):
    found = expected[site]["poor"]
    for place, term in enumerate(POOR):
        row = one(tables["events"], site, topic="initially_poor", term=term)
        assert row["estimate"] == pytest.approx(found["estimate"][place], **EXACT), term
        scale = 1 - row["estimate"] if row["estimate_type"] == "reliability" else 1.0
        assert row["std_error"] * scale == pytest.approx(found["se"][place], **EXACT), term


@pytest.mark.parametrize("site", SITES)
def test_kinds_of_interpretation_in_ruptures_are_those_of_r(tables, expected, site):
    found = expected[site]["torn"]
    for place, event in enumerate(("here_and_now", "outside", "here_and_now - outside")):
        assert_row(one(tables["events"], site, topic="in_ruptures", event=event), found["estimate"][place], found["se"][place])


@pytest.mark.parametrize("site", SITES)
def test_repairs_by_kind_of_interpretation_are_those_of_r(tables, expected, site):
    counted, model = expected[site]["repaired"], expected[site]["repair_model"]
    for place, group in enumerate(("outside", "here_and_now")):
        row = one(tables["transitions"], site, topic="repair", group=group, estimate_type="share")
        assert_row(row, 1 / (1 + np.exp(-counted["estimate"][place])), counted["se"][place])
    row = one(tables["transitions"], site, topic="repair", group="here_and_now - outside", model="counted")
    assert_row(row, np.exp(counted["estimate"][2]), counted["se"][2])
    row = one(tables["transitions"], site, topic="repair", group="here_and_now - outside", model="multilevel")
    assert_row(row, np.exp(model["estimate"]), model["se"], **SEARCHED)


def test_complementary_replies_and_the_next_alliance_are_those_of_r(data, expected):
    table = tables_of([site_from(data[CODED_BY_CIRCLE], CODED_BY_CIRCLE)])["events"]
    found = expected[CODED_BY_CIRCLE]["circle"]
    for place, (_, term, _) in enumerate(circle.TERMS):
        assert_row(one(table, CODED_BY_CIRCLE, topic="complementarity", term=term), found["estimate"][place], found["se"][place])
    # Confirming replies harm where the client is hostile, as these data were made.
    hostile = one(table, CODED_BY_CIRCLE, topic="complementarity", term=circle.HOSTILE)
    assert hostile["ci_high"] < 0 < one(table, CODED_BY_CIRCLE, topic="complementarity", term=circle.PRODUCT)["ci_low"]


def test_pooled_slopes_are_means_of_the_sites(tables):
    keys = {**LAGGED, "explained": "alliance", "part": "within_clients", "compared_with": "all_sessions"}
    own = [one(tables["events"], site, **keys) for site in SITES]
    row = one(tables["events"], POOLED, **keys)
    weight = np.array([1 / (each["std_error"] ** 2 + row["tau2"]) for each in own])
    assert row["estimate"] == pytest.approx(float(weight @ [each["estimate"] for each in own] / weight.sum()), rel=1e-6)
