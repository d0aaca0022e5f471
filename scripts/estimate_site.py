"""Estimate one question at one site and write the site summary."""

from __future__ import annotations

import argparse
import importlib
import json
from pathlib import Path

from alliance.files import read_json
from alliance.sites.answers import signed, site_answer


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

    name = f"alliance.questions.{given.question}"
    constants = read_json(given.constants) if given.constants else {}
    summary = site_answer(
        given.site,
        given.question,
        given.options_digest,
        given.site_tables,
        given.instruments,
        lambda data: importlib.import_module(name).estimate(data(given.scores), json.loads(given.options), constants),
    )
    signed(summary, given.options_digest, Path(__file__).resolve(), name, given.instruments).write(given.output)


if __name__ == "__main__":
    main()
