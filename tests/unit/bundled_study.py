"""The invented study of the report tests as a bundle."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

from alliance.configuration.publishing import Publish
from alliance.publishing.bundle import Bundle, Source, build
from alliance.publishing.changes import LastBundle, read_last
from alliance.publishing.profiles import profile
from alliance.questions.headlines import load_headlines
from alliance.reports import guide
from alliance.reports.inputs import ReportData
from alliance.sensitivity.scenario_comparison import ComputedScenario, scenario_comparison
from support import PROJECT
from unit import report_study

WORKFLOW = PROJECT / "workflow"
GIVEN = {
    "released": "2026-12-01",
    "licence": "CC-BY-4.0",
    "doi": "10.5281/zenodo.1234567",
    "keywords": ["psychotherapy", "therapeutic alliance"],
}


def source(data: ReportData, last: LastBundle | None = None, **publish: Any) -> Source:
    """Return what a bundle of one scenario is made of; the publication's facts as in :data:`GIVEN`."""
    headlines = load_headlines(WORKFLOW / "headlines.yaml")
    data = dataclasses.replace(data, guide=guide.read(WORKFLOW / "guide", WORKFLOW / "headlines.yaml"))
    compared = scenario_comparison(headlines, [ComputedScenario("base", "the configuration as it stands", data.options, data.tables)])
    return Source(
        scenarios={"base": data},
        sensitivity={"scenario_comparison": compared},
        multiverse={},
        publish=Publish(**{**GIVEN, **publish}).model_dump(),
        headlines=headlines,
        bibliography=(WORKFLOW / "references.bib").read_text(encoding="utf-8"),
        lock=(PROJECT / "envs" / "requirements.lock").read_bytes(),
        workflow={"Snakefile": (PROJECT / "Snakefile").read_bytes()},
        verifier=(PROJECT / "scripts" / "verify_bundle.py").read_bytes(),
        templates=report_study.TEMPLATES,
        last=last,
    )


def bundle(data: ReportData, last: LastBundle | None = None, **publish: Any) -> Bundle:
    """Return the bundle of one scenario."""
    made = source(data, last, **publish)
    return build(made, profile(made.publish))


@functools.cache
def public() -> Bundle:
    """Return the bundle of the invented study under the public profile, made once."""
    return bundle(report_study.study())


def few() -> ReportData:
    """Return the invented study with two of its questions, for tests that build several bundles."""
    return report_study.only(report_study.study(), "alliance_outcome", "client_factors")


@functools.cache
def internal() -> Bundle:
    """Return the bundle in which nothing is hidden, made once."""
    return bundle(few(), profile="internal")


def write(folder: Path, made: Bundle) -> Path:
    """Write a bundle's files."""
    for name, content in made.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def published_before(folder: Path, made: Bundle) -> LastBundle:
    """Return a bundle as the one that was published last."""
    return read_last(write(folder, made))
