"""Cleaning one site: from its files as sent to the same tables for every site, with an account of every row and every fault."""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from alliance.instruments import Instrument, Response
from alliance.issues import Issue, Severity, counted, shown
from alliance.sites import assembly, deliveries, identifiers, plausibility, reshaping
from alliance.sites.accounting import FileLedger, IssueLog
from alliance.sites.codebook import read_codebook
from alliance.sites.extraction import EVENT, SESSION, Context, Source, extract, map_columns, report_repetitions
from alliance.sites.records import NO_NUMBER, Records, is_missing, join
from alliance.sites.site_file import NAME, RATERS, TIMEPOINTS, SiteFile, TableSpec, ranges_by_rater

TABLES = ("clients", "therapists", "sessions", "outcomes", "events", "termination")
JUNK = ("thumbs.db", "desktop.ini", "icon\r", "readme", "readme.txt")
KEY_OF_TABLE = {
    "clients": ("client",),
    "therapists": ("therapist",),
    "sessions": ("client", "session"),
    "ratings": deliveries.RATING_KEY,
    "outcomes": deliveries.RATING_KEY,
    "events": ("client", "session", "rater"),
    "termination": ("client",),
}


@dataclass
class CleanedSite:
    """What cleaning makes of a site.

    Parameters
    ----------
    tables : dict of str to DataFrame
        The tables of :data:`TABLES`; without rows where the site is left out.
    ratings : dict of str to DataFrame
        Ratings by instrument.
    status : dict
        Content of ``status.json``.
    issues : list of Issue
        Every fault.
    quarantine : dict
        File to its quarantined rows: physical row, code, content.
    links : list of str or None
        Keyed hashes of date of birth and sex, for the search for clients of two sites; None where it is off.
    """

    tables: dict[str, pd.DataFrame]
    ratings: dict[str, pd.DataFrame]
    status: dict[str, Any]
    issues: list[Issue]
    quarantine: dict[str, list[tuple[int, str, str]]] = field(default_factory=dict)
    links: list[str] | None = None


def clean_site(
    folder: Path,
    site: str,
    site_file: SiteFile,
    instruments: Mapping[str, Instrument],
    options: Mapping[str, Any],
    withdrawn: set[str],
    key: bytes,
) -> CleanedSite:
    """Clean one site that sends rows.

    Parameters
    ----------
    folder : Path
        The site's folder.
    site : str
        Id of the site.
    site_file : SiteFile
        Its checked ``site.yaml``.
    instruments : mapping
        Instruments by key.
    options : mapping
        Section ``cleaning`` of the configuration: ``max_file_mb``, ``max_listed``, ``link_check``, ``latest_date``.
    withdrawn : set of str
        Raw ids of clients who withdrew consent.
    key : bytes
        Key of the hashes that replace ids.

    Returns
    -------
    CleanedSite
    """
    log = IssueLog(site, int(options.get("max_listed", 1000)))
    latest = options.get("latest_date")
    latest_day = datetime.strptime(latest, "%Y-%m-%d") if latest else None
    context = Context(site_file, dict(instruments), log, {identifier.strip() for identifier in withdrawn}, latest_day)
    log.superseded = _superseded_files(site_file)
    _check_folder(Path(folder), site_file, log)
    _read_codebook(Path(folder), site, context, float(options.get("max_file_mb", 500)))
    sources, unread = _read_files(Path(folder), site, site_file, context, float(options.get("max_file_mb", 500)))
    parts_of_tables = _extract_tables(site_file, sources, context)
    parts = _combine(site_file, parts_of_tables, list(sources.values()), context)
    _number_ids_by_text(parts, context)
    for records in parts.everything():
        for number in np.unique(records.keys["file"]).tolist():
            _, positions = records.rows_of(records.keys["file"] == number)
            next(source for source in sources.values() if source.number == number).ledger.use(positions)
    _check_together(parts, list(sources.values()), context)
    return _finish(site, parts, sources, unread, context, key, bool(options.get("link_check")))


def _superseded_files(site_file: SiteFile) -> frozenset[str]:
    """Return the files that only stand before the last one of a cumulative table."""
    used = {name for spec in site_file.tables for name in (spec.file_names if spec.deliveries == "incremental" else spec.file_names[-1:])}
    return frozenset(name for spec in site_file.tables for name in spec.file_names) - used


def left_out(site: str, label: str, issues: list[Issue], data: str = "rows", instruments: tuple[str, ...] = ()) -> CleanedSite:
    """Return what stands for a site that could not be read at all."""
    builder = assembly.Builder(site, assembly.People(np.array([NO_NUMBER]), []), assembly.People(np.array([NO_NUMBER]), []))
    return CleanedSite(_empty_tables(builder), {}, _status(site, label, data, {}, issues), issues)


def _read_codebook(folder: Path, site: str, context: Context, max_file_mb: float) -> None:
    name = context.site_file.codebook
    if name is not None:
        context.codebook, issues = read_codebook(folder / name, site, name, max_file_mb)
        for issue in issues:
            context.log.add(issue)


def _check_folder(folder: Path, site_file: SiteFile, log: IssueLog) -> None:
    """Say which files nobody reads, and that a folder holds no data (F36, P04)."""
    listed = {name for spec in site_file.tables for name in spec.file_names}
    described = {site_file.codebook} - {None}
    present = []
    for root, _, files in os.walk(folder, followlinks=False):
        for name in sorted(files):
            path = Path(root) / name
            relative = path.relative_to(folder).as_posix()
            if relative == NAME or is_junk(name):
                continue
            if (stat.S_ISREG(path.lstat().st_mode) or relative in listed) and relative not in described:
                present.append(relative)
    if not present:
        log.site_fault("F36", "The site's folder holds no data file.", "Put the files that site.yaml lists into the folder.")
    surplus = sorted(set(present) - listed)
    if surplus and present:
        names = ", ".join(shown(name) for name in surplus[:20])
        fix = "List them in site.yaml if they belong to the study; else take them out of the folder."
        log.remark("F36", f"No table reads these files: {names}.", fix, n_affected=len(surplus))


def is_junk(name: str) -> bool:
    """Whether a file belongs to an operating system or an open program, not to the study."""
    return name.lower() in JUNK or name.startswith((".", "~$", "~lock.")) or name.lower().endswith(("~", ".md"))


def _read_files(
    folder: Path, site: str, site_file: SiteFile, context: Context, max_file_mb: float
) -> tuple[dict[Place, Source], list[dict[str, Any]]]:
    """Read each file or sheet once, whatever the number of tables it feeds."""
    from alliance.sites.readers.contract import ReadOptions
    from alliance.sites.reading import read_file

    specs: dict[Place, list[TableSpec]] = {}
    for spec in site_file.tables:
        for name in spec.file_names:
            specs.setdefault((name, spec.sheet or ""), []).append(spec)
    sources: dict[Place, Source] = {}
    unread = []
    for number, (place, users) in enumerate(specs.items()):
        name = place[0]
        ways = {(spec.format, spec.encoding, spec.separator, spec.decimal, spec.header_row) for spec in users}
        if len(ways) > 1:
            text = "Several tables read this file and declare its format, encoding, separator, decimal sign or header row differently."
            context.log.site_fault("C06", text, "Declare them alike.", file=name)
        spec = users[0]
        expected = [column for user in users for column in _expected(user, context)]
        given = {
            "format": spec.format,
            "encoding": spec.encoding,
            "separator": spec.separator,
            "decimal": spec.decimal,
            "sheet": spec.sheet,
            "header_row": spec.header_row,
        }
        ids = [user.columns[column] for user in users for column in ("client_id", "therapist_id") if column in user.columns]
        options = ReadOptions(
            **{option: value for option, value in given.items() if value is not None},
            max_file_mb=max_file_mb,
            expected_columns=tuple(dict.fromkeys(expected)),
            id_columns=tuple(dict.fromkeys(ids)),
            recruiting=site_file.recruiting,
            max_listed=context.log.max_listed,
        )
        raw, issues = read_file(folder / name, options, site, name)
        for issue in issues:
            context.log.add(issue)
        if raw is None:
            unread.append(
                {
                    "file": name,
                    "sheet": place[1],
                    "sha256": "",
                    "rows_in": 0,
                    "rows_used": 0,
                    "rows_quarantined": 0,
                    "rows_excluded_by_rule": 0,
                    "excluded_by_rule": {},
                }
            )
            continue
        sources[place] = Source(number, FileLedger(name, raw), spec.decimal or ".", list(raw.columns))
    _check_declared(sources, site_file, context)
    _check_duplicates(sources, context)
    return sources, unread


def _expected(spec: TableSpec, context: Context) -> list[str]:
    instrument = context.instruments.get(spec.instrument or "")
    return reshaping.expected_columns(spec, instrument.n_items if instrument else None)


def _check_declared(sources: dict[Place, Source], site_file: SiteFile, context: Context) -> None:
    """Compare files with the checksums and numbers of rows that site.yaml declares."""
    for name in dict.fromkeys(name for name, _ in sources):
        tables = [source.ledger.raw for (file, _), source in sources.items() if file == name]
        declared = site_file.checksums.get(name)
        if declared is not None and declared != tables[0].sha256:
            text = f"The file's SHA-256 is {tables[0].sha256}, site.yaml declares {declared}: it is not the file that was checked."
            context.log.site_fault("F35", text, "Fetch the file again, or update checksums: after looking at what changed.", file=name)
        expected = site_file.expected_rows.get(name)
        rows = sum(raw.rows_in - raw.rows_blank for raw in tables)
        if expected is not None and rows != expected:
            text = f"The file has {rows} data rows, site.yaml expects {expected}."
            context.log.site_fault("F29", text, "Fetch the file again, or update expected_rows:.", file=name)


def _check_duplicates(sources: dict[Place, Source], context: Context) -> None:
    first: dict[str, str] = {}
    for (name, _), source in sources.items():
        known = first.setdefault(source.ledger.raw.sha256, name)
        if known != name:
            text = f"The file is a duplicate of {shown(known)}: both have the same content."
            fix = "Send the right file, or remove one of the two from site.yaml."
            report = context.log.remark if known in context.log.superseded else context.log.site_fault
            report("F33", text, fix, file=name)


Place = tuple[str, str]
Extracted = list[tuple[TableSpec, dict[str, Records]]]


def _extract_tables(site_file: SiteFile, sources: dict[Place, Source], context: Context) -> Extracted:
    """Return the records of every table entry, its files joined in order of delivery."""
    used: dict[Place, set[str]] = {place: set() for place in sources}
    incomplete: set[Place] = set()
    result: Extracted = []
    for spec in site_file.tables:
        places = [(name, spec.sheet or "") for name in spec.file_names]
        maps = {place[0]: map_columns(spec, sources[place], context) for place in places if place in sources}
        _report_mixed_layouts(spec, maps, context)
        found: dict[str, list[Records]] = {}
        seen: list[set[str]] = []
        for delivery, place in enumerate(places):
            if place not in sources:
                continue
            resolved = maps[place[0]]
            used[place] |= resolved.used
            if resolved.missing or resolved.repeated or not resolved.blocks:
                incomplete.add(place)
                continue
            superseded = spec.deliveries == "cumulative" and delivery < len(places) - 1
            if "client_id" in spec.columns:
                seen.append(_ids_of(sources[place], resolved.blocks[0].columns["client_id"], context))
            for instrument, records in extract(spec, resolved, sources[place], delivery, superseded, context).items():
                found.setdefault(instrument, []).append(records)
        if spec.deliveries == "cumulative":
            _report_lost_clients(spec, seen, context)
        _report_changed_questions(spec, places, sources, maps, context)
        result.append((spec, {instrument: join(parts) for instrument, parts in found.items()}))
    for place, source in sources.items():
        readers = [spec for spec in site_file.tables if place[0] in spec.file_names and (spec.sheet or "") == place[1]]
        _report_surplus_columns(source, used[place], readers, place in incomplete, context)
    if site_file.session_numbers == "file":
        for spec, found in result:
            if spec.placed_in_time:
                for records in found.values():
                    deliveries.number_by_position(records, SESSION)
    elif site_file.session_numbers == "date":
        dated = [records for spec, found in result if spec.placed_in_time and not spec.session_in_header for records in found.values()]
        deliveries.number_by_date(dated, SESSION)
    return result


def _ids_of(source: Source, column: str, context: Context) -> set[str]:
    ignored = context.withdrawn | set(context.site_file.test_ids) | {""}
    return set(source.coded(column).texts) - ignored


def _report_lost_clients(spec: TableSpec, seen: list[set[str]], context: Context) -> None:
    lost = set().union(*seen[:-1]) - seen[-1] if len(seen) > 1 else set()
    if lost:
        text = (
            f"The last delivery should hold everything (deliveries: cumulative) and lacks {counted(len(lost), 'client')} of earlier ones."
        )
        fix = "Send a complete file, set deliveries: incremental, or add clients who withdrew to withdrawn.csv."
        context.log.remark("R20", text, fix, file=spec.file_names[-1], n_affected=len(lost))


def _report_changed_questions(
    spec: TableSpec, places: list[Place], sources: dict[Place, Source], maps: dict[str, reshaping.Resolved], context: Context
) -> None:
    """Refuse survey columns that ask another question than in the delivery before: the name stayed, the ImportId changed (H06)."""
    read = [place for place in places if place in sources]
    for before, after in pairwise(read):
        old, new = (sources[place].ledger.raw.import_ids for place in (before, after))
        changed = [name for name in sorted(maps[after[0]].used) if old.get(name) and new.get(name) and old[name] != new[name]]
        if changed:
            names = ", ".join(map(shown, changed[:20]))
            text = f"Since {shown(before[0])} these columns belong to other questions of the survey (another ImportId): {names}."
            fix = "Compare the survey with the column map; list the deliveries as tables of their own if the questions are the right ones."
            context.log.site_fault("H06", text, fix, file=after[0], n_affected=len(changed))


def _report_mixed_layouts(spec: TableSpec, maps: dict[str, reshaping.Resolved], context: Context) -> None:
    unfit = [name for name, resolved in maps.items() if resolved.missing]
    if unfit and len(unfit) < len(maps):
        relevant = [name for name in unfit if name not in context.log.superseded]
        text = f"The files of the table of {spec.table} have different layouts: some columns are missing in {', '.join(map(shown, unfit))}."
        fix = "Send all deliveries in one layout, or list them as tables of their own with their own column map."
        context.log.site_fault("R16", text, fix, file=(relevant or unfit)[0], n_affected=len(unfit))


def _report_surplus_columns(source: Source, used: set[str], specs: list[TableSpec], incomplete: bool, context: Context) -> None:
    known = set(used).union(*(reshaping.by_format(spec, source.header, bool(source.ledger.raw.import_ids)) for spec in specs))
    surplus = [column for column in source.header if column not in known]
    identifying = [column for column in surplus if identifiers.is_identifying(column)]
    if identifying:
        text = f"Columns whose names identify people: {', '.join(map(shown, identifying))}."
        fix = "Remove them from the export and send it again; the pipeline must not hold them."
        context.log.site_fault("H09", text, fix, file=source.ledger.name, n_affected=len(identifying))
    rest = [column for column in surplus if column not in identifying]
    if rest and not incomplete:
        names = ", ".join(map(shown, rest[:20])) + (f" and {len(rest) - 20} more" if len(rest) > 20 else "")
        text = f"Columns that no table uses are dropped: {names}."
        context.log.remark("H09", text, "Nothing to do, or map them in site.yaml.", file=source.ledger.name, n_affected=len(rest))


def _combine(site_file: SiteFile, extracted: Extracted, sources: list[Source], context: Context) -> assembly.Parts:
    """Apply the rules on equal keys within each table entry, then over entries that feed the same table."""
    groups: dict[tuple[str, str, str], list[tuple[TableSpec, Records]]] = {}
    for spec, found in extracted:
        for instrument, records in found.items():
            level = "" if not spec.is_rating else ("scale" if any(name.startswith("s_") for name in records.values) else "item")
            table = "ratings" if level == "item" else spec.table
            standing = _standing(spec, records, sources, context)
            groups.setdefault((table, instrument, level), []).append((spec, standing))
    parts = assembly.Parts()
    by_instrument: dict[str, list[Records]] = {}
    for (table, instrument, level), members in groups.items():
        spec = members[0][0]
        records = join([records for _, records in members])
        if len(members) > 1:
            records.keys["delivery"] = np.zeros(len(records), dtype=np.int64)
            records = _standing(spec, records, sources, context)
        if level == "scale":
            units = {member.unit or "mean" for member, _ in members}
            if len(units) > 1:
                text = f"Scale scores of {instrument} are sent as means in one table and as sums in another."
                context.log.site_fault("C06", text, "Send them in one unit.", file=NAME)
            parts.units[instrument] = sorted(units)[0]
        if table == "ratings":
            by_instrument.setdefault(instrument, []).append(records)
        elif table == "outcomes":
            parts.outcomes[instrument] = records
        else:
            setattr(parts, table, records)
    for instrument, levels in by_instrument.items():
        parts.ratings[instrument] = deliveries.merge(levels) if len(levels) > 1 else levels[0]
    return parts


def _standing(spec: TableSpec, records: Records, sources: list[Source], context: Context) -> Records:
    """Return the records of a table that stand after repetitions, contradictions and corrections."""
    extra = ("code", "target") if spec.table == "events" else (("judged_by",) if spec.table == "termination" else ())
    extra = tuple(name for name in extra if name in records.values)
    if spec.table == "events" and "count" not in records.values:
        return records
    key = KEY_OF_TABLE[spec.table]
    outcome = deliveries.combine(records, key, extra)
    report_repetitions(records, outcome, sources, context)
    by_number = {source.number: source for source in sources}
    contributing = np.zeros(len(records), dtype=bool)
    if spec.layout == "one_row_per_response" and spec.is_rating:
        contributing = deliveries.overlay(records, key, outcome)
        for number, source in by_number.items():
            files, positions = records.rows_of(contributing)
            source.ledger.use(positions[files == number])
    for number, source in by_number.items():
        files, positions = records.rows_of(outcome.superseded & ~contributing)
        source.ledger.exclude(positions[files == number], "superseded")
        files, positions = records.rows_of(outcome.correcting)
        rows = np.unique(source.ledger.physical(positions[files == number]))
        text = "The row corrects what an earlier delivery said about the same client and occasion; the later one is used."
        context.log.at_rows(
            "R19", Severity.WARN, source.ledger.name, rows, text, "Nothing to do if the correction is meant.", sheet=source.ledger.raw.sheet
        )
    return records if outcome.kept.all() else records.take(np.flatnonzero(outcome.kept))


def _number_ids_by_text(parts: assembly.Parts, context: Context) -> None:
    """Make codes of ids ascend with their texts, so that no choice among equal rows depends on the order of rows."""
    for kind, vocabulary in (("client", context.clients), ("therapist", context.therapists)):
        new = np.append(vocabulary.sort(), NO_NUMBER)
        if not np.array_equal(new[:-1], np.arange(len(new) - 1)):
            for records in parts.everything():
                records.keys[kind] = new[records.keys[kind]]


def _check_together(parts: assembly.Parts, sources: list[Source], context: Context) -> None:
    """Look at what only shows when all tables are read."""
    _check_look_alikes(parts, context)
    _check_chronology(parts, sources, context)
    moved = assembly.transfers(parts)
    if moved and context.site_file.transfers == "warn":
        text = f"More than one therapist: {counted(len(moved), 'client')}; each rating keeps the therapist of its own row or session."
        context.log.remark(
            "R21", text, "Set transfers: accept in site.yaml if these are transfers; else correct the ids.", n_affected=len(moved)
        )
    for source in sources:
        tests = source.ledger.n_excluded("R10")
        if tests:
            text = "Rows of test records (test_ids in site.yaml) were left out."
            context.log.remark("R10", text, "Nothing to do.", file=source.ledger.name, sheet=source.ledger.raw.sheet, n_affected=tests)
        _check_events(source, context)
    for (file, column), count in sorted(context.padded.items()):
        if count:
            text = f"Spaces around the value in {counted(count, 'cell')} of this column were ignored."
            context.log.remark("V05", text, "Nothing to do.", file=file, column=column, n_affected=count)
    for instrument, records in sorted(parts.ratings.items()):
        _check_answers(instrument, records, context)


def _check_events(source: Source, context: Context) -> None:
    """Name the REDCap events whose rows no table takes: a forgotten or mistyped event would be lost in silence."""
    readers = [spec for spec in context.site_file.tables if source.ledger.name in spec.file_names and spec.format == "redcap"]
    if not readers or EVENT not in source.header or not all(spec.events for spec in readers):
        return
    events = source.coded(EVENT)
    named = {event for spec in readers for event in spec.events or {}}
    forgotten = [position for position, text in enumerate(events.texts) if text and text not in named]
    if forgotten:
        names = ", ".join(shown(events.texts[position]) for position in forgotten[:20])
        text = f"No table takes the rows of these events: {names}."
        fix = "Add them to events: in site.yaml if they belong to the study; else nothing to do."
        n_rows = int(np.isin(events.codes, forgotten).sum())
        context.log.remark("R11", text, fix, file=source.ledger.name, column=EVENT, n_affected=n_rows)


def _check_look_alikes(parts: assembly.Parts, context: Context) -> None:
    used = {
        "client": sorted({code for records in parts.everything() for code in np.unique(records.keys["client"]).tolist() if code >= 0}),
        "therapist": sorted(
            {code for records in parts.everything() for code in np.unique(records.keys["therapist"]).tolist() if code >= 0}
        ),
    }
    for who, vocabulary in (("client", context.clients), ("therapist", context.therapists)):
        texts = {vocabulary.texts[code]: code for code in used[who]}
        for group in identifiers.near_duplicates(texts):
            file, row = max(vocabulary.first[texts[text]] for text in group)
            text = f"{len(group)} different {who} ids look alike (such as 007 and 7); they are treated as different people."
            context.log.remark("R08", text, "Write each id in one way in all files.", file=file, row=row, n_affected=len(group))
    clients = {context.clients.texts[code] for code in used["client"]}
    tests = [text for text in clients if identifiers.TEST_WORDS.match(text)]
    if tests:
        text = f"Used though they look like test records: {counted(len(tests), 'client id')}."
        context.log.remark("R10", text, "List them in test_ids: in site.yaml if they are tests.", n_affected=len(tests))
    absent = {identifiers.look_alike(text) for text in context.withdrawn - context.gone}
    spelled = [text for text in clients if identifiers.look_alike(text) in absent] if absent else []
    if spelled:
        text = f"Not found as written in withdrawn.csv, though a similar id is in the files: {counted(len(spelled), 'client')}."
        fix = "Write the id in withdrawn.csv exactly as in the site's files (leading zeros, upper and lower case)."
        context.log.remark("R08", text, fix, n_affected=len(spelled))


def _check_chronology(parts: assembly.Parts, sources: list[Source], context: Context) -> None:
    """Say where sessions are not in the order of their dates, or lie before the start of treatment (R15)."""
    start = _starts(parts.clients)
    by_number = {source.number: source for source in sources}
    tables = [records for records in (parts.sessions, *parts.ratings.values(), *parts.outcomes.values()) if records is not None]
    for records in tables:
        rows = np.flatnonzero(
            (records.keys["timepoint"] == SESSION) & ~np.isnan(records.keys["date"]) & (records.keys["session"] != NO_NUMBER)
        )
        order = rows[np.lexsort((records.keys["session"][rows], records.keys["client"][rows]))]
        client, session, day = (records.keys[name][order] for name in ("client", "session", "date"))
        back = (
            np.r_[False, (client[1:] == client[:-1]) & (session[1:] > session[:-1]) & (day[1:] < day[:-1])]
            if len(order)
            else np.zeros(0, bool)
        )
        early = np.zeros(len(order), dtype=bool)
        if start is not None:
            known = np.minimum(client, len(start) - 1)
            early = day < np.where(client < len(start), start[known], np.nan)
        for mask, text in (
            (back, "The session's date lies before the date of an earlier session of the same client."),
            (early, "The session's date lies before the client's start date."),
        ):
            for number, source in by_number.items():
                chosen = order[mask]
                chosen = chosen[records.keys["file"][chosen] == number]
                physical = source.ledger.physical(records.keys["position"][chosen])
                fix = "Compare the dates and session numbers with the source; the row is used."
                context.log.at_rows("R15", Severity.WARN, source.ledger.name, physical, text, fix, sheet=source.ledger.raw.sheet)
    if parts.sessions is not None:
        _check_gaps(parts.sessions, context)


def _starts(clients: Records | None) -> np.ndarray | None:
    if clients is None or "start_date" not in clients.values or not len(clients):
        return None
    table = np.full(int(clients.keys["client"].max()) + 1, np.nan)
    table[clients.keys["client"]] = clients.values["start_date"]
    return table


def _check_gaps(sessions: Records, context: Context) -> None:
    order = np.lexsort((sessions.keys["session"], sessions.keys["client"]))
    client, session = sessions.keys["client"][order], sessions.keys["session"][order]
    first = np.r_[True, client[1:] != client[:-1]] if len(order) else np.zeros(0, dtype=bool)
    gap = np.where(first, session > 1, np.r_[0, np.diff(session)] > 1)
    n_clients = len(np.unique(client[gap]))
    if n_clients:
        text = f"The table of sessions skips session numbers for {counted(n_clients, 'client')}."
        context.log.remark("R14", text, "Nothing to do if these sessions did not take place.", n_affected=n_clients)


def _check_answers(instrument: str, records: Records, context: Context) -> None:
    specs = [spec for spec in context.site_file.tables if spec.is_rating and spec.instrument in (instrument, None)]
    ranges = ranges_by_rater(specs, context.instruments.get(instrument))
    items = {name: array for name, array in records.values.items() if name.startswith("i")}
    from_items = np.ones(len(records), dtype=bool)
    if len(items) < len(records.values):
        from_items = np.any([~is_missing(array) for array in items.values()], axis=0) if items else ~from_items
    for code in np.unique(records.keys["rater"]).tolist():
        rows = np.flatnonzero((records.keys["rater"] == code) & from_items)
        response = ranges.get(RATERS[code]) if code >= 0 else None
        if not len(rows) or response is None:
            continue
        chosen = items if len(rows) == len(records) else {name: array[rows] for name, array in items.items()}
        name = f"{instrument} ({RATERS[code]})"
        for finding in plausibility.check_items(name, chosen, response, context.below[instrument, code]):
            place = {"column": finding.column, "n_affected": finding.n_affected}
            if finding.fatal:
                context.log.site_fault(finding.code, finding.message, finding.fix, **place)
            else:
                context.log.remark(finding.code, finding.message, finding.fix, **place)


def _finish(
    site: str,
    parts: assembly.Parts,
    sources: dict[str, Source],
    unread: list[dict[str, Any]],
    context: Context,
    key: bytes,
    link_check: bool,
) -> CleanedSite:
    site_file, log = context.site_file, context.log
    of_client = assembly.fill_therapists(parts)
    sessions, unlisted = assembly.whole_sessions(parts)
    if unlisted:
        text = f"{unlisted} sessions have ratings but are not in the table of sessions; they are added."
        log.remark("R18", text, "Complete the table of sessions.", n_affected=unlisted)
    everything = parts.everything()
    clients = assembly.number_people(context.clients.texts, _codes(everything, "client"), key, "client", site)
    therapists = assembly.number_people(context.therapists.texts, _codes(everything, "therapist"), key, "therapist", site)
    if not clients.hashes and not log.excluded and not site_file.recruiting:
        log.site_fault(
            "F02", "No usable row is left.", "Look at the faults of the rows: ids, session numbers or the column map are likely wrong."
        )
    builder = assembly.Builder(site, clients, therapists)
    issues = log.finish()
    excluded = log.excluded
    tables = {
        "clients": builder.clients_table(parts.clients, of_client, len(context.clients.texts)),
        "therapists": builder.therapists_table(parts.therapists, len(context.therapists.texts)),
        "sessions": builder.sessions_table(sessions),
        "outcomes": builder.outcomes(parts.outcomes, parts.units),
        "events": builder.events_table(parts.events),
        "termination": builder.termination_table(parts.termination),
    }
    ratings = {
        name: builder.ratings(records, context.instruments.get(name), parts.units.get(name), _declared_ranges(name, site_file))
        for name, records in sorted(parts.ratings.items())
    }
    if excluded:
        tables = {name: table.iloc[:0] for name, table in tables.items()}
        ratings = {name: table.iloc[:0] for name, table in ratings.items()}
    files = [source.ledger.account(context.withdrawn, excluded) for source in sources.values()] + unread
    status = _status(site, site_file.label or site, "rows", site_file.facts, issues) | {
        "files": sorted(files, key=lambda entry: (entry["file"], entry["sheet"])),
        "counts": {
            "clients": len(tables["clients"]),
            "therapists": len(tables["therapists"]),
            "sessions": len(tables["sessions"]),
            "ratings": sum(map(len, ratings.values())) + len(tables["outcomes"]),
        },
        "largest_caseload_share": _largest_caseload_share(tables["clients"]),
        "instruments": {} if excluded else _instrument_facts(parts, context),
        "flow": _flow(parts, tables, ratings, context),
        "missing_reasons": {name: dict(sorted(counts.items())) for name, counts in sorted(context.missing_reasons.items())},
    }
    quarantine = {}
    for (name, sheet), source in sources.items():
        rows = source.ledger.quarantined_rows(context.withdrawn)
        if rows:
            quarantine[f"{name}.{sheet}" if sheet else name] = rows
    return CleanedSite(tables, ratings, status, issues, quarantine, _links(parts.clients, key, excluded) if link_check else None)


def _largest_caseload_share(clients: pd.DataFrame) -> float | None:
    """Return the largest share (0-1) of the clients whose therapist is known that one therapist has, to two decimals; None: not known."""
    caseloads = clients["therapist_no"].value_counts()
    return round(float(caseloads.max() / caseloads.sum()), 2) if len(caseloads) else None


def _declared_ranges(instrument: str, site_file: SiteFile) -> dict[str, Response]:
    specs = [spec for spec in site_file.tables if spec.is_rating and spec.instrument in (instrument, None) and spec.response is not None]
    return {rater: response for rater, response in ranges_by_rater(specs, None).items() if response is not None}


def _codes(everything: list[Records], kind: str) -> set[int]:
    return {code for records in everything for code in np.unique(records.keys[kind]).tolist()}


def _status(site: str, label: str, data: str, facts: dict[str, Any], issues: list[Issue]) -> dict[str, Any]:
    fatal = [issue for issue in issues if issue.severity in (Severity.SITE, Severity.RUN)]
    reasons = [
        f"{issue.file + ': ' if issue.file else ''}{issue.column + ': ' if issue.file == NAME and issue.column else ''}{issue.message}"
        for issue in sorted(fatal, key=lambda i: (i.file, i.row or 0, i.column, i.code))
    ]
    return {
        "site": site,
        "label": label,
        "data": data,
        "status": "excluded" if fatal else ("warnings" if issues else "ok"),
        "reasons": list(dict.fromkeys(reasons)),
        "site_facts": facts,
        "files": [],
        "counts": {"clients": 0, "therapists": 0, "sessions": 0, "ratings": 0},
        "instruments": {},
        "flow": {},
        "missing_reasons": {},
    }


def _instrument_facts(parts: assembly.Parts, context: Context) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for group in (parts.ratings, parts.outcomes):
        for name, records in group.items():
            level = "item" if any(column.startswith("i") for column in records.values) else "scale"
            known = facts.setdefault(name, {"raters": set(), "timepoints": set(), "level": level, "n": 0})
            known["raters"] |= {RATERS[code] for code in np.unique(records.keys["rater"]).tolist() if code >= 0}
            known["timepoints"] |= {TIMEPOINTS[code] for code in np.unique(records.keys["timepoint"]).tolist() if code >= 0}
            known["n"] += len(records)
    for name, known in facts.items():
        known["raters"] = [rater for rater in RATERS if rater in known["raters"]]
        known["timepoints"] = [timepoint for timepoint in TIMEPOINTS if timepoint in known["timepoints"]]
        specs = [spec for spec in context.site_file.tables if spec.is_rating and spec.instrument in (name, None)]
        ranges = ranges_by_rater(specs, context.instruments.get(name))
        known["response"] = {rater: ranges[rater].model_dump() if ranges.get(rater) is not None else None for rater in known["raters"]}
    return dict(sorted(facts.items()))


def _flow(parts: assembly.Parts, tables: dict[str, pd.DataFrame], ratings: dict[str, pd.DataFrame], context: Context) -> dict[str, int]:
    """Return the number of clients after each step."""
    rated = set().union(*(set(table["client_no"].unique().dropna()) for table in (*ratings.values(), tables["outcomes"])))
    at_sessions = set().union(
        *(set(table.loc[table["timepoint"] == "session", "client_no"].unique().dropna()) for table in ratings.values())
    )
    steps = Counter(sent=len(context.sent | context.gone | context.tests))
    steps["withdrawn"] = len(context.gone)
    steps["test_records"] = len(context.tests - context.gone)
    steps["cleaned"] = len(tables["clients"])
    steps["without_usable_rows"] = max(len(context.sent) - steps["cleaned"], 0)
    steps["with_ratings"] = len(rated)
    steps["with_session_ratings"] = len(at_sessions)
    return dict(steps)


def _links(clients: Records | None, key: bytes, excluded: bool) -> list[str]:
    """Return hashes of date of birth and sex that are equal in all sites of the study."""
    if excluded or clients is None or not {"birth_date", "gender"} <= set(clients.values):
        return []
    pairs = zip(clients.values["birth_date"].tolist(), clients.values["gender"].tolist())
    known = {f"link\x00{int(day)}\x00{gender}" for day, gender in pairs if not np.isnan(day) and gender is not None}
    return sorted(hmac.new(key, text.encode(), hashlib.sha256).hexdigest() for text in known)


def _empty_tables(builder: assembly.Builder) -> dict[str, pd.DataFrame]:
    sessions, _ = assembly.whole_sessions(assembly.Parts())
    return {
        "clients": builder.clients_table(None, {}, 0),
        "therapists": builder.therapists_table(None, 0),
        "sessions": builder.sessions_table(sessions),
        "outcomes": builder.no_outcomes(),
        "events": builder.events_table(None),
        "termination": builder.termination_table(None),
    }
