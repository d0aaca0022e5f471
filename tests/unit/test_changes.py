"""What changed since the run before: hand-made states beside each other, and the page that tells the difference."""

from __future__ import annotations

import copy
import html
import re
from dataclasses import replace

import pytest
from alliance.changes.comparison import (
    CONFIGURATION,
    DESCRIBED,
    HEADLINES,
    INPUTS,
    SITES,
    VERSIONS,
    Comparison,
    compare,
    configuration_rows,
)
from alliance.changes.page import page
from alliance.changes.state import Snapshot, read_state, write_state
from alliance.files import PRIVATE
from alliance.questions.headlines import COLUMNS
from support import PROJECT
from unit.test_reports_pages import HOSTILE, Tree

TEMPLATES = PROJECT / "workflow" / "templates"
DIGESTS = {name: "aaaa" for name in ("data_digest", "config_digest", "code_digest", "lock_digest", "instruments_digest")} | {
    "version": "0.1.0"
}


def number(headline, estimate, **more):
    row = dict.fromkeys(COLUMNS) | {"headline": headline, "label": f"The {headline}", "question": "q", "table": "t", "claim": ""}
    row |= {"estimate_type": "correlation", "method": "two_stage_reml", "scale": "fisher_z", "status": "estimated", "reason": ""}
    if estimate is not None:
        row |= {"estimate": estimate, "ci_low": estimate - 0.1, "ci_high": estimate + 0.1, "n_clients": 300, "n_sites": 3}
    return row | more


def site(label, clients, sessions=500, status="ok", **files):
    sent = {name.replace("__", "."): {"sha256": sha, "rows": rows} for name, (sha, rows) in files.items()}
    reason = "no table can be read" if status == "excluded" else ""
    return {"label": label, "status": status, "reason": reason, "counts": {"clients": clients, "sessions": sessions}, "files": sent}


def snapshot(**more):
    configuration = {
        "study": {"title": "A study", "simulated": True, "seed": 1},
        "alliance": {"window": "early", "instruments": ["wai_sr", "haq_2"]},
        "report": {"decimals": 2},
    }
    inputs = {
        "elm": site("Elm Court", 100, ratings__csv=("a1", 1000), site__yaml=("b1", None)),
        "oak": site("Oak Tree", 60, ratings__csv=("a2", 600)),
    }
    return replace(Snapshot(inputs, configuration, DIGESTS, "list", {}, [number("first", 0.28), number("second", 0.5)]), **more)


def changed_inputs(**sites):
    """Inputs of the snapshot with some sites replaced; None removes one."""
    return {name: content for name, content in {**snapshot().inputs, **sites}.items() if content is not None}


def changed_key(window):
    configuration = copy.deepcopy(dict(snapshot().configuration))
    configuration["alliance"]["window"] = window
    return configuration


def told(comparison: Comparison) -> str:
    """The text of the page, in one line."""
    return re.sub(r"\s+", " ", html.unescape(" ".join(Tree(page(comparison, TEMPLATES, "base")).text))).replace("\N{NO-BREAK SPACE}", " ")


def one(before: Snapshot, now: Snapshot) -> Comparison:
    return compare({"base": before}, {"base": now}, ["base"])


def test_a_number_that_moved_stands_before_and_now_with_its_difference():
    comparison = one(snapshot(), snapshot(headlines=[number("first", 0.25, n_clients=320), number("second", 0.5)]))
    first, second = comparison.headlines.to_dict("records")
    assert (first["old_estimate"], first["new_estimate"], first["changed"]) == (0.28, 0.25, "yes")
    assert first["difference"] == pytest.approx(-0.03) and (first["old_n_clients"], first["new_n_clients"]) == (300, 320)
    assert (second["difference"], second["changed"]) == (0, "no")
    text = told(comparison)
    assert "300 → 320" in text and "Headline numbers that did not change" in text
    assert "“The first” moved from .28 to .25, interval [.15, .35]." in text and "“The second” moved" not in text
    assert "1 of 2 headline numbers changed." in text


@pytest.mark.parametrize(
    ("old", "new", "changed", "said"),
    [
        (number("first", 0.28), number("first", 0.28 + 1e-12), "no", "None of 1 headline number changed."),
        (number("first", 0.28), number("first", 0.2801), "yes", "moved by less than the printed decimals show and stays .28"),
        (number("first", 0.28), number("first", 0.28, ci_high=0.5), "yes", "stays .28, interval [.18, .50]; what changed is its interval"),
        (number("first", 0.28), number("first", 0.28, reason="other words"), "no", "None of 1"),
        (
            number("first", 0.28),
            number("first", None, status="not_estimable", reason="not estimable: needs 2 sites"),
            "yes",
            "“The first” was .28; now it is not estimable: needs 2 sites.",
        ),
        (
            number("first", None, status="not_estimable", reason="not estimable: needs 2 sites"),
            number("first", 0.28),
            "yes",
            "“The first” could not be told before and is now .28, interval [.18, .38].",
        ),
    ],
)
def test_every_way_in_which_a_number_changes_is_told(old, new, changed, said):
    comparison = one(snapshot(headlines=[old]), snapshot(headlines=[new]))
    assert comparison.headlines["changed"].tolist() == [changed]
    assert said in told(comparison)


def test_numbers_that_come_to_the_list_or_leave_it_are_told():
    comparison = one(snapshot(), snapshot(headlines=[number("first", 0.28), number("third", 0.1)], listed="another"))
    assert dict(zip(comparison.headlines["headline"], comparison.headlines["changed"])) == {"first": "no", "third": "new", "second": "gone"}
    text = told(comparison)
    assert "“The third” is a new headline number: .10" in text and "“The second” is no longer a headline number." in text
    assert comparison.causes["base"] == ("the list of headline numbers",)


def test_more_rows_and_clients_of_a_site_are_counted():
    elm = site("Elm Court", 112, 560, ratings__csv=("a9", 1120), site__yaml=("b1", None))
    comparison = one(snapshot(), snapshot(inputs=changed_inputs(elm=elm)))
    assert comparison.inputs.to_dict("records") == [
        {"scenarios": "base", "site": "elm", "file": "ratings.csv", "what": "changed", "rows_before": 1000, "rows_after": 1120}
    ]
    row = comparison.sites.iloc[0]
    assert (row["what"], row["clients_before"], row["clients_after"], row["sessions_before"], row["sessions_after"]) == (
        *("changed", 100, 112, 500, 560),
    )
    text = told(comparison)
    assert "Elm Court sent another version of ratings.csv and has 12 more clients and 60 more sessions than before." in text
    assert "120 more rows" in text and comparison.causes["base"] == ("the data",)


def test_a_difference_of_few_clients_is_not_told_to_the_last():
    elm = site("Elm Court", 97, 496, ratings__csv=("a9", 993), site__yaml=("b1", None), withdrawn__csv=("w", 3))
    numbers = [number("first", 0.27, n_clients=297), number("second", 0.5)]
    comparison = one(snapshot(), snapshot(inputs=changed_inputs(elm=elm), headlines=numbers))
    text = told(comparison)
    assert "fewer clients (a difference of fewer than 10) and fewer sessions (a difference of fewer than 10) than before" in text
    assert "fewer rows (a difference of fewer than 10)" in text and "another list of clients who withdrew (withdrawn.csv)" in text
    # A list of withdrawals is no file of the site.
    assert "sent another version of ratings.csv, has another list" in text
    shown = set(re.findall(r"\d+", text))
    assert "297 (differs by fewer than 10)" in text and not {"7", "993", "1000", "97", "4", "496"} & shown
    assert not {"993", "1000", "97", "496"} & set(re.findall(r'data-value="(\d+)', page(comparison, TEMPLATES, "base")))
    assert comparison.headlines["old_n_clients"].tolist() == [300, 300]


def test_sites_that_come_go_or_are_left_out_are_told():
    ash = site("Ash House", 45, ratings__csv=("a5", 450))
    comparison = one(snapshot(), snapshot(inputs=changed_inputs(ash=ash, elm=None)))
    assert dict(zip(comparison.sites["site"], comparison.sites["what"])) == {"ash": "added", "elm": "removed"}
    assert "Ash House is new with 45 clients." in told(comparison) and "Elm Court is no longer in the study." in told(comparison)
    out = site("Oak Tree", None, None, "excluded", ratings__csv=("bad", 600))
    comparison = one(snapshot(), snapshot(inputs=changed_inputs(oak=out)))
    assert comparison.sites["what"].tolist() == ["left out"]
    text = told(comparison)
    assert "Oak Tree sent another version of ratings.csv and is left out now: no table can be read." in text
    assert "1 of 2 sites not included" in text
    comparison = one(snapshot(inputs=changed_inputs(oak=out)), snapshot())
    assert comparison.sites["what"].tolist() == ["back"] and "is in the results again" in told(comparison)
    other = site("Oak Tree", None, None, "excluded", ratings__csv=("worse", 600))
    comparison = one(snapshot(inputs=changed_inputs(oak=out)), snapshot(inputs=changed_inputs(oak=other)))
    assert comparison.sites["what"].tolist() == ["left out as before"]
    few = site("Ash House", 7, ratings__csv=("a5", 20))
    assert "Ash House is new." in told(one(snapshot(), snapshot(inputs=changed_inputs(ash=few))))


def test_keys_are_told_dotted_with_both_values():
    comparison = one(snapshot(), snapshot(configuration=changed_key("late")))
    assert comparison.configuration.to_dict("records") == [
        {"scenario": "base", "key": "alliance.window", "old": '"early"', "new": '"late"'}
    ]
    assert "alliance.window changed: early → late." in told(comparison)
    old, new = {"a": {"b": [1, 2], "c": {}}, "d": None}, {"a": {"b": [2, 1]}, "e": True}
    assert configuration_rows(old, new) == [
        {"key": "a.b", "old": "[1,2]", "new": "[2,1]"},
        {"key": "a.c", "old": "{}", "new": ""},
        {"key": "d", "old": "null", "new": ""},
        {"key": "e", "old": "", "new": "true"},
    ]


def test_a_move_is_put_down_to_the_one_thing_that_changed_and_to_none_of_several():
    moved = [number("first", 0.25), number("second", 0.5)]
    assert "only the configuration changed" in told(one(snapshot(), snapshot(headlines=moved, configuration=changed_key("late"))))
    inputs = changed_inputs(oak=site("Oak Tree", 90, ratings__csv=("a7", 900)))
    both = one(snapshot(), snapshot(headlines=moved, configuration=changed_key("late"), inputs=inputs))
    assert both.causes["base"] == ("the data", "the configuration")
    assert "The data and the configuration changed at once, so that a move can’t be put down to one of them" in told(both)
    assert "should not have moved" in told(one(snapshot(), snapshot(headlines=moved)))


def test_code_packages_and_instruments_are_told_by_their_digests():
    comparison = one(snapshot(), snapshot(digests=DIGESTS | {"code_digest": "bbbb", "lock_digest": "cccc"}))
    assert comparison.versions[["what", "old", "new"]].values.tolist() == [["program", "aaaa", "bbbb"], ["packages", "aaaa", "cccc"]]
    assert "The program is not the same as before." in told(comparison) and "The packages are not the same" in told(comparison)


def test_a_first_run_says_that_there_is_nothing_to_compare_with():
    comparison = compare({}, {"base": snapshot()}, ["base", "late"])
    assert comparison.headlines["changed"].tolist() == ["new", "new"] and comparison.inputs.empty and comparison.configuration.empty
    text = told(comparison)
    assert "This is the first run whose numbers were kept" in text and "moved" not in text and "There is no run before." in text
    assert "Headline numbers that changed" not in text and "Headline numbers that did not" not in text


def test_every_scenario_is_compared_with_its_own_last_run():
    older = changed_inputs(elm=site("Elm Court", 80, ratings__csv=("a0", 800), site__yaml=("b1", None)))
    before = {"base": snapshot(), "late": snapshot(inputs=older), "gone": snapshot(), "idle": snapshot()}
    now = {"base": snapshot(), "late": snapshot(), "new": snapshot()}
    comparison = compare(before, now, ["base", "late", "new", "idle"])
    assert (comparison.compared, comparison.first) == (("base", "late"), ("new",))
    assert (comparison.waiting, comparison.removed) == (("idle",), ("gone",))
    assert comparison.sites["scenarios"].tolist() == ["late"] and comparison.causes == {"base": (), "late": ("the data",)}
    text = told(comparison)
    assert "For “late”: Elm Court sent another version of ratings.csv and has 20 more clients than before." in text
    assert "Run for the first time, so with nothing to compare: “new”." in text
    assert "Not run this time: “idle”." in text and "No longer in the results: “gone”." in text


def test_the_state_is_read_as_it_was_written_and_only_by_its_owner(tmp_path):
    states = {"base": snapshot(), "late": snapshot(configuration=changed_key("late"))}
    write_state(tmp_path / "state.json", states, PRIVATE)
    assert read_state(tmp_path / "state.json") == states
    assert (tmp_path / "state.json").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"format": 1}', '{"format": 99, "inputs": {}, "scenarios": {}}', '{"format":1,"scenarios":{"a":{}}}']
)
def test_a_state_that_cannot_be_used_counts_as_none(tmp_path, text):
    (tmp_path / "state.json").write_text(text, encoding="utf-8")
    assert read_state(tmp_path / "state.json") == {} == read_state(tmp_path / "other.json")


def test_hostile_text_is_only_ever_text_on_the_page():
    configuration = changed_key(HOSTILE)
    configuration["study"]["title"] = HOSTILE
    inputs = changed_inputs(
        ash=site(HOSTILE, 50, status="excluded"), elm=site(HOSTILE, 100, **{HOSTILE: ("x", 5), "ratings__csv": ("a1", 1000)})
    )
    inputs["ash"]["reason"] = HOSTILE
    numbers = [number("first", None, label=HOSTILE, status="not_estimable", reason=HOSTILE)]
    text = page(one(snapshot(), snapshot(configuration=configuration, inputs=inputs, headlines=numbers)), TEMPLATES, "base")
    tree = Tree(text)
    assert tree.open == [] and len(tree.all("script")) == 1 and tree.all("img") == []
    assert "\u202e" not in text and "\x07" not in text and r"\u202egnp.exe\x07" in html.unescape(text)


def test_the_page_is_one_of_the_project_s_pages():
    text = page(one(snapshot(), snapshot(headlines=[number("first", 0.25)])), TEMPLATES, "base")
    tree = Tree(text)
    assert tree.open == [] and tree.all("html")[0]["lang"] == "en" and "<title>What changed since the run before" in text
    ids = [attributes["id"] for _, attributes in tree.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {link["href"].removeprefix("#") for link in tree.all("a") if link["href"].startswith("#")} <= set(ids)
    assert {link["href"] for link in tree.all("a") if "report" in link["href"]} >= {
        "../base/report/index.html",
        "../base/report/quality.html",
    }
    assert "Content-Security-Policy" in text and "Simulated data." in text
    assert text == page(one(snapshot(), snapshot(headlines=[number("first", 0.25)])), TEMPLATES, "base")


def test_the_dictionary_names_every_column_of_every_file():
    written = {"headlines": HEADLINES, "inputs": INPUTS, "sites": SITES, "configuration": CONFIGURATION, "versions": VERSIONS}
    described = {path.removeprefix("results/changes/").removesuffix(".csv"): columns for path, (_, columns) in DESCRIBED.items()}
    assert described.keys() == written.keys()
    for name, columns in written.items():
        named = {column for key in described[name] for column in key.split(", ")}
        assert {re.sub("^(old|new)_.*", r"\1_...", column) for column in columns} == named, name
