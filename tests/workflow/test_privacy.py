"""Ids of people stay where they belong: raw ones in the data, hashed ones in private files and cleaned tables, withdrawn ones nowhere."""

from __future__ import annotations

import base64
import binascii
import csv
import io
import re
import shutil
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from alliance.files import read_json
from alliance.instruments import load_registry
from alliance.sites.identifiers import keyed_hash, read_key
from alliance.sites.reading import ReadOptions, read_file
from alliance.sites.site_file import load_site_file
from support import PROJECT, Checkout

READING = ("format", "encoding", "separator", "decimal", "sheet", "header_row")


def raw_ids(site: Path) -> dict[str, set[str]]:
    """Return the ids of clients and therapists as they stand in a site's files; words of summary rows are no ids."""
    site_file, _ = load_site_file(site / "site.yaml", site.name, load_registry([PROJECT / "workflow" / "instruments"]))
    assert site_file is not None
    found: dict[str, set[str]] = {"client": set(), "therapist": set()}
    for spec in site_file.tables:
        given = {name: getattr(spec, name) for name in READING if getattr(spec, name) is not None}
        for name in spec.file_names:
            raw, _ = read_file(site / name, ReadOptions(**given), site.name, name)
            assert raw is not None
            for kind, ids in found.items():
                column = spec.columns.get(f"{kind}_id")
                if column in raw.columns:
                    ids.update(text.strip() for text in raw.cells.column(column).to_pylist() if re.search(r"[0-9]", text))
    return found


@pytest.fixture(scope="module")
def ids(computed: Checkout) -> dict[str, dict[str, set[str]]]:
    """Return the raw ids of the demo by site and kind."""
    return {site: raw_ids(computed.folder / "data" / "demo" / site) for site in computed.sites()}


def texts(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield every file below a folder with its name, Parquet columns as text and names in base64 as what they say."""
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.is_symlink():
            continue
        name = path.relative_to(folder).as_posix()
        content = path.read_bytes()
        if path.suffix == ".parquet":
            table = pq.ParquetFile(io.BytesIO(content)).read()
            kept = [column for column in table.itercolumns() if pa.types.is_string(column.type) or pa.types.is_large_string(column.type)]
            content += "\n".join(str(text) for column in kept for text in column.unique().to_pylist()).encode()
        yield name, content + b"\n" + name.encode() + b"\n" + b"\n".join(decoded(part) for part in name.split("/"))


def decoded(name: str) -> bytes:
    """Return what a name in base64 says; nothing where it is none."""
    try:
        return base64.b64decode(name, validate=True)
    except (binascii.Error, ValueError):
        return b""


def holding(folder: Path, words: set[str]) -> dict[str, set[str]]:
    """Return the files below a folder that hold one of some words, with the words."""
    pattern = re.compile(b"(?<![A-Za-z0-9])(?:" + b"|".join(re.escape(word.encode()) for word in sorted(words)) + b")(?![A-Za-z0-9])")
    found = {name: {match.decode() for match in pattern.findall(content)} for name, content in texts(folder)}
    return {name: hits for name, hits in found.items() if hits}


def hashes(ids: dict[str, dict[str, set[str]]], folder: Path) -> set[str]:
    key = read_key(None, folder / ".id_key")
    return {keyed_hash(text, key, kind, site) for site, kinds in ids.items() for kind, found in kinds.items() for text in found}


def test_no_raw_id_leaves_the_private_folder(computed, ids):
    every = {text for kinds in ids.values() for found in kinds.values() for text in found}
    assert len(every) > 300
    hits = holding(computed.results, every)
    assert any(name.startswith("private/") for name in hits), "the search itself must find what is there"
    assert [name for name in hits if not name.startswith("private/")] == []
    assert holding(computed.folder / ".snakemake", every) == {}


def test_no_hashed_id_stands_in_tables_reports_or_lists_of_faults(computed, ids):
    known = hashes(ids, computed.folder)
    hits = holding(computed.results, known)
    assert any(name.startswith("sites/") and name.endswith(".parquet") for name in hits), "the search itself must find what is there"
    public = re.compile(r"base/|issues\.csv$|sites/[^/]+/(issues\.csv|status\.json)$|logs/|sensitivity/|changes/|summaries/|constants/")
    assert [name for name in hits if public.match(name) or name.endswith((".csv", ".json", ".html", ".log"))] == []


def test_the_private_folder_is_closed_to_others(computed):
    private = computed.results / "private"
    folders = [private, *(path for path in private.rglob("*") if path.is_dir())]
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}
    files = [path for path in (private / "quarantine").rglob("*") if path.is_file() and not path.name.startswith(".snakemake")]
    assert files and {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE((computed.folder / ".id_key").stat().st_mode) == 0o600


def quarantined_ids(folder: Path, ids: set[str]) -> list[str]:
    """Return clients of whom the quarantine holds a row."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in folder.glob("*.csv"))
    return sorted(text_id for text_id in ids if re.search(rf"(?<![A-Za-z0-9]){re.escape(text_id)}(?![A-Za-z0-9])", text))


def exported_clients(study: Checkout) -> Counter[str]:
    """Export the study's scores as text and return how many clients of each site are in them."""
    result = study.call("export", "--format", "csv")
    assert result.returncode == 0, result.stdout + result.stderr
    with open(study.results / "private" / "export" / "base" / "clients.csv", encoding="utf-8", newline="") as file:
        return Counter(row["site"] for row in csv.DictReader(file))


def test_clients_who_withdrew_leave_no_trace(computed, ids, tmp_path):
    study = Checkout(tmp_path / "project")
    shutil.copytree(computed.folder, study.folder, symlinks=True)
    quarantine = study.results / "private" / "quarantine"
    in_quarantine = quarantined_ids(quarantine / "northgate", ids["northgate"]["client"])
    assert in_quarantine
    ordinary = sorted(ids["fjordvik"]["client"])
    leaving = {("northgate", in_quarantine[0]), ("fjordvik", ordinary[6]), ("fjordvik", ordinary[20])}
    before = {site: read_json(study.results / "sites" / site / "status.json") for site in study.sites()}
    exported = exported_clients(study)
    with open(study.folder / "withdrawn.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("site", "client_id"), *sorted(leaving)])

    result = study.call("run")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "removed the export of base as csv" in result.stdout
    export = study.results / "private" / "export" / "base"
    assert not (export / "sessions.csv").exists() and not (export / "clients.csv").exists()
    cleaned = set(re.findall(r"clean site \((.+?)\)", result.stdout))
    assert cleaned == {"northgate", "fjordvik"}

    key = read_key(None, study.folder / ".id_key")
    traces = {text for _, text in leaving} | {keyed_hash(text, key, "client", site) for site, text in leaving}
    assert not [word for word in traces if word in result.stdout + result.stderr]
    hits = {name for name in holding(study.folder, traces) if not name.startswith("data/") and name != "withdrawn.csv"}
    assert hits == set()
    for site in study.sites():
        status = read_json(study.results / "sites" / site / "status.json")
        gone = sum(1 for name, _ in leaving if name == site)
        assert before[site]["counts"]["clients"] - status["counts"]["clients"] == gone
        by_rule = sum(file["excluded_by_rule"].get("withdrawn", 0) for file in status["files"])
        assert (by_rule > 0) == (gone > 0)
        assert status["flow"]["withdrawn"] == gone
        for file in status["files"]:
            assert file["rows_in"] == file["rows_used"] + file["rows_quarantined"] + file["rows_excluded_by_rule"]
    again = exported_clients(study)
    assert {site: exported[site] - again[site] for site in exported} == {
        site: sum(1 for name, _ in leaving if name == site) for site in exported
    }
    assert holding(study.results / "private" / "export", hashes(ids, study.folder)) == {}
    every = {text for kinds in ids.values() for found in kinds.values() for text in found}
    assert not [text for text in every if re.search(rf"(?<![A-Za-z0-9]){re.escape(text)}(?![A-Za-z0-9])", result.stdout + result.stderr)]
