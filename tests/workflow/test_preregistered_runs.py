"""A registration concerns the steps that read it, and no number."""

from __future__ import annotations

import csv
import html

from support import Checkout
from workflow.test_reruns import rule_of

REGISTERED = """
registered: {registry: OSF, identifier: osf.io/abcde, date: "2025-03-01"}
config:
  pooling: {tau2: paule_mandel}
  alliance: {rater: client}
confirmatory: {questions: [client_factors]}
sample: {sites: 5, clients: 50}
explanations: {pooling.tau2: "REML <b>converged</b> at every site."}
"""


def test_a_registration_runs_two_steps_again_and_its_deviations_are_listed(small: Checkout):
    assert (small.results / "base" / "deviations.csv").read_text(encoding="utf-8").count("\n") == 1
    tables = small.bytes_below("base/tables", "sites", "summaries")
    (small.folder / "prereg.yaml").write_text(REGISTERED, encoding="utf-8")
    rules = {rule_of(job) for job in small.jobs_of_run()}
    assert rules == {"list deviations", "render reports", "render sensitivity"}
    assert small.bytes_below("base/tables", "sites", "summaries") == tables
    with open(small.results / "base" / "deviations.csv", encoding="utf-8", newline="") as file:
        found = {row["key"]: (row["registered"], row["this_run"], row["deviates"]) for row in csv.DictReader(file)}
    clients = found.pop("sample.clients")
    assert found == {
        "pooling.tau2": ('"paule_mandel"', '"reml"', "yes"),
        "alliance.rater": ('"client"', '"client"', "no"),
        "sample.sites": ("at least 5", "2", "yes"),
        "questions.client_factors": ("confirmatory", "asked", "no"),
    }
    assert clients[2] == "no" and int(clients[1]) > 50
    for page in ("base/report/index.html", "sensitivity/index.html"):
        text = (small.results / page).read_text(encoding="utf-8")
        assert "osf.io/abcde" in text and "<b>converged</b>" not in text and "<b>converged</b>" in html.unescape(text), page
    (small.folder / "prereg.yaml").write_text(REGISTERED + "# a comment\n", encoding="utf-8")
    assert small.planned_jobs() == set()
    small.rewrite("config.yaml", "decimals: 2", "decimals: 3")
    assert "list deviations" not in {rule_of(job) for job in small.planned_jobs()}
    small.rewrite("prereg.yaml", "tau2: paule_mandel", "tau3: paule_mandel")
    result = small.call("run")
    assert result.returncode == 2 and "config.pooling.tau3: unknown key; did you mean 'tau2'?" in result.stdout
