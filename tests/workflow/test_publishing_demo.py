"""The demo is published without a hidden count that can be worked out, and with most of its results."""

from __future__ import annotations

import dataclasses

from alliance.configuration.study import load
from alliance.publishing import attack
from alliance.publishing.disclosure import gate
from alliance.publishing.profiles import profile
from alliance.questions import contract
from alliance.questions.contract import WITH_NUMBERS
from alliance.reports import inputs
from unit import report_study


def test_nothing_hidden_in_the_demo_can_be_worked_out(computed):
    study = load(computed.folder / "config.yaml")
    results = computed.folder / "results"
    data = dataclasses.replace(
        report_study.study(),
        statuses=[inputs.read_json(results / "sites" / site / "status.json") for site in study.sites],
        tables=inputs.read_tables(results / "base" / "tables", study.enabled_questions("base")),
        scale_moments=inputs.read_site_statistics(results / "scores" / study.score_digest("base"), list(study.sites), "scale_moments.csv"),
        issues=[],
    )
    limits = profile(study.publish)
    made = gate(data, inputs.read_sensitivity_tables(results / "sensitivity" / "tables"), limits).data.tables
    named = {f"{question}/{name}": frame for question in made for name, frame in made[question].items()}
    assert attack.recoverable(named, {name: contract.table(*name.split("/")) for name in named}, limits.round_to) == []
    before, after = (
        sum(int(frame["status"].isin(WITH_NUMBERS).sum()) for found in tables.values() for frame in found.values())
        for tables in (data.tables, made)
    )
    assert 0.85 * before < after < before
