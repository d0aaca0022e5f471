"""Compare the sites with each other and gather the faults of all of them in one table."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import pandas as pd
from alliance.files import hold_text_as_python, read_json, write_text
from alliance.issues import Issue, from_csv, line, to_csv
from alliance.sites.comparison import SiteEvidence, compare
from alliance.sites.published import NamesInUse, unused_names

MOST_LINES = 50
TEXT = {"site": "str", "instrument": "str", "rater": "str", "timepoint": "str", "scale": "str"}


def main(arguments: list[str] | None = None) -> int:
    """Run the step; return the exit status."""
    hold_text_as_python()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", required=True, help="ids of the sites, as JSON")
    parser.add_argument("--site-tables", required=True, type=Path, help="folder with one folder of cleaned tables a site")
    parser.add_argument("--scores", required=True, type=Path, help="folder with one folder of scores a site")
    parser.add_argument("--names", default="", help="names that the study looks for in published matrices, as JSON; empty: unchecked")
    parser.add_argument("--output", required=True, type=Path, help="table of all faults")
    given = parser.parse_args(arguments)

    sites = json.loads(given.sites)
    found = compare([_evidence(site, given.site_tables / site, given.scores / site) for site in sites])
    if given.names:
        names = NamesInUse(**json.loads(given.names))
        found += [issue for site in sites for issue in _unused_names(site, given.site_tables / site, names)]
    issues = list(dict.fromkeys([*_gathered(sites, given.site_tables), *_gathered(sites, given.scores), *found]))
    write_text(given.output, to_csv(issues))
    for issue in found[:MOST_LINES]:
        print(line(issue), file=sys.stderr)
    return 0


def _evidence(site: str, tables: Path, scores: Path) -> SiteEvidence:
    links = tables / "links.json"
    return SiteEvidence(
        site=site,
        status=read_json(tables / "status.json"),
        items=pd.read_csv(scores / "item_statistics.csv", dtype=TEXT, keep_default_na=False, na_values=[""]),
        moments=pd.read_csv(scores / "scale_moments.csv", dtype=TEXT, keep_default_na=False, na_values=[""]),
        links=read_json(links) if links.exists() else [],
    )


def _unused_names(site: str, tables: Path, names: NamesInUse) -> list[Issue]:
    if read_json(tables / "status.json").get("status") == "excluded":
        return []
    moments, effects = (
        pd.read_csv(path, keep_default_na=False) if (path := tables / f"published_{kind}.csv").exists() else None
        for kind in ("moments", "effects")
    )
    return unused_names(site, moments, effects, names)


def _gathered(sites: list[str], folder: Path) -> list[Issue]:
    return [issue for site in sites for issue in from_csv((folder / site / "issues.csv").read_text(encoding="utf-8"))]


if __name__ == "__main__":
    sys.exit(main())
