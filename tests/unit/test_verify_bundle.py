"""A bundle is checked by one file of the standard library: what is missing, altered or added, and what gives somebody away."""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
import shutil
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path
from random import Random
from urllib.parse import quote

import pytest
import verify_bundle
from support import PROJECT
from unit import small_bundle

LEAKS = {
    "keyed id": "1f0a9c3be57d2468",
    "absolute path": "/home/researcher/study/data/clients.csv",
    "file address": "file:///srv/study/report.html",
    "e-mail address": "ann.other@clinic.example.org",
    "date": "2024-05-17",
    "network address": "192.168.17.4",
    "name": "quellenhof-pc",
}
FURTHER = [
    ("absolute path", r"C:\Users\ann\study\data.csv"),
    ("absolute path", "C:/Users/ann/data.csv"),
    ("absolute path", r"\\fileserver\studies"),
    ("absolute path", "~ann/study"),
    ("absolute path", "/tmp/partial"),
    ("absolute path", "/Users/ann/Desktop/x.sav"),
    ("date", "17.05.2024"),
    ("date", "5/17/2024"),
    ("date", "17/05/2024"),
    ("date", "2024/05/17"),
    ("date", "17 May 2024"),
    ("date", "May 17th, 2024"),
    ("date", "17. M\u00e4rz 2024"),
    ("date", "2024-05-17T09:30:00"),
    ("network address", "fe80::1ff:fe23:4567:890a"),
    ("network address", "2001:0db8:85a3:0000:0000:8a2e:0370:7334"),
    ("file address", "FILE:///x/y"),
]
HARMLESS = [
    "r = .25, 95% CI [.10, .39], 12 of 120",
    "https://doi.org/10.1037/0022-0167.38.2.139 and 10.1111/j.2044-8260.1998.tb01291.x",
    "0.1234567890123456,-1.234567890123456e-05,1234567890123456",
    "0123456789ab 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    "items 1/2/3, version 1.2.3, session/client/therapist, mean/SD, and/or",
    "y ~ a*x + b*m; x =~ i1 + i2; c(a, b)*x; [@key_1993; @other_2004]",
    "scripts/alliance/files.py results/sensitivity/tables/summary.csv",
    "pp. 561-573, 1993, 61(4); 0000-0002-1825-0097",
]


def kinds(folder: Path, **options: object) -> list[str]:
    """Return the kinds of the faults of a bundle."""
    return [fault.kind for fault in verify_bundle.check(folder, here=False, **options)]


def test_a_bundle_in_order_has_no_fault(tmp_path):
    assert verify_bundle.check(small_bundle.write(tmp_path), here=False) == []


@pytest.mark.parametrize("text", HARMLESS)
def test_numbers_references_and_models_are_no_leaks(tmp_path, text):
    assert kinds(small_bundle.write(tmp_path, {"methods.md": text.encode()})) == []


@pytest.mark.parametrize(("kind", "text"), FURTHER)
def test_every_way_of_writing_a_leak_is_found(tmp_path, kind, text):
    folder = small_bundle.write(tmp_path, {"methods.md": f"# Methods\n\nsee {text} there\n".encode()})
    found = verify_bundle.check(folder, here=False)
    assert kind in {fault.kind for fault in found} and {(fault.file, fault.line) for fault in found} == {("methods.md", 3)}


def png(text: str) -> bytes:
    """Return a picture that says something beside its points."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")

    said = chunk(b"zTXt", b"Comment\x00\x00" + zlib.compress(f"made at {text} today".encode()))
    head = chunk(b"IHDR", (1).to_bytes(4, "big") * 2 + b"\x08\x00\x00\x00\x00")
    return b"\x89PNG\r\n\x1a\n" + head + said + chunk(b"IDAT", zlib.compress(b"\x00\x00")) + chunk(b"IEND", b"")


def zipped(name: str, text: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, text)
    return made.getvalue()


PLACES = {
    "page": lambda text: {"base/report/quality.html": f"<html><body>\n<p>seen {text} there</p></body></html>".encode()},
    "escaped page": lambda text: {
        "base/report/quality.html": f"<p>{''.join(f'&#{ord(letter)};' for letter in text)}</p>".encode(),
    },
    "drawing in a page": lambda text: {
        "base/report/quality.html": f'<img alt="" src="data:image/svg+xml,{quote(f"<svg><desc>{text} </desc></svg>", safe="")}">'.encode()
    },
    "drawing in base64": lambda text: {
        "base/report/quality.html": b'<img alt="" src="data:image/svg+xml;base64,'
        + base64.b64encode(f"<svg><desc>at {text} </desc></svg>".encode())
        + b'">'
    },
    "drawing": lambda text: {"figures/base/forest.svg": f"<svg><desc>at {text} </desc></svg>".encode()},
    "table": lambda text: {"tables/alliance/pooled.csv": f"question,estimate\nhow strong,{text}\n".encode()},
    "text": lambda text: {"methods.md": f"see {text} there".encode()},
    "json": lambda text: {"base/provenance.json": json.dumps({"made": text}).replace("\\\\", "\\").encode()},
    "escaped json": lambda text: {
        "base/provenance.json": f'{{"made": "{"".join(f"{chr(92)}u{ord(letter):04x}" for letter in text)}"}}'.encode()
    },
    "yaml": lambda text: {"config.yaml": f"study:\n  title: {text}\n".encode()},
    "bibliography": lambda text: {"references.bib": f"@misc{{a, note = {{{text}}}}}".encode()},
    "citation": lambda text: {"CITATION.cff": f"cff-version: 1.2.0\nmessage: see {text} there\n".encode()},
    "workbook": lambda text: {"base/report/tables.xlsx": zipped("xl/sharedStrings.xml", f"<t>{text}</t>")},
    "archive in an archive": lambda text: {"base/more.zip": nested(text)},
    "packed file": lambda text: {"tables.csv.gz": gzip.compress(f"a\n{text}\n".encode(), mtime=0)},
    "picture": lambda text: {"figures/base/forest.png": png(text)},
    "UTF-16": lambda text: {"notes.txt": f"see {text} there".encode("utf-16")},
}


def nested(text: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("inner.zip", zipped("note.txt", f"see {text} there"))
    return made.getvalue()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", LEAKS)
def test_a_leak_is_found_in_every_kind_of_file(tmp_path, kind, place):
    folder = small_bundle.write(tmp_path, PLACES[place](LEAKS[kind]))
    found = verify_bundle.check(folder, [LEAKS["name"]], here=False)
    assert kind in {fault.kind for fault in found}, found
    assert any(LEAKS[kind][:40] in fault.found for fault in found)


def test_a_leak_in_the_name_of_a_file_is_found(tmp_path):
    assert "date" in kinds(small_bundle.write(tmp_path, {"base/export 2024-05-17.txt": b"nothing"}))


def test_a_leak_in_a_member_that_only_the_archive_has_is_found(tmp_path):
    folder = small_bundle.write(tmp_path)
    with zipfile.ZipFile(folder / "a-study.zip", "a") as archive:
        archive.writestr("a-study/secret.txt", "client 1f0a9c3be57d2468")
    assert kinds(folder) == ["archive", "keyed id"]


def test_the_file_and_line_of_a_leak_are_told(tmp_path):
    folder = small_bundle.write(tmp_path, {"tables/alliance/pooled.csv": b"question,estimate\na,1\nb,ann@clinic.org\n"})
    (fault,) = verify_bundle.check(folder, here=False)
    assert str(fault) == "tables/alliance/pooled.csv:3: e-mail address: ann@clinic.org"


def test_names_of_user_and_host_are_looked_for_unless_many_machines_have_them(tmp_path, monkeypatch):
    monkeypatch.setenv("USER", "annother")
    monkeypatch.setattr(verify_bundle.platform, "node", lambda: "quellenhof-pc.clinic.local")
    names = verify_bundle.names_of_this_machine()
    assert {"annother", "quellenhof-pc"} <= set(names) and not {"root", "runner", "localhost"} & set(names)
    folder = small_bundle.write(tmp_path, {"methods.md": b"made by annother on quellenhof-pc, not by annotherone"})
    assert [fault.found for fault in verify_bundle.check(folder)] == ["annother", "quellenhof-pc"]


def test_what_the_bundle_declares_as_no_leak_passes_and_nothing_else(tmp_path):
    assert kinds(small_bundle.write(tmp_path, {"methods.md": b"released on 2026-12-01"})) == []
    assert kinds(small_bundle.write(tmp_path, {"methods.md": b"released on 2026-12-02"})) == ["date"]


@pytest.mark.parametrize(
    ("part", "day", "expected"),
    [
        ("docProps/core.xml", "1980-01-01", []),
        ("docProps/core.xml", "2026-12-02", ["date"]),
        ("xl/sharedStrings.xml", "1980-01-01", ["date"]),
    ],
)
def test_a_workbook_may_carry_the_day_that_stands_for_no_time_and_no_other(tmp_path, part, day, expected):
    assert kinds(small_bundle.write(tmp_path, {"base/report/tables.xlsx": zipped(part, f"<t>{day}T00:00:00Z</t>")})) == expected


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ('<c r="A1"><v>-12.5E-07</v></c><c r="B1" s="2" t="s"><v>1136</v></c>', []),
        ('<c r="A1"><v>10.1.22.3</v></c>', ["network address"]),
        ('<c r="A1" t="str"><v>2024-05-17</v></c>', ["date"]),
        ('<c r="A1" t="inlineStr"><is><t>ann@clinic.org</t></is></c>', ["e-mail address"]),
        ('<c r="A1"><v>1</v></c><c r="B1" t="str"><v>1f0a9c3be57d2468</v></c>', ["keyed id"]),
    ],
)
def test_cells_of_a_sheet_are_searched_unless_they_hold_a_number(tmp_path, cell, expected):
    assert kinds(small_bundle.write(tmp_path, {"base/report/tables.xlsx": zipped("xl/worksheets/sheet1.xml", cell)})) == expected


def test_a_bundle_for_the_study_itself_may_hold_dates_but_no_path(tmp_path):
    statement = b'{"profile": "internal", "not_leaks": []}'
    changed = {"disclosure.json": statement, "methods.md": b"on 2024-05-17 ann@clinic.org in /home/ann/study"}
    assert kinds(small_bundle.write(tmp_path, changed)) == ["absolute path"]


def test_altered_missing_and_added_files_are_found_both_ways(tmp_path):
    folder = small_bundle.write(tmp_path)
    (folder / "methods.md").write_text("# Other methods\n", encoding="utf-8")
    (folder / "codebook.csv").unlink()
    (folder / "more.txt").write_text("more", encoding="utf-8")
    found = {(fault.file, fault.kind) for fault in verify_bundle.check(folder, here=False)}
    assert {("methods.md", "altered"), ("codebook.csv", "missing"), ("more.txt", "not in the manifest")} <= found
    assert {("a-study.zip!methods.md", "archive"), ("a-study.zip!codebook.csv", "archive"), ("a-study.zip!more.txt", "archive")} <= found


def test_links_out_of_the_bundle_are_not_followed(tmp_path):
    outside = tmp_path / "outside.txt"
    outside.write_text("secret", encoding="utf-8")
    folder = small_bundle.write(tmp_path / "bundle")
    (folder / "link.txt").symlink_to(outside)
    assert ("link.txt", "no regular file") in {(fault.file, fault.kind) for fault in verify_bundle.hash_faults(folder)}


@pytest.mark.parametrize("line", ["nonsense", f"{'0' * 64}  ../outside", f"{'0' * 64}  /etc/hosts"])
def test_a_manifest_that_leads_out_of_the_bundle_is_refused(tmp_path, line):
    folder = small_bundle.write(tmp_path)
    with open(folder / "manifest-sha256.txt", "a", encoding="utf-8") as file:
        file.write(f"{line}\n")
    assert "not readable" in [fault.kind for fault in verify_bundle.hash_faults(folder)]


@pytest.mark.parametrize(
    ("table", "kind"),
    [("question,value\na,1\n", "columns"), ("estimate,question\n1,a\n", "columns"), ("question,estimate\na,1,2\n", "cells")],
)
def test_tables_that_are_not_as_described_are_found(tmp_path, table, kind):
    assert kind in kinds(small_bundle.write(tmp_path, {"tables/alliance/pooled.csv": table.encode()}))


def test_a_table_that_is_not_described_is_found(tmp_path):
    assert "not described" in kinds(small_bundle.write(tmp_path, {"tables/alliance/more.csv": b"a\n1\n"}))


def test_a_file_that_the_research_object_lists_and_the_bundle_lacks_is_found(tmp_path):
    assert "missing file" in kinds(small_bundle.write(tmp_path, {"ro-crate-metadata.json": small_bundle.crate(["gone.csv"]).encode()}))


@pytest.mark.parametrize(
    ("markup", "kind"),
    [
        ('<a href="gone.html">x</a>', "broken link"),
        ('<a href="../../../outside.html">x</a>', "broken link"),
        ('<a href="/index.html">x</a>', "broken link"),
        ('<a href="../../index.html#gone">x</a>', "broken anchor"),
        ('<img alt="" src="https://elsewhere.example/x.png">', "loaded from elsewhere"),
        ('<script src="//elsewhere.example/x.js"></script>', "loaded from elsewhere"),
        ('<a href="javascript:alert(1)">x</a>', "link"),
    ],
)
def test_links_that_lead_nowhere_or_load_from_elsewhere_are_found(tmp_path, markup, kind):
    assert kinds(small_bundle.write(tmp_path, {"base/report/quality.html": f"<html><body>{markup}</body></html>".encode()})) == [kind]


def test_nan_is_no_json(tmp_path):
    assert kinds(small_bundle.write(tmp_path, {"ro-crate-metadata.json": b'{"@graph": [], "x": NaN}'})) == ["not readable"]


def test_the_file_runs_alone_on_any_python_and_says_what_it_found(tmp_path):
    alone = tmp_path / "verify_bundle.py"
    shutil.copy(PROJECT / "scripts" / "verify_bundle.py", alone)

    def run(folder: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-I", "-S", str(alone), str(folder)], capture_output=True, text=True)

    folder = small_bundle.write(tmp_path / "bundle")
    result = run(folder)
    assert result.returncode == 0 and "are in order" in result.stdout, result.stdout + result.stderr
    (folder / "methods.md").write_text("by ann@clinic.org\n", encoding="utf-8")
    result = run(folder)
    assert result.returncode == 4 and "methods.md:1: e-mail address: ann@clinic.org" in result.stdout
    result = run(tmp_path)
    assert result.returncode == 2 and "no published bundle" in result.stdout


FRAGMENTS = [
    *("2024", "1999", "12", "5", "31", "0", "255", "192.168", "1.2", "7a", "fe80", "0db8", "a", "F", "0123456789abcdef", "deadbeef"),
    *(".", ". ", "-", "/", ":", "::", " ", ", ", "\\", "\\\\", "~", "@", "_", "\n", "%", '"', "x", "Z", "\u00e9", "\u0131", "\ud800"),
    *(
        "May",
        "M\u00e4rz",
        "Jan",
        "December",
        "Okt",
        "of",
        "th",
        "home",
        "root",
        "tmp",
        "Users",
        "C",
        "ann",
        "clinic",
        "org",
        "file",
        "work",
    ),
]


@pytest.mark.parametrize("seed", range(8))
def test_what_is_not_looked_for_in_a_text_cannot_be_there(seed):
    # Each kind has a short test of whether a text can hold it at all; it may be wrong in one direction only.
    random = Random(seed)
    leaks = [leak for _, leak in [*LEAKS.items(), *FURTHER]]
    found = 0
    for _ in range(4000):
        text = "".join(random.choices([*FRAGMENTS, *leaks], weights=[9] * len(FRAGMENTS) + [1] * len(leaks), k=random.randint(3, 14)))
        shapes = verify_bundle._Shapes(text)
        for kind, pattern in verify_bundle.KINDS.items():
            if pattern.search(text) is not None and kind in verify_bundle._POSSIBLE:
                found += 1
                assert verify_bundle._POSSIBLE[kind](shapes), (kind, text)
    assert found > 300


def test_a_text_of_numbers_is_passed_over_without_a_search():
    text = "0.25,-1.5,0.031,1200,17,0.5,.31\nsite,estimate,r = .45; 12 of 300 clients\n" * 50
    shapes = verify_bundle._Shapes(text)
    assert not any(possible(shapes) for possible in verify_bundle._POSSIBLE.values())


def test_the_file_is_no_leak_itself(tmp_path):
    text = (PROJECT / "scripts" / "verify_bundle.py").read_bytes()
    assert kinds(small_bundle.write(tmp_path, {"verify_bundle.py": text})) == []


def test_make_verify_bundle_ends_with_the_status_of_the_check(tmp_path):
    folder = small_bundle.write(tmp_path / "bundle")

    def run(folder: Path) -> subprocess.CompletedProcess[str]:
        call = [sys.executable, str(PROJECT / "scripts" / "pipeline.py"), "verify-bundle", "--folder", str(folder)]
        return subprocess.run(call, capture_output=True, text=True)

    assert run(folder).returncode == 0
    (folder / "methods.md").write_text("other\n", encoding="utf-8")
    result = run(folder)
    assert result.returncode == 4 and re.search(r"^methods.md: altered", result.stdout, re.MULTILINE)
    assert result.stdout.strip().splitlines()[-1].startswith("exit status 4: ")
    assert run(tmp_path / "nowhere").returncode == 2
