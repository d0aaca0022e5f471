"""Estimate one question at one site and write the site summary."""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from alliance.files import hold_text_as_python, read_json
from alliance.questions.site_data import SiteData
from alliance.questions.summary import SiteSummary
from alliance.questions.unchanged import unchanged
from alliance.sites.answers import signed, site_answer


def main() -> None:
    hold_text_as_python()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--question", required=True)
    parser.add_argument("--site", required=True)
    parser.add_argument("--site-tables", required=True, type=Path, help="the site's folder of cleaned tables")
    parser.add_argument("--scores", required=True, type=Path, help="the site's folder of scores")
    parser.add_argument("--instruments", required=True, nargs="*", type=Path, help="instrument files, shipped before own")
    parser.add_argument("--options", required=True, help="what the question reads of the configuration, as JSON")
    parser.add_argument("--options-digest", required=True)
    parser.add_argument("--constants", nargs="?", default="", help="constants shared by all sites, where the question asks for them")
    parser.add_argument("--base-options", nargs="?", default="", help="the same of base, where parts of its answer may be taken over")
    parser.add_argument("--base-summary", nargs="?", type=Path, help="summary.json of base's answer, beside its other files")
    parser.add_argument("--output", required=True, type=Path)
    given = parser.parse_args()

    name = f"alliance.questions.{given.question}.question"
    constants = read_json(given.constants) if given.constants else {}
    options = json.loads(given.options)
    changed = options.pop("published_without", [])

    def estimate(data: Callable[[Path], SiteData]) -> SiteSummary:
        site = data(given.scores)
        if site.published is not None and changed:
            site = replace(site, published=site.published.without(changed))
        question = importlib.import_module(name)
        if site.published is not None or not given.base_summary:
            return question.estimate(site, options, constants)
        of_base = question.part_options(json.loads(given.base_options))
        base = SiteSummary.read(given.base_summary.parent)
        return question.estimate(site, options, constants, unchanged(base, question.part_options(options), of_base))

    summary = site_answer(given.site, given.question, given.options_digest, given.site_tables, given.instruments, estimate)
    signed(summary, given.options_digest, Path(__file__).resolve(), name, given.instruments).write(given.output)


if __name__ == "__main__":
    main()
