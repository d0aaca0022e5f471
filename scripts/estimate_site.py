"""Estimate one question at one site and write the site summary."""

from __future__ import annotations

import argparse
import importlib
import json
from dataclasses import replace
from pathlib import Path

from alliance.configuration.code import code_files
from alliance.files import digest, read_json, sha256
from alliance.instruments.registry import instrument_folders, load_registry
from alliance.issues import why_left_out
from alliance.questions.site_data import read
from alliance.questions.summary import SiteSummary
from alliance.sites.summaries import accepted_summary, instruments_digest


def code_digest(module: str) -> str:
    """Return the digest of this script, the question's module and all they import."""
    files = code_files(Path(__file__).resolve(), Path(importlib.import_module(module).__file__))
    return digest([sha256(file) for file in files])


def summary_of(given: argparse.Namespace) -> SiteSummary:
    """Return the site's summary: estimated from its rows or its published figures, as it sent it, or saying why there is none."""
    status = read_json(given.site_tables / "status.json")
    label = status.get("label") or given.site
    if status["status"] == "excluded":
        return SiteSummary(given.site, given.question, label, status="excluded", reason=why_left_out(status.get("reasons", ())))
    sent = accepted_summary(given.site_tables, given.question, given.options_digest)
    if sent is not None:
        return replace(SiteSummary.read(sent), label=label)
    instruments = load_registry(instrument_folders(given.instruments))
    data = read(given.site, given.site_tables, given.scores, instruments)
    if status.get("data") == "summary" and data.published is None:
        reason = "the site has not answered these options; `make request` writes what to send"
        return SiteSummary(given.site, given.question, label, status="missing", reason=reason)
    module = importlib.import_module(f"alliance.questions.{given.question}")
    constants = read_json(given.constants) if given.constants else {}
    return module.estimate(data, json.loads(given.options), constants)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--question", required=True)
    parser.add_argument("--site", required=True)
    parser.add_argument("--site-tables", required=True, type=Path, help="the site's folder of cleaned tables")
    parser.add_argument("--scores", required=True, type=Path, help="the site's folder of scores")
    parser.add_argument("--instruments", required=True, nargs="*", type=Path, help="instrument files, shipped before own")
    parser.add_argument("--options", required=True, help="what the question reads of the configuration, as JSON")
    parser.add_argument("--options-digest", required=True)
    parser.add_argument("--constants", nargs="?", default="", help="constants shared by all sites, where the question asks for them")
    parser.add_argument("--output", required=True, type=Path)
    given = parser.parse_args()

    summary = summary_of(given)
    if not summary.options_digest:
        summary = replace(
            summary,
            options_digest=given.options_digest,
            code_digest=code_digest(f"alliance.questions.{given.question}"),
            instruments_digest=instruments_digest(given.instruments),
        )
    summary.write(given.output)


if __name__ == "__main__":
    main()
