"""What is published rests on enough clients and therapists everywhere, and nothing beside it tells the rest."""

from __future__ import annotations

import dataclasses
import random

import pandas as pd
import pytest
import report_study
from alliance.configuration.errors import ConfigurationError
from alliance.configuration.study import load
from alliance.issues import Issue, Severity
from alliance.publishing import columns, counts, personal, wording
from alliance.publishing.decisions import DisclosureError
from alliance.publishing.disclosure import gate
from alliance.publishing.profiles import profile
from alliance.questions import contract
from alliance.questions.contract import POOLED
from alliance.reports import pages
from alliance.sensitivity.contract import TABLES as SENSITIVITY_TABLES
from support import PROJECT
from unit.published_study import (
    EFFECT,
    PUBLIC,
    SHARE,
    SITES,
    gated,
    gated_rows,
    row,
    status,
    study,
    table,
    with_numbers,
)

SITE_EFFECTS = ("alliance_outcome", "site_effects")


def one(question, name, **other):
    """Return the published form of a single row."""
    return gated_rows(question, name, [row(**other)]).iloc[0]


# Declarations.


@pytest.mark.parametrize("schema", [*contract.TABLES, *SENSITIVITY_TABLES], ids=lambda schema: f"{schema.question}/{schema.name}")
def test_every_number_column_of_every_table_is_declared(schema):
    numbers = {name for name, kind in contract.table_types(schema).items() if kind != contract.TEXT}
    assert set(columns.kinds(schema)) == numbers


def test_a_number_column_that_is_not_declared_stops_publishing(monkeypatch):
    schema = contract.table(*SITE_EFFECTS)
    wider = dataclasses.replace(
        schema, keys={**schema.keys, "oldest_client": "age of the oldest client"}, numbers=(*schema.numbers, "oldest_client")
    )
    monkeypatch.setattr(contract, "TABLES", tuple(wider if one is schema else one for one in contract.TABLES))
    frame = table(*SITE_EFFECTS, [row(**EFFECT) | {"oldest_client": 71}])
    with pytest.raises(DisclosureError, match=r"oldest_client.*declare it"):
        gated({"alliance_outcome": {"site_effects": frame}})


# One client, one therapist, one degree of freedom too few.

KINDS = {
    "table row": ("alliance_outcome", "site_effects", EFFECT, {"estimate_type": "correlation"}, 12),
    "mean": ("early_gains", "hypotheses", {"hypothesis": "1", "statistic": "mean", "group": "x"}, {"estimate_type": "mean"}, 10),
    "model": ("dropout", "hazard", {"term": "alliance_first"}, {"estimate_type": "hazard_ratio", "scale": "log", "estimate": 1.4}, 12),
    "mean course (figure)": ("course", "growth", {"term": "mean", "session": 4}, {"estimate_type": "mean"}, 11),
    "partial correlation": ("alliance_outcome", "site_effects", EFFECT | {"form": "ancova"}, {"estimate_type": "partial_correlation"}, 13),
}


@pytest.mark.parametrize("kind", KINDS)
def test_one_client_too_few_withholds_a_number(kind):
    question, name, keys, what, least = KINDS[kind]
    shown = one(question, name, clients=least, **keys, **what)
    assert (shown["status"], shown["n_clients"]) == ("estimated", 5 * round(least / 5))
    hidden = one(question, name, clients=least - 1, **keys, **what)
    assert hidden["status"] == "withheld"
    assert hidden[["estimate", "std_error", "ci_low", "ci_high", "n_clients", "n_therapists"]].isna().all()
    assert "withheld: under 10" in hidden["reason"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("therapists", [2, None])
def test_one_therapist_too_few_or_unknown_withholds_a_number(kind, therapists):
    question, name, keys, what, _ = KINDS[kind]
    assert one(question, name, clients=40, therapists=3, **keys, **what)["status"] == "estimated"
    hidden = one(question, name, clients=40, therapists=therapists, **keys, **what)
    assert (hidden["status"], pd.isna(hidden["estimate"])) == ("withheld", True)


def test_unknown_therapists_are_bounded_by_the_clients_a_row_lacks():
    # Of 60 clients of 10 therapists: who lacks 7 clients lacks at most 7 therapists.
    assert one(*SITE_EFFECTS, clients=53, therapists=None, **EFFECT)["status"] == "estimated"
    assert one(*SITE_EFFECTS, clients=52, therapists=None, **EFFECT)["status"] == "withheld"


def test_a_published_matrix_need_not_tell_its_therapists():
    files = [{"file": "matrix.csv", "sha256": "0" * 64, "rows_in": 9, "rows_used": 9, "rows_quarantined": 0, "rows_excluded_by_rule": 0}]
    sites = [status("birch"), status("elm", therapists=0, data="summary", files=files, flow={})]
    made = gated_rows(*SITE_EFFECTS, [row(therapists=None, method="published_n", **EFFECT)], statuses=sites)
    assert with_numbers(made) == [True]


def test_a_model_keeps_ten_residual_degrees_of_freedom():
    def terms(clients):
        rows = [row(clients=clients, term=f"x{number}", estimate_type="hazard_ratio", scale="log") for number in range(4)]
        return gated_rows("dropout", "hazard", rows)

    assert with_numbers(terms(14)) == [True] * 4
    assert with_numbers(terms(13)) == [False] * 4


# Shares and counts.


@pytest.mark.parametrize(("inside", "shown"), [(10, True), (9, False), (0, False), (50, True), (51, False), (60, False)])
def test_a_share_shows_neither_few_clients_nor_few_others(inside, shown):
    made = one("dropout", "definitions", clients=60, estimate_type="share", scale="identity", estimate=inside / 60, ci_low=0, ci_high=1)
    assert (made["status"] == "estimated") is shown
    if shown:
        assert made["estimate"] == round(inside / 60, 2)


def test_agreement_goes_with_a_share_that_is_hidden():
    keys = {"criterion": "decline", "compared_with": "observed", "unit": "clients", "scale": "identity", "ci_low": 0, "ci_high": 1}
    rows = [row(statistic="agreement", estimate_type="share", estimate=0.95, **keys)]
    rows += [row(statistic="kappa", estimate_type=kind, estimate=value, **keys) for kind, value in (("kappa", 0.8), ("pabak", 0.9))]
    assert not any(with_numbers(gated_rows("ruptures", "agreement", rows)))
    few = [one | {"estimate": value} for one, value in zip(rows, (0.7, 0.4, 0.4))]
    assert all(with_numbers(gated_rows("ruptures", "agreement", few)))


def test_the_last_hidden_share_of_a_whole_takes_another_with_it():
    parts = {"recovered": 24, "improved": 16, "unchanged": 12, "deteriorated": 8}
    rows = [
        row(clients=60, category=name, denominator="treated", estimate_type="share", scale="identity", estimate=n / 60, ci_low=0, ci_high=1)
        for name, n in parts.items()
    ]
    made = gated_rows("early_gains", "change_categories", rows).set_index("category")
    assert made["status"].to_dict() == {
        "recovered": "estimated",
        "improved": "estimated",
        "unchanged": "withheld",
        "deteriorated": "withheld",
    }


def test_counts_of_few_events_are_empty_and_others_rounded():
    keys = {"estimate_type": "hazard_ratio", "scale": "log", "estimate": 1.4, "term": "alliance_first", "events_per_parameter": 3.0}
    few, many, nearly_all = (one("dropout", "hazard", clients=58, n_events=n, **keys) for n in (9, 18, 49))
    assert (few["status"], pd.isna(few["n_events"]), many["n_events"], pd.isna(nearly_all["n_events"])) == ("estimated", True, 20, True)
    assert pd.isna(many["events_per_parameter"])
    assert many["n_clients"] == 60


def test_the_share_of_clients_who_lack_something_is_hidden_where_they_are_few():
    few, none, many = (one(*SITE_EFFECTS, clients=48, share_missing=share, **EFFECT) for share in (2 / 50, 0.0, 12 / 60))
    assert (pd.isna(few["share_missing"]), none["share_missing"], many["share_missing"]) == (True, 0.0, 0.2)


def test_numbers_have_no_more_digits_than_are_printed():
    made = one(*SITE_EFFECTS, clients=43, detectable_r=0.41234, **EFFECT)
    assert (made["estimate"], made["std_error"], made["n_clients"], made["n_therapists"]) == (0.31, 0.12, 45, 10)
    assert pd.isna(made["detectable_r"])


def test_rounding_leaves_numbers_alone_among_partners():
    made = gated_rows(*SITE_EFFECTS, [row(clients=43, **EFFECT)], SHARE).iloc[0]
    assert (made["estimate"], made["n_clients"]) == (0.31234, 43)


def test_rows_without_numbers_tell_no_small_counts():
    silent = {"estimate": None, "std_error": None, "ci_low": None, "ci_high": None, "status": "not_estimable"}
    reason = "not estimable: needs at least 10 clients with both scores; has 3"
    made = one(*SITE_EFFECTS, clients=3, therapists=2, reason=reason, **silent, **EFFECT)
    assert made[["n_clients", "n_therapists"]].isna().all()
    assert made["reason"] == "not estimable: needs at least 10 clients with both scores; has fewer"


@pytest.mark.parametrize(
    ("reason", "published"),
    [
        ("part of it came after for 3 of 50 clients: so", "part of it came after for some clients: so"),
        (
            "few clients: 2.1 for each free parameter (convention: at least 5)",
            "few clients for each free parameter (convention: at least 5)",
        ),
        ("with 4 therapists only a correlation of 0.74 or more could be detected (power 0.8)", None),
        ("fewer than 5 therapists (4): clients taken as independent", "fewer than 5 therapists: clients taken as independent"),
        ("no interval: 1 of 9 resamples had no proper solution", "no interval: some resamples had no proper solution"),
        ("7 clients left early", "some clients left early"),
        ("2 of 6 site estimates flagged (see the sites' rows)", "2 of 6 site estimates flagged (see the sites' rows)"),
        ("the raters used different instruments (wai_36 and vtas)", "the raters used different instruments (wai_36 and vtas)"),
        (
            "needs 72 clients with all 12 variables of sessions 1 to 5; has 30",
            "needs 72 clients with all 12 variables of sessions 1 to 5; has fewer",
        ),
    ],
)
def test_reasons_keep_limits_and_lose_counts(reason, published):
    expected = published or "with so few therapists only a large correlation could be detected (power 0.8)"
    assert wording.without_counts(reason) == expected


# Curves.


def curve(at_risk, risks, clients=100):
    return [
        row(
            clients=clients,
            definition="unilateral",
            group="all",
            session=session,
            n_at_risk=n,
            n_events=4,
            estimate_type="cumulative_risk",
            scale="identity",
            estimate=risk,
            ci_low=0,
            ci_high=1,
        )
        for session, (n, risk) in enumerate(zip(at_risk, risks), start=1)
    ]


def test_curves_show_points_between_which_enough_clients_left_and_stop_where_few_are_left():
    made = gated_rows("dropout", "survival", curve((100, 90, 80, 60, 40, 12, 9), (0.04, 0.08, 0.12, 0.16, 0.23, 0.35, 0.5)))
    assert made.loc[made["status"].eq("estimated"), "session"].tolist() == [3, 5, 6]
    assert made.loc[made["status"].eq("withheld"), ["estimate", "n_at_risk", "n_events"]].isna().all(axis=None)


# Sites.


def test_small_sites_stand_together_and_are_named_nowhere():
    sites = [status("birch", 80, 12), status("cedar", 60, 9), status("elm", 16, 4), status("oak", 12, 3)]
    effects = [row(site, clients, 3, **EFFECT) for site, clients in (("birch", 75), ("cedar", 55), ("elm", 15), ("oak", 12))]
    left_out = [
        row(POOLED, 157 - n, 20, site_left_out=site, n_sites=3, **EFFECT)
        for site, n in (("birch", 75), ("cedar", 55), ("elm", 15), ("oak", 12))
    ]
    tables = {
        "alliance_outcome": {
            "site_effects": table(*SITE_EFFECTS, effects),
            "leave_one_out": table("alliance_outcome", "leave_one_out", left_out),
        }
    }
    data = dataclasses.replace(study(tables, sites), options=without_sites(["oak"]))
    made = gate(data, {}, PUBLIC)
    assert [(one["site"], one["label"], one["counts"]["clients"]) for one in made.data.statuses] == [
        ("birch", "Clinic Birch", 80),
        ("cedar", "Clinic Cedar", 60),
        ("other-sites", "Other sites (2)", 30),
    ]
    assert made.data.tables["alliance_outcome"]["site_effects"]["site"].tolist() == ["birch", "cedar"]
    assert made.data.tables["alliance_outcome"]["leave_one_out"]["site_left_out"].tolist() == ["birch", "cedar"]
    whole = repr((made.data.tables, made.data.statuses, made.data.options, made.data.provenance, made.decisions)).lower()
    assert not any(name in whole for name in ("'elm", "'oak", "clinic elm", "clinic oak"))
    assert (made.data.n_sites, made.data.n_included) == (4, 4)


def test_a_hidden_site_called_like_a_word_of_the_configuration_changes_no_key():
    sites = [status("birch", 80), status("early", 12), status("client", 15)]
    made = gate(study({"alliance_outcome": {"site_effects": table(*SITE_EFFECTS, [row("birch", **EFFECT)])}}, sites), {}, PUBLIC).data
    frame = made.tables["alliance_outcome"]["site_effects"]
    assert frame[["window", "alliance_rater"]].to_numpy().tolist() == [["early", "client"]]
    assert made.options == study().options


def without_sites(names):
    options = report_study.study().options
    return {**options, "pooling": {**options["pooling"], "sites": {**options["pooling"]["sites"], "leave_out": names}}}


def test_one_small_site_takes_the_next_smallest_with_it():
    sites = [status("birch", 80), status("cedar", 40), status("elm", 12)]
    made = gated({}, statuses=sites).data.statuses
    assert [(one["site"], one["counts"]["clients"]) for one in made] == [("birch", 80), ("other-sites", 50)]


@pytest.mark.parametrize(
    "small",
    [{"clients": 19}, {"therapists": 2}, {"therapists": 0}, {"largest_caseload_share": 0.71}],
    ids=["clients", "therapists", "unknown", "dominance"],
)
def test_a_site_is_shown_by_itself_only_within_all_limits(small):
    sites = [status("birch"), status("cedar"), status("elm", **small), status("oak", clients=30)]
    assert [one["site"] for one in gated({}, statuses=sites).data.statuses] == ["birch", "cedar", "other-sites"]
    within = {"clients": 20} if "clients" in small else {"therapists": 3} if "therapists" in small else {"largest_caseload_share": 0.7}
    sites[2] = status("elm", **within)
    assert len(gated({}, statuses=sites).data.statuses) == 4


def test_two_sites_of_which_one_is_small_are_shown_together():
    rows = [row("birch", 70, **EFFECT), row("elm", 12, 4, **EFFECT)]
    pooled = [row(POOLED, 82, 14, coding="as_estimated", **EFFECT) | {"n_sites": 2}]
    tables = {"alliance_outcome": {"site_effects": table(*SITE_EFFECTS, rows), "pooled": table("alliance_outcome", "pooled", pooled)}}
    made = gated(tables, statuses=[status("birch", 75), status("elm", 15, 4)]).data
    assert [one["label"] for one in made.statuses] == ["Other sites (2)"]
    assert len(made.tables["alliance_outcome"]["site_effects"]) == 0
    assert made.tables["alliance_outcome"]["pooled"]["n_clients"].tolist() == [80]


def test_one_large_site_is_shown_and_one_small_site_is_refused():
    assert [one["site"] for one in gated({}, statuses=[status("birch")]).data.statuses] == ["birch"]
    with pytest.raises(DisclosureError, match="all sites together"):
        gated({}, statuses=[status("birch", 12)])


def test_no_site_at_all_publishes_pages_without_numbers():
    out = status("willow", status="excluded", counts={"clients": 0}, reasons=["ratings.csv: the file holds 7 clients"])
    made = gated({}, statuses=[out]).data
    assert made.statuses[0]["reasons"] == ["the file holds some clients"]
    assert "index.html" in pages.render_all(made, report_study.TEMPLATES)


def test_the_flow_tells_of_no_few_clients():
    flow = {
        "sent": 66,
        "withdrawn": 2,
        "test_records": 0,
        "without_usable_rows": 0,
        "cleaned": 64,
        "with_ratings": 61,
        "with_session_ratings": 48,
    }
    sites = [status("birch"), status("elm", flow=flow)]
    public = gated({}, statuses=sites).data.statuses[1]["flow"]
    assert public == {"sent": 65, "cleaned": 65, "with_session_ratings": 50, "test_records": 0, "without_usable_rows": 0}
    partners = gated({}, SHARE, statuses=sites).data.statuses[1]["flow"]
    assert partners == {"cleaned": 64, "with_session_ratings": 48, "test_records": 0, "without_usable_rows": 0}


def test_files_contacts_and_hashes_stay_at_home():
    sites = [
        status(
            "birch", site_facts={"country": "DE", "contact": "Dr A. Body, a.body@clinic.example", "treatment_menu": "CBT since 3 May 2019"}
        )
    ]
    made = gated({}, statuses=sites).data
    assert made.statuses[0]["site_facts"] == {"country": "DE"}
    assert [file["file"] for file in made.statuses[0]["files"]] == ["1 file"]
    assert made.provenance["inputs"] == []
    assert "ratings.csv" not in repr((made.statuses, made.provenance))


def test_faults_are_told_by_kind_without_places_and_values():
    data = study()
    found = [
        Issue("V01", Severity.CELL, f"The value {value} is outside", "Fix.", "elm", "a.csv", "", value, "WAI3", str(value), 4)
        for value in (21, 22, 23)
    ]
    found += [Issue("R04", Severity.ROW, "The row stands twice", "Fix.", "oak", "b.csv", "", 203, "", "", 9)]
    made = gate(dataclasses.replace(data, issues=found), {}, PUBLIC).data.issues
    assert [(one.site, one.code, one.n_affected, one.file, one.row, one.column, one.value_shown) for one in made] == [
        ("elm", "V01", 10, "", None, "", "")
    ]
    assert "2" not in made[0].message


def test_statistics_of_scales_rest_on_enough_clients():
    moments = pd.DataFrame(
        {
            "site": ["elm"] * 2,
            "instrument": ["wai_sr"] * 2,
            "scale": ["total"] * 2,
            "n_clients": [58, 9],
            "n_rows": [412, 30],
            "mean": [3.9123, 4.0],
        }
    )
    made = gate(dataclasses.replace(study(), scale_moments=moments), {}, PUBLIC).data.scale_moments
    assert made[["n_clients", "n_rows", "mean"]].to_numpy().tolist() == [[60, 410, 3.91]]
    with pytest.raises(DisclosureError, match="youngest"):
        gate(dataclasses.replace(study(), scale_moments=moments.assign(youngest=18)), {}, PUBLIC)


# What stands beside a hidden number.


def test_the_only_hidden_site_of_a_pooled_number_takes_another_with_it():
    sizes = {"birch": 50, "cedar": 45, "elm": 9, "oak": 30, "rowan": 40}
    rows = [row(site, n, **EFFECT) for site, n in sizes.items()]
    pooled = [row(POOLED, sum(sizes.values()), 40, coding="as_estimated", **EFFECT)]
    tables = {"alliance_outcome": {"site_effects": table(*SITE_EFFECTS, rows), "pooled": table("alliance_outcome", "pooled", pooled)}}
    made = gated(tables).data.tables["alliance_outcome"]
    effects = made["site_effects"].set_index("site")
    assert effects["status"].to_dict() == {
        "birch": "estimated",
        "cedar": "estimated",
        "elm": "withheld",
        "oak": "withheld",
        "rowan": "estimated",
    }
    assert made["pooled"]["status"].tolist() == ["estimated"]


def test_rows_without_one_site_go_with_that_sites_number():
    sizes = {"birch": 50, "cedar": 45, "elm": 9, "oak": 30, "rowan": 40}
    total = sum(sizes.values())
    rows = [row(POOLED, total - n, 40 - 8, site_left_out=site, n_sites=4, **EFFECT) for site, n in sizes.items()]
    made = gated_rows("alliance_outcome", "leave_one_out", rows).set_index("site_left_out")
    assert made["status"].to_dict() == dict.fromkeys(sizes, "estimated") | {"elm": "withheld"}


def test_groups_of_one_site_hide_the_difference_of_two_of_which_one_is_small():
    keys = EFFECT | {"moderator": "gender"}
    rows = [row(clients=n, group=group, **keys) for group, n in (("female", 44), ("male", 8))]
    rows += [row(clients=52, group="female minus male", contrast="female - male", **keys) | {"estimate_type": "correlation_contrast"}]
    made = gated_rows("alliance_outcome", "moderators", rows)
    assert not any(with_numbers(made))


def test_a_number_over_one_site_is_judged_as_that_site():
    made = gated_rows("alliance_outcome", "pooled", [row(POOLED, 15, 4, coding="as_estimated", **EFFECT) | {"n_sites": 1}])
    assert with_numbers(made) == [False]


def scenario_rows(base, other):
    keys = {"question": "alliance_outcome", "headline": "r", "label": "r", "base_estimate": 0.3, "change": 0.01}
    rows = [row(POOLED, *base, **keys), row(POOLED, *other, **keys) | {"scenario": "without_small_sites"}]
    schema = SENSITIVITY_TABLES[0]
    return contract.typed(pd.DataFrame(rows), contract.table_types(schema))


@pytest.mark.parametrize(("other", "shown"), [((291, 40), False), ((290, 38), False), ((290, 37), True), ((300, 40), True)])
def test_scenarios_that_leave_out_few_clients_or_therapists_are_hidden(other, shown):
    frame = gate(study(), {"scenario_comparison": scenario_rows((300, 40), other)}, PUBLIC).sensitivity["scenario_comparison"]
    assert with_numbers(frame) == [True, shown]
    assert pd.isna(frame["change"].iloc[1]) is not shown


def test_changes_from_a_hidden_number_are_hidden_too():
    frame = gate(study(), {"scenario_comparison": scenario_rows((9, 5), (60, 20))}, PUBLIC).sensitivity["scenario_comparison"]
    assert with_numbers(frame) == [False, True]
    assert frame[["base_estimate", "change"]].isna().all(axis=None)


# The last version.


def versions(first, second, profile=PUBLIC, **other):
    """Return the second version of a table after the first was published."""
    before = gated_rows(*SITE_EFFECTS, first, profile)
    return gated_rows(*SITE_EFFECTS, second, profile, before={"alliance_outcome/site_effects": before}, **other)


@pytest.mark.parametrize(("clients", "shown"), [(58, False), (66, False), (67, True), (80, True)])
def test_a_number_of_57_clients_changes_only_with_enough_new_ones(clients, shown):
    sites = [status(site, 90) for site in SITES]
    made = versions([row(clients=57, **EFFECT)], [row(clients=clients, estimate=0.36, **EFFECT)], statuses=sites)
    assert with_numbers(made) == [shown]
    if not shown:
        assert made["estimate"].isna().all() and "about 55 clients" in made["reason"].iloc[0]


def test_a_number_that_did_not_change_is_shown_again():
    assert with_numbers(versions([row(clients=57, **EFFECT)], [row(clients=57, **EFFECT)])) == [True]


def test_what_was_held_back_is_compared_with_what_was_last_shown():
    first = gated_rows(*SITE_EFFECTS, [row(clients=40, **EFFECT)])
    name = "alliance_outcome/site_effects"
    second = gated_rows(*SITE_EFFECTS, [row(clients=46, estimate=0.36, **EFFECT)], before={name: first})
    third = gated_rows(*SITE_EFFECTS, [row(clients=50, estimate=0.38, **EFFECT)], before={name: second})
    fourth = gated_rows(*SITE_EFFECTS, [row(clients=53, estimate=0.39, **EFFECT)], before={name: third})
    assert [with_numbers(one) for one in (second, third, fourth)] == [[False], [False], [True]]


@pytest.mark.parametrize(("clients", "shown"), [(12, False), (18, False), (19, True)])
def test_a_hidden_number_appears_only_where_the_new_clients_alone_would_do(clients, shown):
    assert with_numbers(versions([row(clients=9, **EFFECT)], [row(clients=clients, **EFFECT)])) == [shown]


def test_another_method_for_the_same_data_is_no_difference():
    changed = [row(clients=57, estimate=0.36, **EFFECT)]
    assert with_numbers(versions([row(clients=57, **EFFECT)], changed, same_data=True)) == [True]
    assert with_numbers(versions([row(clients=57, **EFFECT)], changed)) == [False]


def test_the_last_version_may_come_from_a_file(tmp_path):
    before = gated_rows(*SITE_EFFECTS, [row(clients=57, **EFFECT)])
    before.to_csv(tmp_path / "t.csv", index=False)
    read = pd.read_csv(tmp_path / "t.csv", dtype=object, keep_default_na=False)
    made = gated_rows(*SITE_EFFECTS, [row(clients=58, estimate=0.36, **EFFECT)], before={"alliance_outcome/site_effects": read})
    assert with_numbers(made) == [False]


# Profiles and their limits.


def configuration(tmp_path, section):
    folder = tmp_path / "study"
    (folder / "data" / "demo" / "birch").mkdir(parents=True)
    (folder / "data" / "demo" / "birch" / "site.yaml").write_text("label: Birch\ntables: []\n", encoding="utf-8")
    text = (PROJECT / "config.yaml").read_text(encoding="utf-8")
    at = text.index("\npublish:")
    (folder / "config.yaml").write_text(text[:at] + "\npublish:\n" + section, encoding="utf-8")
    return folder / "config.yaml"


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ("  min_clients: 9\n", "publish.min_clients"),
        ("  profile: share\n  min_clients: 4\n", "publish.min_clients"),
        ("  min_therapists: 2\n", "publish.min_therapists"),
        ("  round_counts_to: 1\n", "publish.round_counts_to"),
        ("  max_therapist_share: 0.8\n", "publish.max_therapist_share"),
        ("  min_site_clients: 10\n", "publish.min_site_clients"),
        ("  min_df: 9\n", "publish.min_df"),
    ],
)
def test_weaker_limits_need_a_named_person(tmp_path, section, key):
    with pytest.raises(ConfigurationError) as refused:
        load(configuration(tmp_path, section))
    assert [(fault.key, "i_accept_disclosure_risk" in fault.message) for fault in refused.value.faults] == [(key, True)]
    assert refused.value.faults[0].line > 0


def test_an_accepted_risk_is_recorded_and_stricter_limits_are_free(tmp_path):
    study = load(configuration(tmp_path, '  min_clients: 4\n  i_accept_disclosure_risk: "Ada Example"\n'))
    assert (profile(study.publish).min_clients, profile(study.publish).accepted_by) == (4, "Ada Example")
    stricter = profile({"profile": "public", "min_clients": 20, "i_accept_disclosure_risk": "Ada Example"})
    assert (stricter.min_clients, stricter.accepted_by) == (20, "")


@pytest.mark.parametrize("name", ["''", "true", "'12'"])
def test_an_acceptance_names_a_person(tmp_path, name):
    with pytest.raises(ConfigurationError) as refused:
        load(configuration(tmp_path, f"  min_clients: 4\n  i_accept_disclosure_risk: {name}\n"))
    assert "publish.i_accept_disclosure_risk" in [fault.key for fault in refused.value.faults]


def test_no_digest_of_a_run_rests_on_how_it_is_published(tmp_path):
    plain, other = (
        load(configuration(tmp_path / name, section)) for name, section in (("a", "  profile: public\n"), ("b", "  profile: share\n"))
    )
    assert plain.scenarios == other.scenarios
    assert plain.publish != other.publish


def test_scenarios_cannot_change_how_a_study_is_published(tmp_path):
    config = configuration(tmp_path, "  profile: public\n")
    config.with_name("scenarios.yaml").write_text("open:\n  reason: to see\n  changes: {publish: {profile: internal}}\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="published by one rule"):
        load(config)


def test_internal_hides_nothing():
    data = report_study.study()
    made = gate(data, {}, profile({"profile": "internal"}))
    assert made.data.tables is data.tables and made.decisions == ()


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ({"profile": "internal"}, ["nothing is withheld"]),
        ({"profile": "share"}, ["Profile “share”", "fewer than 5 clients"]),
        ({"profile": "public", "min_clients": 12}, ["Profile “public”", "fewer than 12 clients or 3 therapists", "multiples of 5"]),
        ({"profile": "public", "min_clients": 7, "i_accept_disclosure_risk": "Ada Example"}, ["accepted by Ada Example"]),
    ],
)
def test_every_page_says_at_its_top_by_which_limits_it_is_published(section, told):
    data = report_study.only(report_study.study(), "early_gains")
    assert not any("Disclosure control" in text for text in pages.render_all(data, report_study.TEMPLATES).values())
    made = pages.render_all(gate(data, {}, profile(section)).data, report_study.TEMPLATES)
    assert made
    for text in made.values():
        banner = text.split('aria-label="Disclosure control"')[1].split("</div>")[0]
        assert [words for words in told if words not in banner] == []
    assert ("results/issues.csv" in made["quality.html"]) == (section["profile"] == "internal")


def test_limits_out_of_bounds_of_a_profile_are_refused_in_code_too():
    with pytest.raises(ValueError, match="min_clients"):
        profile({"profile": "public", "min_clients": 3})


# Personal details.


@pytest.mark.parametrize("text", ["opened 2019-03-04", "since 4.3.2019", "3 May 2019", "SW1A 1AA", "CA 94110", "me@clinic.example"])
def test_labels_with_personal_details_stop_publishing(text):
    with pytest.raises(DisclosureError, match="label of elm"):
        gated({}, statuses=[status("birch"), status("elm", label=f"Clinic {text}")])


@pytest.mark.parametrize("text", ["Northgate Psychotherapy Service", "Ward 12", "Clinic founded 1987", "Study 2 (2021)"])
def test_ordinary_labels_are_published(text):
    assert personal.found(text) == []


def test_dates_in_the_text_of_a_table_stop_publishing_and_high_ages_become_90():
    keys = EFFECT | {"moderator": "treatment"}
    with pytest.raises(DisclosureError, match=r"moderators, column group, holds a date"):
        gated_rows("alliance_outcome", "moderators", [row(group="CBT from 2021-03-05", **keys)])
    made = gated_rows("alliance_outcome", "moderators", [row(group="age 93", **keys)])
    assert made["group"].tolist() == ["age 90+"]


# The whole.


def test_gating_is_deterministic_idempotent_and_free_of_order():
    data = report_study.study()
    first, second = gate(data, {}, PUBLIC), gate(data, {}, PUBLIC)
    shuffled = dataclasses.replace(
        data,
        statuses=list(reversed(data.statuses)),
        issues=random.Random(3).sample(list(data.issues), len(data.issues)),
        tables={
            question: {name: frame.sample(frac=1, random_state=2) for name, frame in found.items()}
            for question, found in data.tables.items()
        },
    )
    third, again = gate(shuffled, {}, PUBLIC), gate(first.data, first.sensitivity, PUBLIC)
    assert first.decisions == second.decisions == third.decisions
    assert list(first.data.issues) == list(third.data.issues)
    for question, found in first.data.tables.items():
        for name, frame in found.items():
            pd.testing.assert_frame_equal(frame, second.data.tables[question][name])
            pd.testing.assert_frame_equal(frame, third.data.tables[question][name])
            pd.testing.assert_frame_equal(frame, again.data.tables[question][name])


@pytest.mark.parametrize("limits", [PUBLIC, SHARE], ids=["public", "share"])
def test_gated_tables_keep_the_contract(limits):
    made = gate(report_study.study(), {}, limits).data
    found = {
        f"{question}/{name}": contract.faults(frame, question, name)
        for question in made.tables
        for name, frame in made.tables[question].items()
    }
    before = {
        f"{question}/{name}": contract.faults(frame, question, name)
        for question, tables in report_study.study().tables.items()
        for name, frame in tables.items()
    }
    assert {name: faults for name, faults in found.items() if faults and faults != before[name]} == {}


SENTINEL = 54321.0


def test_pages_print_no_hidden_number_and_no_hidden_site():
    data = report_study.study()
    small = [one | {"counts": {**one["counts"], "clients": 15}} if one["site"] in ("elm", "oak") else one for one in data.statuses]
    data = dataclasses.replace(data, statuses=small)
    hidden = {}
    for question, found in gate(data, {}, PUBLIC).data.tables.items():
        for name, frame in found.items():
            key = columns.identity(contract.table(question, name))
            shown = set(frame.loc[frame["status"].isin(contract.WITH_NUMBERS), key].itertuples(index=False, name=None))
            original = data.tables[question][name]
            # A share decides itself whether it is hidden, so its number stays.
            gone = pd.Series([one not in shown for one in original[key].itertuples(index=False, name=None)], index=original.index)
            gone &= original["status"].isin(contract.WITH_NUMBERS)
            gone &= ~original["estimate_type"].isin((*columns.SHARES, *columns.FROM_SHARES))
            hidden[question, name] = int(gone.sum())
            for column in ("estimate", "ci_low", "ci_high", "std_error"):
                original = original.assign(**{column: original[column].mask(gone, SENTINEL)})
            data = dataclasses.replace(data, tables={**data.tables, question: {**data.tables[question], name: original}})
    assert sum(hidden.values()) > 100
    leaking = "".join(pages.render_all(data, report_study.TEMPLATES).values())
    assert "54,321" in leaking or "54321" in leaking
    made = pages.render_all(gate(data, {}, PUBLIC).data, report_study.TEMPLATES)
    assert "sites/elm.html" not in made and "sites/other-sites.html" in made
    text = "".join(made.values())
    words = [word for word in ("54,321", "54321", "Elm Court", "Oak Tree day hospital", "ratings.csv", "elm.html") if word in text]
    assert words == []


def test_p_values_keep_three_decimals_and_their_side_of_05_also_where_they_are_the_estimate_of_a_row():

    values = [0.0019960, 0.0004, 0.04995, 0.0502, 0.2315]
    kept = [0.002, 0.0005, 0.049, 0.05, 0.232]
    frame = pd.DataFrame({"estimate_type": ["p_value"] * 5, "estimate": values, "p_adjusted": values})
    kinds = {"estimate": columns.RESULT, "p_adjusted": columns.P_VALUE}
    made = counts.coarse(frame, kinds, PUBLIC)
    assert made["estimate"].tolist() == made["p_adjusted"].tolist() == pytest.approx(kept)
    of_fit = counts.coarse(
        frame.assign(estimate_type="fit_index", **{"index": ["p_value", "p_value_holm", "rmsea", "p_value", "cfi"]}), kinds, PUBLIC
    )
    assert of_fit["estimate"].tolist() == pytest.approx([0.002, 0.0005, 0.05, 0.05, 0.232])
