"""Estimate every specification of the multiverse at one site and write the site summary."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from alliance.configuration.study import MULTIVERSE, scoring_digest
from alliance.files import canonical_json, hold_text_as_python
from alliance.sensitivity import multiverse, specifications
from alliance.sites.answers import signed, site_answer


def main() -> None:
    hold_text_as_python()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--site", required=True)
    parser.add_argument("--site-tables", required=True, type=Path, help="the site's folder of cleaned tables")
    parser.add_argument("--scores", required=True, type=Path, help="folder with one folder of scores a way of scoring")
    parser.add_argument("--instruments", required=True, nargs="*", type=Path, help="instrument files, shipped before own")
    parser.add_argument("--options", required=True, type=json.loads, help="what the multiverse reads of the configuration, as JSON")
    parser.add_argument("--options-digest", required=True)
    parser.add_argument("--output", required=True, type=Path)
    given = parser.parse_args()

    scorings = specifications.scorings(given.options)
    summary = site_answer(
        given.site,
        MULTIVERSE,
        given.options_digest,
        given.site_tables,
        given.instruments,
        lambda data: multiverse.estimate(
            {canonical_json(one): data(given.scores / scoring_digest(one) / given.site) for one in scorings}, given.options
        ),
    )
    module = "alliance.sensitivity.multiverse"
    signed(summary, given.options_digest, Path(__file__).resolve(), module, given.instruments).write(given.output)


if __name__ == "__main__":
    main()
