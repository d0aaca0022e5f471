"""A site that keeps its rows answers a request at home, and the pooled tables cannot tell."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from support import Checkout


def test_the_answer_to_a_request_gives_the_tables_that_the_rows_gave(checkout: Checkout, tmp_path):
    before = checkout.bytes_below("base/tables")
    asked = checkout.call("request", "--site", "northgate")
    assert asked.returncode == 0, asked.stdout
    home = tmp_path / "at home"
    shutil.move(checkout.folder / "request" / "northgate", home)
    raw = checkout.folder / "data" / "demo" / "northgate"
    shutil.copytree(raw, home / "data" / "northgate", dirs_exist_ok=True)

    def at_home(command: str) -> subprocess.CompletedProcess[str]:
        call = [sys.executable, "scripts/pipeline.py", command, "--config", str(home / "config.yaml"), "--cores", "2"]
        environment = {**os.environ, "ALLIANCE_ID_KEY": "the key that this site keeps"}
        return subprocess.run(call, cwd=checkout.folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=environment)

    for command in ("run", "send"):
        done = at_home(command)
        assert done.returncode == 0, done.stdout + done.stderr

    shutil.rmtree(raw)
    shutil.copytree(home / "answer", raw)
    label = next(
        line for line in (home / "data" / "northgate" / "site.yaml").read_text(encoding="utf-8").splitlines() if line.startswith("label:")
    )
    (raw / "site.yaml").write_text(f"{label}\ndata: summary\n", encoding="utf-8")
    checkout.jobs_of_run()
    after = checkout.bytes_below("base/tables")
    assert after.keys() == before.keys()
    assert [name for name in before if from_summaries(after[name]) != from_summaries(before[name])] == []


def from_summaries(table: bytes) -> list[bytes]:
    """Return the rows of a table but those that only rows of several sites can give: models over them, or that they are needed."""
    apart = (b"one_stage", b"sites_in_turn", b"needs the rows of several sites")
    return [line for line in table.splitlines() if not any(words in line for words in apart)]


def test_a_question_that_a_summary_does_not_answer_is_listed_as_missing(checkout: Checkout, tmp_path):
    """After a changed option the summary answers another question; the site stands in the tables with that reason."""
    summaries = checkout.results / "summaries"
    answer = tmp_path / "answer"
    for summary in summaries.glob("*/*/northgate/summary.json"):
        question = summary.parents[2].name
        shutil.copytree(summary.parent, answer / question)
    site = checkout.folder / "data" / "demo" / "northgate"
    shutil.rmtree(site)
    shutil.copytree(answer, site)
    (site / "site.yaml").write_text("label: Northgate\ndata: summary\n", encoding="utf-8")
    checkout.rewrite("config.yaml", "timepoint_window: session_3", "timepoint_window: early")
    checkout.jobs_of_run("--questions", "convergent_validity client_factors")
    pairs = (checkout.results / "base" / "tables" / "convergent_validity" / "pairs.csv").read_text(encoding="utf-8")
    rows = [row for row in pairs.splitlines() if ",northgate," in row]
    assert rows and all("not_estimable" in row for row in rows)
    factors = (checkout.results / "base" / "tables" / "client_factors" / "factors.csv").read_text(encoding="utf-8")
    assert any(",northgate," in row and ",estimated," in row for row in factors.splitlines())
