"""Clean one site: files as sent in, the same tables for every site out. Faults in the data never end this step in an error."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from pathlib import Path

from alliance import withdrawals
from alliance.configuration.errors import ConfigurationError
from alliance.files import read_json, replacing, sha256, write_json, write_parquet, write_text
from alliance.instruments import Instrument, load_files
from alliance.issues import Issue, Severity, line, safe_cell, to_csv
from alliance.sites import summaries
from alliance.sites.accounting import as_csv_line
from alliance.sites.cleaning import TABLES, CleanedSite, clean_site, left_out
from alliance.sites.identifiers import read_key
from alliance.sites.site_file import NAME, SiteFile, load_site_file

MOST_LINES = 20
MOST_READINGS = 5
HISTORY = "deliveries.json"


def main(arguments: list[str] | None = None) -> int:
    """Run the step; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--site", required=True, help="id of the site")
    parser.add_argument("--folder", required=True, type=Path, help="the site's folder")
    parser.add_argument("--instruments", nargs="*", type=Path, default=[], help="instrument files the site uses")
    parser.add_argument("--options", required=True, help="section `cleaning` of the configuration, as JSON")
    parser.add_argument("--withdrawn", default="", help="CSV with columns site, client_id; empty: none")
    parser.add_argument("--key-file", required=True, type=Path, help="file with the key of the ids")
    parser.add_argument("--output", required=True, type=Path, help="folder for the cleaned tables")
    parser.add_argument("--quarantine", required=True, type=Path, help="private folder for quarantined rows")
    given = parser.parse_args(arguments)

    instruments = load_files(given.instruments)
    for _ in range(MOST_READINGS):
        read = _content(given.folder)
        cleaned = _clean(given, instruments)
        # A file that was replaced meanwhile counts as read by the workflow, so it has to be read.
        if _content(given.folder) == read:
            break
    _print(cleaned.issues)
    return 0


def _content(folder: Path) -> dict[str, str]:
    """Return the digest of every file in the site's folder."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and os.access(path, os.R_OK)]
    return {path.relative_to(folder).as_posix(): sha256(path) for path in files}


def _clean(given: argparse.Namespace, instruments: dict[str, Instrument]) -> CleanedSite:
    """Read, clean and write the site's tables."""
    site_file, issues = load_site_file(given.folder / NAME, given.site, instruments)
    withdrawn, faults = _withdrawn(given.withdrawn, given.site)
    issues += faults
    _prepare(given.output, given.quarantine)
    delivery, history = summaries.SummaryDelivery(), {}
    if site_file is None or issues:
        cleaned = left_out(given.site, (site_file and site_file.label) or given.site, issues, site_file.data if site_file else "rows")
    elif site_file.data == "summary":
        cleaned, delivery, history = _summary_site(given, site_file, instruments)
    else:
        key = read_key(os.environ.get("ALLIANCE_ID_KEY"), given.key_file)
        cleaned = clean_site(given.folder, given.site, site_file, instruments, json.loads(given.options), withdrawn, key)
    _write(cleaned, given.output)
    summaries.write_delivery(delivery, given.output)
    _write_private(cleaned, history, given.quarantine)
    return cleaned


def _withdrawn(name: str, site: str) -> tuple[set[str], list[Issue]]:
    """Return the clients of this site who withdrew; a file that cannot be read leaves the site out rather than using their data."""
    if not name:
        return set(), []
    try:
        return withdrawals.read_withdrawals(Path(name)).get(site, set()), []
    except withdrawals.UnusableList as unusable:
        text = f"withdrawn.csv cannot be used: {unusable}. The site is left out, so that nobody who withdrew is included."
        return set(), [
            Issue("P06", Severity.SITE, text, "Save it as UTF-8 CSV with the columns site, client_id.", site=site, file="withdrawn.csv")
        ]


def _summary_site(
    given: argparse.Namespace, site_file: SiteFile, instruments: dict[str, Instrument]
) -> tuple[CleanedSite, summaries.SummaryDelivery, dict]:
    history_file = given.quarantine / HISTORY
    history = read_json(history_file) if history_file.is_file() else {}
    fingerprint = summaries.instruments_digest(given.instruments)
    delivery = summaries.clean_summary_site(
        given.folder, given.site, site_file, instruments, instruments_digest=fingerprint, history=history
    )
    empty = left_out(given.site, site_file.label or given.site, [], "summary")
    return CleanedSite(empty.tables, {}, delivery.status, list(delivery.issues)), delivery, delivery.history


def _prepare(output: Path, quarantine: Path) -> None:
    """Make the folders and remove what an earlier run left in them."""
    output.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(output / "ratings", ignore_errors=True)
    (output / "ratings").mkdir()
    kept = {"status.json", "issues.csv", *(f"{name}.parquet" for name in TABLES)}
    for path in output.iterdir():
        if path.is_file() and path.name not in kept:
            path.unlink()
    quarantine.mkdir(parents=True, exist_ok=True, mode=0o700)
    for folder in (quarantine, *(parent for parent in quarantine.parents if parent.name in ("private", "quarantine"))):
        folder.chmod(0o700)
    for path in sorted(quarantine.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        elif path.name != HISTORY:
            path.unlink()


def _write(cleaned: CleanedSite, output: Path) -> None:
    for name in TABLES:
        write_parquet(output / f"{name}.parquet", cleaned.tables[name])
    for name, table in cleaned.ratings.items():
        write_parquet(output / "ratings" / f"{name}.parquet", table)
    if cleaned.links is not None:
        write_json(output / "links.json", cleaned.links)
    write_text(output / "issues.csv", to_csv(cleaned.issues))
    write_json(output / "status.json", cleaned.status)


def _write_private(cleaned: CleanedSite, history: dict, quarantine: Path) -> None:
    """Write the quarantined rows so that only their owner can read them."""
    before = os.umask(0o077)
    try:
        for name, rows in cleaned.quarantine.items():
            lines = [as_csv_line(["row", "code", "content"])]
            lines += [as_csv_line([str(row), code, str(safe_cell(content))]) for row, code, content in rows]
            with replacing(quarantine / f"{name}.csv") as temporary:
                temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
        if history:
            write_json(quarantine / HISTORY, history)
        else:
            (quarantine / HISTORY).unlink(missing_ok=True)
    finally:
        os.umask(before)


def _print(issues: list[Issue]) -> None:
    order = list(Severity)
    ordered = sorted(issues, key=lambda issue: (order.index(issue.severity), issue.file, issue.row or 0, issue.column, issue.code))
    for issue in ordered[:MOST_LINES]:
        print(line(issue), file=sys.stderr)
    if len(ordered) > MOST_LINES:
        print(f"... and {len(ordered) - MOST_LINES} more; all of them are in issues.csv", file=sys.stderr)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ConfigurationError, ValueError) as error:
        sys.exit(str(error))
