"""Fit a question's models over the rows of all sites that share them, beside the pooled site summaries."""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from alliance.files import hold_text_as_python, read_json, write_csv
from alliance.instruments.registry import instrument_folders, load_registry
from alliance.questions import pooled_sites
from alliance.questions.site_data import SiteData, read


def sites_with_rows(given: argparse.Namespace, statuses: Mapping[str, Mapping[str, Any]]) -> Iterator[SiteData]:
    """Yield the sites that share their rows, one after the other, so that just one is in memory."""
    instruments = load_registry(instrument_folders(given.instruments))
    for site, status in statuses.items():
        if status["status"] != "excluded" and status.get("data", "rows") == "rows":
            yield read(site, given.site_tables / site, given.scores / site, instruments)


def main() -> None:
    hold_text_as_python()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--question", required=True)
    parser.add_argument("--sites", required=True, type=json.loads, help="site ids as a JSON list")
    parser.add_argument("--site-tables", required=True, type=Path, help="folder with one folder of cleaned tables a site")
    parser.add_argument("--scores", required=True, type=Path, help="folder with one folder of scores a site")
    parser.add_argument("--instruments", required=True, nargs="*", type=Path, help="instrument files, shipped before own")
    parser.add_argument("--options", required=True, type=json.loads, help="what the question reads of the configuration, as JSON")
    parser.add_argument("--pooled-sites", required=True, type=json.loads, help="section pooling.sites of the configuration, as JSON")
    parser.add_argument("--output", required=True, type=Path)
    given = parser.parse_args()

    statuses = {site: read_json(given.site_tables / site / "status.json") for site in sorted(given.sites)}
    left_out = pooled_sites.left_out(list(statuses.values()), given.pooled_sites)
    statuses = {site: status for site, status in statuses.items() if site not in left_out}
    module = importlib.import_module(f"alliance.questions.{given.question}.question")
    fitted = module.one_stage(sites_with_rows(given, statuses), list(statuses), given.options)
    # Where no model could be fitted there may be no columns either; a file without a header cannot be read.
    write_csv(given.output, fitted if len(fitted.columns) else fitted.reindex(columns=["site"]))


if __name__ == "__main__":
    main()
