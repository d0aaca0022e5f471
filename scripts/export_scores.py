"""Write the scores of a scenario for other programs: all sessions, one row a client, and the codebook.

The files hold one row a client: they are private, and no other step reads them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from alliance.files import PRIVATE, hold_text_as_python, write_csv, write_json
from alliance.instruments.registry import instrument_folders, load_registry
from alliance.portable.client_table import client_table
from alliance.portable.session_table import session_table
from alliance.portable.statistical_files import write_private
from alliance.portable.tables import codebook
from alliance.questions.site_data import SiteData, read

MEASURE = ["instrument", "scale", "rater"]


def possible_ranges(files: Sequence[Path]) -> dict[tuple[str, ...], tuple[float, float]]:
    """Return the lowest and highest possible score over sites, by instrument, scale and rater, from moments of scales."""
    moments = pd.concat([pd.read_csv(path, dtype={name: str for name in MEASURE}) for path in files], ignore_index=True)
    known = moments.dropna(subset=["minimum_possible", "maximum_possible"]).groupby(MEASURE)
    limits = known.agg({"minimum_possible": "min", "maximum_possible": "max"})
    return {key: (float(low), float(high)) for key, low, high in limits.itertuples(name=None)}


def sites_with_rows(given: argparse.Namespace) -> list[SiteData]:
    """Return the sites that were not left out and share their rows."""
    registry = load_registry(instrument_folders(given.instruments))
    found = [read(site, given.site_tables / site, given.scores / site, registry) for site in given.sites]
    return [site for site in found if site.status != "excluded" and (len(site.clients) or len(site.scores))]


def close(folder: Path) -> None:
    """Let nobody but the owner into a folder and those above it, up to the private one."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for place in (folder, *folder.parents):
        place.chmod(0o700)
        if place.name == "private":
            return


def main(arguments: list[str] | None = None) -> int:
    """Run the step; return the exit status."""
    hold_text_as_python()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sites", required=True, type=json.loads, help="site ids with a digest of their withdrawals, as JSON")
    parser.add_argument("--site-tables", required=True, type=Path, help="folder with one folder of cleaned tables a site")
    parser.add_argument("--scores", required=True, type=Path, help="folder with one folder of scores a site")
    parser.add_argument("--instruments", required=True, nargs="*", type=Path, help="instrument files, shipped before own")
    parser.add_argument("--options", required=True, type=json.loads, help="what an export reads of the configuration, as JSON")
    parser.add_argument("--sessions", type=Path, help="file for all sessions; its ending says the format: sav, csv or dta")
    parser.add_argument("--clients", type=Path, help="file with one row a client, likewise")
    parser.add_argument("--origin", type=Path, help="file for the sites and withdrawals that the two files rest on")
    parser.add_argument("--codebook", type=Path, help="file for the codebook (CSV)")
    given = parser.parse_args(arguments)

    names = sorted(given.sites)
    given.sites, origin = names, given.sites
    sites = sites_with_rows(given)
    ranges = possible_ranges([given.scores / site / "scale_moments.csv" for site in names])
    tables = {
        "sessions": session_table(sites, names, ranges),
        "clients": client_table(sites, names, given.options, ranges),
    }
    for name, path in (("sessions", given.sessions), ("clients", given.clients)):
        if path is not None:
            close(path.parent)
            write_private(path, tables[name])
    if given.codebook is not None:
        close(given.codebook.parent)
        write_csv(given.codebook, codebook(list(tables.values())), mode=PRIVATE)
    if given.origin is not None:
        write_json(given.origin, origin, mode=PRIVATE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
