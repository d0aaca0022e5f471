"""A run says what changed since the one before: one study through five runs, and what each of them left in ``results/changes/``."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from support import Checkout, made_once
from workflow.test_interruption import rest, start, wait_for_progress

SITE = "northgate"
COPIED = 12
HEADLINE = "factors_intrapersonal"
OTHER = "other_level:\n  reason: test\n  changes:\n    pooling: {level: 0.8}\n"


@dataclass
class Step:
    """What a run left behind and said."""

    folder: Path
    output: str
    status: int

    def table(self, name: str) -> pd.DataFrame:
        return pd.read_csv(self.folder / "changes" / f"{name}.csv", dtype=str, keep_default_na=False)

    def headline(self, scenario: str) -> pd.Series:
        return self.table("headlines").set_index(["scenario", "headline"]).loc[(scenario, HEADLINE)]

    @property
    def page(self) -> str:
        return (self.folder / "changes" / "index.html").read_text(encoding="utf-8")

    def computed(self, scenario: str) -> dict[str, str]:
        """The mean correlation of intrapersonal client factors as the result table has it."""
        with open(self.folder / f"{scenario}.csv", encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        wanted = ("(pooled)", "intrapersonal", "correlation_random_effects")
        (row,) = [row for row in rows if (row["site"], row["category"], row["estimate_type"]) == wanted]
        return row


def copy_clients(folder: Path) -> dict[str, int]:
    """Give some clients of a site a twin with another id in every file; return the rows added to each."""
    ids = [f"NG{number:03}" for number in range(1, COPIED + 1)]
    added = {}
    for path in sorted(folder.glob("*.csv")):
        text = path.read_text(encoding="utf-8-sig")
        lines = text.splitlines(keepends=True)
        if not lines[0].startswith("PID,"):
            continue
        twins = [f"NG9{line[3:]}" for line in lines if line.split(",")[0] in ids]
        path.write_text("".join([*lines, *twins]), encoding="utf-8")
        added[path.name] = len(twins)
    return added


@pytest.fixture(scope="module")
def story(one_question: Checkout, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Step]:
    """The runs of one study, by what was changed before each."""

    def make(folder: Path) -> None:
        shutil.copytree(one_question.folder, folder / "project", symlinks=True)
        checkout = Checkout(folder / "project")

        def run(name: str, scenarios: str = "base") -> None:
            result = checkout.call("run", "--scenarios", scenarios)
            kept = folder / name
            shutil.copytree(checkout.results / "changes", kept / "changes")
            for scenario in ("base", "other_level"):
                table = checkout.results / scenario / "tables" / "client_factors" / "categories.csv"
                if table.exists():
                    shutil.copy(table, kept / f"{scenario}.csv")
            (kept / "run.json").write_text(json.dumps([result.stdout, result.returncode]), encoding="utf-8")

        run("first")
        checkout.rewrite("config.yaml", "level: 0.95", "level: 0.9")
        (checkout.folder / "scenarios.yaml").write_text(OTHER, encoding="utf-8")
        run("key", "base other_level")
        (folder / "added.json").write_text(json.dumps(copy_clients(checkout.folder / "data" / "demo" / SITE)), encoding="utf-8")
        run("rows")
        checkout.rewrite("config.yaml", "level: 0.9", "level: 0.95")
        broken = checkout.folder / "data" / "demo" / "broken"
        broken.mkdir()
        (broken / "site.yaml").write_text("label: <b>Broken</b>\ndata: rows\ntabels: []\n", encoding="utf-8")
        run("both", "base other_level")
        shutil.rmtree(broken)
        (checkout.folder / "scenarios.yaml").unlink()
        run("gone")

    made = made_once(tmp_path_factory, "changes", make)
    steps = {}
    for name in ("first", "key", "rows", "both", "gone"):
        output, status = json.loads((made / name / "run.json").read_text(encoding="utf-8"))
        steps[name] = Step(made / name, output, status)
    steps["made"] = Step(made, "", 0)
    return steps


def test_the_first_run_says_so_and_a_run_with_nothing_to_do_keeps_its_page(story, one_question):
    page = story["first"].page
    assert "This is the first run whose numbers were kept" in page and "Nothing to do" in story["first"].output
    assert page == (one_question.results / "changes" / "index.html").read_text(encoding="utf-8")
    assert set(story["first"].table("headlines")["changed"]) == {"new"}


def test_a_changed_key_is_named_with_both_values_and_the_numbers_it_moved(story):
    step = story["key"]
    assert step.status == 0
    keys = step.table("configuration")
    assert keys.values.tolist() == [["base", "pooling.level", "0.95", "0.9"]]
    row, before, now = step.headline("base"), story["first"].computed("base"), step.computed("base")
    for name in ("estimate", "ci_low", "ci_high", "n_clients"):
        assert (float(row[f"old_{name}"]), float(row[f"new_{name}"])) == (float(before[name]), float(now[name]))
    assert row["changed"] == "yes" and row["old_ci_low"] != row["new_ci_low"]
    assert step.table("inputs").empty and step.table("sites").empty and step.table("versions").empty
    assert "pooling.level changed: 0.95 → 0.9." in step.page and "only the configuration changed" in step.page
    assert "Run for the first time, so with nothing to compare: “other_level”." in step.page
    assert "changes since the run before: " in step.output


def test_new_rows_of_a_site_are_counted_and_other_scenarios_wait(story):
    step = story["rows"]
    added = json.loads((story["made"].folder / "added.json").read_text(encoding="utf-8"))
    inputs = step.table("inputs")
    assert {row.file: int(row.rows_after) - int(row.rows_before) for row in inputs.itertuples()} == added and len(added) > 3
    assert set(inputs["site"]) == {SITE} and set(inputs["what"]) == {"changed"}
    (site,) = step.table("sites").to_dict("records")
    assert (site["site"], site["what"], int(site["clients_after"]) - int(site["clients_before"])) == (SITE, "changed", COPIED)
    assert f"{COPIED} more clients" in step.page and "only the data changed" in step.page
    assert "Not run this time: “other_level”." in step.page
    row = step.headline("base")
    assert row["changed"] == "yes" and float(row["new_estimate"]) == float(step.computed("base")["estimate"])
    assert float(row["difference"]) == float(row["new_estimate"]) - float(story["key"].computed("base")["estimate"]) != 0


def test_data_and_configuration_that_change_at_once_are_not_told_apart(story):
    step = story["both"]
    assert step.status == 3
    assert step.table("configuration").values.tolist() == [["base", "pooling.level", "0.9", "0.95"]]
    sites = step.table("sites").set_index(["scenarios", "site"])["what"].to_dict()
    # The other scenario was not run with the new rows before: it is compared with its own last run.
    assert sites == {
        ("base", "broken"): "added, left out",
        ("other_level", "broken"): "added, left out",
        ("other_level", SITE): "changed",
    }
    assert "The data and the configuration changed at once" in step.page
    assert "<b>Broken</b>" not in step.page
    assert "1 of 3 sites not included" in step.page
    other = step.headline("other_level")
    assert float(other["old_estimate"]) == float(story["key"].computed("other_level")["estimate"])
    assert float(other["new_estimate"]) == float(step.computed("other_level")["estimate"])


def test_sites_and_scenarios_that_are_gone_are_told(story):
    step = story["gone"]
    assert step.table("sites")[["site", "what"]].values.tolist() == [["broken", "removed"]]
    assert "No longer in the results: “other_level”." in step.page
    assert set(step.table("headlines")["scenario"]) == {"base"}


def test_no_id_of_a_client_stands_in_what_changed(story):
    for step in story.values():
        for path in sorted((step.folder / "changes").glob("*")):
            text = path.read_text(encoding="utf-8")
            assert "NG0" not in text and "NG9" not in text, path


def test_an_interrupted_run_leaves_the_comparison_to_the_one_that_ends(small):
    state = (small.results / "changes" / "state.json").read_bytes()
    small.rewrite("config.yaml", "level: 0.95", "level: 0.9")
    process = start(small)
    wait_for_progress(process, 1)
    process.send_signal(signal.SIGINT)
    rest(process)
    assert process.returncode == 130
    assert (small.results / "changes" / "state.json").read_bytes() == state
    assert small.call("run").returncode == 0
    with open(small.results / "changes" / "configuration.csv", encoding="utf-8", newline="") as file:
        assert [row["key"] for row in csv.DictReader(file)] == ["pooling.level"]
    page = (small.results / "changes" / "index.html").read_bytes()
    assert "Nothing to do" in small.call("run").stdout
    assert (small.results / "changes" / "index.html").read_bytes() == page
    assert os.stat(small.results / "changes" / "state.json").st_mode & 0o077 == 0
