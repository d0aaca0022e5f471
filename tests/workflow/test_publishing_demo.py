"""The demo is published without a hidden count that can be worked out, and with most of its results."""

from __future__ import annotations

from alliance.configuration.study import load
from alliance.instruments import load_files
from alliance.publishing import attack
from alliance.publishing.disclosure import gate
from alliance.publishing.profiles import profile
from alliance.questions import contract
from alliance.questions.contract import WITH_NUMBERS
from alliance.reports import inputs


def test_nothing_hidden_in_the_demo_can_be_worked_out(computed):
    study = load(computed.folder / "config.yaml")
    results, workflow = computed.results, computed.folder / "workflow"
    base = results / "base"
    data = inputs.read(
        scenario="base",
        sites=list(study.sites),
        site_tables=results / "sites",
        scores=results / "scores" / study.score_digest("base"),
        tables=base / "tables",
        issues=results / "issues.csv",
        config=base / "resolved_config.json",
        constants=base / "constants.json",
        provenance=base / "provenance.json",
        instruments=load_files([file for files in study.instrument_files.values() for file in files]),
        benchmarks=workflow / "benchmarks.yaml",
        references=workflow / "references.bib",
        coverage=workflow / "simulated_coverage.csv",
        preregistration=study.preregistration,
        deviations=base / "deviations.csv",
    )
    limits = profile(study.publish)
    made = gate(data, inputs.read_sensitivity_tables(results / "sensitivity" / "tables"), limits).data.tables
    named = {f"{question}/{name}": frame for question in made for name, frame in made[question].items()}
    schemas = {name: contract.table(*name.split("/")) for name in named}
    assert attack.recoverable(named, schemas, limits.round_counts_to) == []
    before, after = (
        sum(int(frame["status"].isin(WITH_NUMBERS).sum()) for found in tables.values() for frame in found.values())
        for tables in (data.tables, made)
    )
    assert 0.85 * before < after < before
