"""Check a published bundle: python verify_bundle.py FOLDER

Every file is there and unaltered (manifest-sha256.txt) and none is there besides, the archive holds the same files, tables have the columns
that datapackage.json describes, links of the pages resolve inside the bundle, and nothing tells of a person, a machine or a day: keyed
ids, absolute paths, user and host names, file addresses, e-mail addresses, dates, addresses in networks. Needs Python 3.9 and nothing else.

Ends with status 0 where all is well, 4 with a line for each fault, 2 where the folder is no bundle.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import contextlib
import csv
import datetime
import functools
import getpass
import hashlib
import html
import io
import json
import os
import platform
import re
import socket
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

MANIFEST = "manifest-sha256.txt"
PACKAGE = "datapackage.json"
CRATE = "ro-crate-metadata.json"
STATEMENT = "disclosure.json"
SHOWN = 200
CHARACTERS = 80
MOST_UNPACKED = 2_000_000_000

OK, UNREADABLE, FAULTY = 0, 2, 4

Each = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]

# A keyed id has sixteen hexadecimal digits; digests of files have 12 or 64, and no number has a letter among its digits without a point.
_ID = re.compile(r"(?<![0-9A-Za-z.])(?=[0-9]*[a-f])(?=[a-f]*[0-9])[0-9a-f]{16}(?![0-9A-Za-z])")
_ROOTS = (
    "home|Users|root|tmp|var|usr|etc|opt|mnt|media|srv|private|Volumes|work|data|scratch|gpfs|nfs|lustre|cluster|projects?|workspace|"
    "builds?|Library|Applications|run|dev|proc|net|afs|export|storage|shared?|users"
)
_PATH = re.compile(
    rf"(?<![\w.:/~%)\]}}-])/(?:{_ROOTS})(?:/[\w.@+~-]+)+|(?<![\w.:/~%)\]}}-])/(?:root)\b(?!/)|(?<![A-Za-z0-9])[A-Za-z]:\\+[\w.~-]+[^\s\"'<>]*"
    r"|(?<![A-Za-z0-9])[A-Za-z]:/(?!/)[\w.~-]+/[^\s\"'<>]*|(?<![\\\w])\\\\[\w.-]+\\[\w$.-]+|(?<![\w./])~[a-z0-9_-]*/[\w.-]+"
)
_FILE_ADDRESS = re.compile(r"file:(?:/{1,3})[^\s\"'<>]*", re.IGNORECASE)
_MAIL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._%+-]*@[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}(?![A-Za-z])")
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_NETWORK = re.compile(
    rf"(?<![\w.-])(?:{_OCTET}\.){{3}}{_OCTET}(?![\w-]|\.[0-9])|(?<![\w:])(?:[0-9a-f]{{1,4}}:){{7}}[0-9a-f]{{1,4}}(?![\w:])"
    r"|(?<![\w:])fe80::[0-9a-f:]+",
    re.IGNORECASE,
)
_MONTHS = (
    "Jan(?:uary|uar)?|Feb(?:ruary|ruar)?|Mar(?:ch)?|M\u00e4rz|Apr(?:il)?|May|Mai|June?|Juni|July?|Juli|Aug(?:ust)?|Sep(?:t(?:ember)?)?|O[ck]t(?:ober)?|"
    "Nov(?:ember)?|De[cz](?:ember)?"
)
_DAY = r"(?:0?[1-9]|[12][0-9]|3[01])"
_YEAR = r"(?:19|20)[0-9]{2}"
_DATE = re.compile(
    rf"(?<![\w.-]){_YEAR}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])(?!-?[0-9])|(?<![\w./]){_YEAR}/(?:0[1-9]|1[0-2])/(?:0[1-9]|[12][0-9]|3[01])(?![\w/])"
    rf"|(?<![\w./]){_DAY}\. ?(?:0?[1-9]|1[0-2])\. ?{_YEAR}(?![\w.]*\d)|(?<![\w./]){_DAY}/(?:0?[1-9]|1[0-2])/{_YEAR}(?![\w/])"
    rf"|(?<![\w./])(?:0?[1-9]|1[0-2])/{_DAY}/{_YEAR}(?![\w/])|(?<![\w.]){_DAY}(?:st|nd|rd|th|\.)? (?:of )?(?:{_MONTHS})\.?,? {_YEAR}(?!\d)"
    rf"|(?<!\w)(?:{_MONTHS})\.? {_DAY}(?:st|nd|rd|th)?,? {_YEAR}(?!\d)"
)
# A sheet has millions of them; a lone number is no leak, and tables have the same ones.
_NUMBER_IN_A_CELL = re.compile(r'<c r="[A-Z]{1,3}[0-9]{1,7}"(?: [st]="[a-z0-9]*")*>(?:<v>-?[0-9]+(?:\.[0-9]+)?(?:E[-+]?[0-9]+)?</v>)?</c>')
KINDS = {
    "keyed id": _ID,
    "absolute path": _PATH,
    "file address": _FILE_ADDRESS,
    "e-mail address": _MAIL,
    "date": _DATE,
    "network address": _NETWORK,
}
"""What may never stand in a bundle, by the words for it."""

NOT_INTERNAL = ("e-mail address", "date")
"""What a bundle for the study's own people (profile internal) may hold."""


class _Shapes:
    """A text whose digits are all 0, and one whose hexadecimal digits are all a: what cannot be in these is not looked for."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.digits = text.encode("utf-8", "surrogatepass").translate(_TO_DIGITS)
        self.hexadecimal = self.digits.translate(_TO_HEXADECIMAL)


def _any_of(shapes: Iterable[bytes]) -> Callable[[bytes], bool]:
    listed = tuple(shapes)
    return lambda text: any(shape in text for shape in listed)


_TO_DIGITS = bytes.maketrans(b"123456789", b"0" * 9)
_TO_HEXADECIMAL = bytes.maketrans(b"0bcdefABCDEF", b"a" * 12)
# Each begins with a character that few places have; that is what makes the search short.
_ISO_DATE = re.compile(rf"-(?<={_YEAR}-)[01][0-9]-[0-3][0-9]")
_OTHER_DATES = _any_of(
    [b"0000/00/00", b"0/0/0000", b"0/00/0000"]
    + [b"0.%s%s.%s0000" % (first, month, second) for first in (b"", b" ") for month in (b"0", b"00") for second in (b"", b" ")]
)
_NAMED_DATE = re.compile(rf"(?:{_MONTHS})[.,]{{0,2}} (?:{_DAY}|{_YEAR})")
_OCTETS = _any_of((b".0.", b".00.", b".000."))
_FOUR_OCTETS = re.compile(
    r"\.(?:" + "|".join(rf"(?<=(?<![\w.-])[0-9]{{{width}}}\.)" for width in (1, 2, 3)) + r")[0-9]{1,3}\.[0-9]{1,3}\.[0-9]"
)
_GROUPS = _any_of((b":a:", b":aa:", b":aaa:", b":aaaa:"))
_EIGHT_GROUPS = re.compile(rb"(?:a{1,4}:){7}a")
_PLACES = (
    re.compile(rf"/(?:(?:{_ROOTS})/|root)"),
    re.compile(r":\\|:/(?!/)[\w.~-]"),
    re.compile(r"~[a-z0-9_-]*/[\w.-]"),
    re.compile(r"\\\\[\w.-]"),
)
_AT = re.compile(r"@(?<=[A-Za-z0-9._%+-]@)[A-Za-z0-9]")


def _may_hold_path(shapes: _Shapes) -> bool:
    return any(place.search(shapes.text) for place in _PLACES)


def _may_hold_date(shapes: _Shapes) -> bool:
    if b"0000-00-00" in shapes.digits and _ISO_DATE.search(shapes.text):
        return True
    return _OTHER_DATES(shapes.digits) or (b" 0000" in shapes.digits and _NAMED_DATE.search(shapes.text) is not None)


def _may_hold_network(shapes: _Shapes) -> bool:
    if _OCTETS(shapes.digits) and _FOUR_OCTETS.search(shapes.text):
        return True
    return b"aaaa::" in shapes.hexadecimal or (_GROUPS(shapes.hexadecimal) and _EIGHT_GROUPS.search(shapes.hexadecimal) is not None)


_POSSIBLE: dict[str, Callable[[_Shapes], bool]] = {
    "keyed id": lambda shapes: b"a" * 16 in shapes.hexadecimal,
    "absolute path": _may_hold_path,
    "e-mail address": lambda shapes: _AT.search(shapes.text) is not None,
    "date": _may_hold_date,
    "network address": _may_hold_network,
}
"""Whether a text can hold something of a kind at all; texts are long, and most hold nothing."""

# Versions of packages look like dates and addresses; works that are cited may be called like anything.
EXEMPT = {"requirements.lock": ("date", "network address")}
# What a workbook carries where others tell when they were made.
KNOWN = {"core.xml": frozenset({datetime.date(1980, 1, 1).isoformat()})}
COMMON_NAMES = frozenset(
    (
        *("root", "user", "users", "admin", "administrator", "guest", "ubuntu", "debian", "fedora", "alpine", "runner", "build", "dev"),
        *(
            "docker",
            "container",
            "jovyan",
            "rstudio",
            "vagrant",
            "localhost",
            "localdomain",
            "local",
            "home",
            "server",
            "client",
            "clients",
        ),
        *("therapist", "session", "sessions", "alliance", "study", "data", "demo", "test", "tests", "work", "research", "researcher"),
        *("project", "computer", "laptop", "desktop", "macbook", "host", "node", "default", "owner", "main", "base", "pipeline", "nobody"),
    )
)
SHORTEST_NAME = 4


@dataclass(frozen=True)
class Fault:
    """One fault: the file (a member of an archive after ``!``), its line (0: the whole file), what it is, and what was found."""

    file: str
    line: int
    kind: str
    found: str

    def __str__(self) -> str:
        return f"{self.file}{f':{self.line}' if self.line else ''}: {self.kind}: {self.found[:CHARACTERS]}"


class NoBundle(Exception):
    """The folder cannot be read as a bundle; the message says why."""


def check(folder: Path, forbidden: Iterable[str] = (), here: bool = True, each: Each = map) -> list[Fault]:
    """Return every fault of a bundle.

    Parameters
    ----------
    folder : Path
        The bundle.
    forbidden : iterable of str
        Words that may not stand in it, beside what :data:`KINDS` finds.
    here : bool
        Whether to look for names of the user and the host of this machine too.
    each : callable
        Does many jobs, as ``map`` does; a pool's ``map`` does them side by side.

    Raises
    ------
    NoBundle
        Where the folder or its manifest is missing.
    """
    folder = Path(folder)
    if not (folder / MANIFEST).is_file():
        raise NoBundle(f"holds no {MANIFEST}")
    statement = _json(folder / STATEMENT) or {}
    words = [*forbidden, *(names_of_this_machine() if here else ())]
    allowed = [str(text) for text in statement.get("not_leaks", ())]
    skipped = NOT_INTERNAL if statement.get("profile") == "internal" else ()
    checks = [functools.partial(one, folder) for one in (package_faults, link_faults, archive_faults, hash_faults, crate_faults)]
    done = list(each(_done, [*checks, *_searches(folder, words, allowed, skipped)]))
    return [fault for faults in done[: len(checks)] for fault in faults] + _once(done[len(checks) :])


def _done(job: Callable[[], list[Fault]]) -> list[Fault]:
    return job()


def _once(found: Iterable[list[Fault]]) -> list[Fault]:
    return sorted({fault for faults in found for fault in faults}, key=lambda fault: (fault.file, fault.line, fault.kind, fault.found))


def files_below(folder: Path) -> list[str]:
    """Return every file below a folder by its address, sorted; links count as files."""
    found = []
    for parent, _, names in os.walk(folder):
        found += [(Path(parent) / name).relative_to(folder).as_posix() for name in names]
    return sorted(found)


def read_manifest(text: str) -> tuple[dict[str, str], list[int]]:
    """Return the hash of every file that a manifest lists, and the lines that cannot be read."""
    listed, broken = {}, []
    for number, line in enumerate(text.splitlines(), 1):
        found = re.fullmatch(r"([0-9a-f]{64})  (\S.*)", line)
        inside = found and not PurePosixPath(found[2]).is_absolute() and ".." not in PurePosixPath(found[2]).parts
        if found and inside and found[2] not in listed:
            listed[found[2]] = found[1]
        else:
            broken.append(number)
    return listed, broken


def hash_faults(folder: Path) -> list[Fault]:
    """Return files that are missing, altered, or not in the manifest; the manifest itself and the archive are not listed in it."""
    listed, broken = read_manifest((folder / MANIFEST).read_text(encoding="utf-8", errors="replace"))
    there = set(files_below(folder))
    faults = [Fault(MANIFEST, number, "not readable", "neither a hash and a file, nor a file for the first time") for number in broken]
    for name in sorted(set(listed) | there):
        path = folder / name
        if name not in there:
            faults.append(Fault(name, 0, "missing", "the manifest lists it"))
        elif path.is_symlink() or not path.is_file():
            faults.append(Fault(name, 0, "no regular file", "a bundle holds files only"))
        elif name in listed:
            if hashlib.sha256(path.read_bytes()).hexdigest() != listed[name]:
                faults.append(Fault(name, 0, "altered", "its SHA-256 is not that of the manifest"))
        elif name != MANIFEST and not _is_archive(name):
            faults.append(Fault(name, 0, "not in the manifest", "no file of this name was published"))
    return faults


def _is_archive(name: str) -> bool:
    return name.endswith(".zip") and "/" not in name


def archive_faults(folder: Path) -> list[Fault]:
    """Return where the archive beside the files does not hold exactly these files."""
    names = files_below(folder)
    archives = [name for name in names if _is_archive(name)]
    faults = [Fault(name, 0, "second archive", "a bundle has one") for name in archives[1:]]
    for name in archives[:1]:
        try:
            with zipfile.ZipFile(folder / name) as archive:
                held = {}
                for member in archive.infolist():
                    held[member.filename.split("/", 1)[-1]] = hashlib.sha256(archive.read(member)).hexdigest()
        except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError) as error:
            faults.append(Fault(name, 0, "not readable", str(error)))
            continue
        files = {one: hashlib.sha256((folder / one).read_bytes()).hexdigest() for one in names if one != name}
        for one in sorted(set(held) | set(files)):
            if held.get(one) != files.get(one):
                told = (
                    "missing in the archive"
                    if one not in held
                    else "only in the archive"
                    if one not in files
                    else "another file than beside it"
                )
                faults.append(Fault(f"{name}!{one}", 0, "archive", told))
    return faults


def package_faults(folder: Path) -> list[Fault]:
    """Return where tables and their description differ: files, sizes, hashes, columns, cells a row."""
    package = _json(folder / PACKAGE)
    if package is None:
        return [Fault(PACKAGE, 0, "not readable", "missing or no JSON")]
    faults, described = [], set()
    for resource in package.get("resources", []):
        name = str(resource.get("path", ""))
        described.add(name)
        path = folder / name
        if not _inside(name) or not path.is_file():
            faults.append(Fault(PACKAGE, 0, "missing table", name))
            continue
        content = path.read_bytes()
        if resource.get("bytes") not in (None, len(content)):
            faults.append(Fault(name, 0, "size", f"{len(content)} bytes; {PACKAGE} says {resource['bytes']}"))
        if resource.get("hash", "").startswith("sha256:") and resource["hash"][7:] != hashlib.sha256(content).hexdigest():
            faults.append(Fault(name, 0, "hash", f"not the one in {PACKAGE}"))
        fields = [field.get("name") for field in resource.get("schema", {}).get("fields", [])]
        rows = csv.reader(io.StringIO(content.decode("utf-8", "replace"), newline=""))
        header = next(rows, [])
        if header != fields:
            odd = sorted(set(header) ^ set(map(str, fields))) or "their order"
            faults.append(Fault(name, 1, "columns", f"not those of {PACKAGE}: {odd}"))
        faults += [Fault(name, rows.line_num, "cells", f"{len(row)} for {len(header)} columns") for row in rows if len(row) != len(header)][
            :1
        ]
    there = {name for name in files_below(folder) if name.startswith("tables/")}
    return faults + [Fault(name, 0, "not described", f"a table that {PACKAGE} does not list") for name in sorted(there - described)]


def crate_faults(folder: Path) -> list[Fault]:
    """Return what the research object lists and the bundle lacks."""
    crate = _json(folder / CRATE)
    if crate is None:
        return [Fault(CRATE, 0, "not readable", "missing or no JSON")]
    listed = [one["@id"] for one in crate.get("@graph", []) if "File" in _listed(one.get("@type")) and not urlsplit(one["@id"]).scheme]
    return [Fault(CRATE, 0, "missing file", name) for name in listed if not (_inside(unquote(name)) and (folder / unquote(name)).is_file())]


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _inside(name: str) -> bool:
    return bool(name) and not PurePosixPath(name).is_absolute() and ".." not in PurePosixPath(name).parts


def _json(path: Path) -> dict | None:
    def refuse(text: str) -> None:
        raise ValueError(f"{text} is no JSON")

    try:
        found = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


class _Page(HTMLParser):
    """Addresses and anchors of a page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.addresses: list[tuple[int, str, str]] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name in ("id", "name") and value:
                self.anchors.add(value)
            if name in ("href", "src", "action", "data", "poster") and value is not None:
                self.addresses.append((self.getpos()[0], tag, value.strip()))
            elif name == "srcset" and value:
                self.addresses += [(self.getpos()[0], tag, part.split()[0]) for part in value.split(", ") if part.split()]


def link_faults(folder: Path) -> list[Fault]:
    """Return links of pages that lead nowhere or out of the bundle; addresses on the web may be followed, not loaded."""
    pages = {}
    for name in files_below(folder):
        if name.endswith((".html", ".htm")):
            pages[name] = _Page()
            pages[name].feed((folder / name).read_text(encoding="utf-8", errors="replace"))
    faults = []
    for name, page in pages.items():
        for line, tag, address in page.addresses:
            parts = urlsplit(address)
            if parts.scheme in ("http", "https", "mailto") or parts.netloc:
                if tag != "a":
                    faults.append(Fault(name, line, "loaded from elsewhere", address))
                continue
            if parts.scheme:
                if parts.scheme != "data":
                    faults.append(Fault(name, line, "link", address))
                continue
            target = os.path.normpath(os.path.join(os.path.dirname(name), unquote(parts.path))) if parts.path else name
            target = f"{target}/index.html" if parts.path.endswith("/") else target
            if target.startswith(("..", "/")) or not (folder / target).is_file():
                faults.append(Fault(name, line, "broken link", address))
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                faults.append(Fault(name, line, "broken anchor", address))
    return faults


def names_of_this_machine() -> list[str]:
    """Return the names of this user and this host, without those that many machines have."""
    found = {os.environ.get(name, "") for name in ("USER", "LOGNAME", "USERNAME", "HOSTNAME", "COMPUTERNAME")}
    found |= {Path.home().name, platform.node(), socket.gethostname(), platform.node().split(".")[0], socket.gethostname().split(".")[0]}
    with contextlib.suppress(OSError, KeyError, ImportError):
        found.add(getpass.getuser())
    return sorted(name for name in found if len(name) >= SHORTEST_NAME and name.lower() not in COMMON_NAMES and not name.isdigit())


def _searches(folder: Path, words: Iterable[str], allowed: Iterable[str], skipped: Iterable[str]) -> list[Callable[[], list[Fault]]]:
    """Return a search for each file, the largest first: places that tell of a person, a machine or a day.

    Parameters
    ----------
    folder : Path
    words : iterable of str
        Names that may not stand anywhere as whole words.
    allowed : iterable of str
        What may stand although it looks like a leak, such as the day of the version.
    skipped : iterable of str
        Kinds that are not looked for.
    """
    search = _Search(
        {kind: pattern for kind, pattern in KINDS.items() if kind not in set(skipped)},
        tuple(sorted({word for word in words if word}, key=lambda word: (-len(word), word))),
        frozenset(allowed),
    )
    names = sorted(files_below(folder), key=lambda name: -os.lstat(folder / name).st_size)
    return [functools.partial(_leaks_of, folder, search, name) for name in names]


def _leaks_of(folder: Path, search: _Search, name: str) -> list[Fault]:
    """Return what one file of a bundle tells, its name included."""
    path = folder / name
    faults = search.faults(name, name, 0)
    if path.is_file() and not path.is_symlink():
        # What the archive of the bundle holds again is told once.
        beside = folder if _is_archive(name) else None
        for place, line, text in texts(name, path.read_bytes(), beside):
            faults += search.faults(place, text, line)
    return faults


@dataclass(frozen=True)
class _Search:
    """What is looked for: patterns by kind, names as whole words, and what is no leak."""

    patterns: dict[str, re.Pattern[str]]
    names: tuple[str, ...]
    allowed: frozenset[str]

    @functools.cached_property
    def whole_names(self) -> re.Pattern[str]:
        """Any of the names, the longest first."""
        return re.compile(r"(?<![\w-])(?:" + "|".join(re.escape(name) for name in self.names) + r")(?![\w-])")

    def faults(self, place: str, text: str, line: int) -> list[Fault]:
        """Return what a text that begins at a line tells; line 0: it has no lines."""
        name = PurePosixPath(place.split("!")[-1]).name
        exempt, known = EXEMPT.get(name, ()), self.allowed | KNOWN.get(name, frozenset())
        shapes = _Shapes(text)
        possible = {
            kind: pattern
            for kind, pattern in self.patterns.items()
            if kind not in exempt and (kind not in _POSSIBLE or _POSSIBLE[kind](shapes))
        }
        if any(name in text for name in self.names):
            possible["name"] = self.whole_names
        found = [(kind, one) for kind, pattern in possible.items() for one in pattern.finditer(text) if one.group() not in known]
        return [Fault(place, line + text.count("\n", 0, one.start()) if line else 0, kind, one.group()) for kind, one in found]


def texts(name: str, content: bytes, beside: Path | None = None) -> Iterator[tuple[str, int, str]]:
    """Yield the texts of a file with place and first line: as it stands, and what is packed, encoded or escaped in it.

    Of an archive's members those that stand in the folder ``beside`` too are passed over.
    """
    if content[:4] == b"PK\x03\x04":
        yield from _texts_of_archive(name, content, beside)
        return
    if content[:2] == b"\x1f\x8b":
        unpacked = _inflated(content, 31)
        if unpacked is not None:
            yield from texts(f"{name}!content", unpacked)
        return
    if content[:8] == b"\x89PNG\r\n\x1a\n":
        yield from _texts_of_png(name, content)
        return
    if b"\x00" in content[:1000] and content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = content.decode("utf-16", "replace")
    else:
        text = content.decode("utf-8", "replace")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "!xl/worksheets/" in name:
        text = _NUMBER_IN_A_CELL.sub("", text)
    yield name, 1, text
    for variant in _variants(text):
        yield name, 1, variant
    for found in re.finditer(r"data:[\w.+/-]*(?:;[\w=.-]+)*;base64,([A-Za-z0-9+/=%\s]+)", text):
        try:
            packed = base64.b64decode(unquote(found[1]), validate=False)
        except (binascii.Error, ValueError):
            continue
        line = 1 + text.count("\n", 0, found.start())
        for place, _, inner in texts(name, packed):
            yield place, line, inner.replace("\n", " ")


def _variants(text: str) -> Iterator[str]:
    """Yield a text as it is read where addresses, pages or JSON escape it; lines stay where they are."""
    variant = text
    if "%" in variant:
        variant = re.sub(r"%[0-9A-Fa-f]{2}(?:%[0-9A-Fa-f]{2})*", lambda found: _unquoted(found.group()), variant)
    if "\\u" in variant or "\\/" in variant:
        variant = re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), variant).replace("\\/", "/")
    if "&" in variant:
        variant = "\n".join(html.unescape(line).replace("\n", " ") for line in variant.split("\n"))
    if variant != text:
        yield variant


@functools.lru_cache(maxsize=10_000)
def _unquoted(escaped: str) -> str:
    return unquote(escaped, errors="replace").replace("\n", " ")


def _texts_of_archive(name: str, content: bytes, beside: Path | None) -> Iterator[tuple[str, int, str]]:
    unpacked = 0
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            yield name, 0, archive.comment.decode("utf-8", "replace")
            for member in archive.infolist():
                unpacked += member.file_size
                if unpacked > MOST_UNPACKED:
                    raise NoBundle(f"{name} unpacks to more than {MOST_UNPACKED} bytes")
                place = f"{name}!{member.filename}"
                yield name, 0, member.filename
                yield place, 0, member.comment.decode("utf-8", "replace")
                if beside is None or not (beside / member.filename.split("/", 1)[-1]).is_file():
                    yield from texts(place, archive.read(member))
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError):
        yield name, 0, content.decode("latin-1")


def _texts_of_png(name: str, content: bytes) -> Iterator[tuple[str, int, str]]:
    """Yield what a picture says beside its points."""
    position = 8
    while position + 8 <= len(content):
        length = int.from_bytes(content[position : position + 4], "big")
        kind, body = content[position + 4 : position + 8], content[position + 8 : position + 8 + length]
        position += 12 + length
        if kind in (b"tEXt", b"iTXt", b"zTXt", b"eXIf"):
            for start in range(len(body)) if kind in (b"zTXt", b"iTXt") else ():
                if body[start : start + 1] == b"\x78" and (found := _inflated(body[start:], 15)) is not None:
                    yield name, 0, found.decode("utf-8", "replace")
                    break
            yield name, 0, body.replace(b"\x00", b" ").decode("utf-8", "replace")
        elif kind == b"tIME" and length == 7:
            year = int.from_bytes(body[:2], "big")
            yield name, 0, f"{year:04d}-{body[2]:02d}-{body[3]:02d}"
    yield name, 0, content[position:].decode("utf-8", "replace")


def _inflated(content: bytes, window: int) -> bytes | None:
    try:
        return zlib.decompressobj(window).decompress(content, MOST_UNPACKED)
    except zlib.error:
        return None


def main(given: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the bundle's folder, where manifest-sha256.txt stands")
    parser.add_argument("--forbid", action="append", default=[], metavar="WORD", help="a further word that may not stand in it")
    chosen = parser.parse_args(given)
    return report(chosen.folder, chosen.forbid)


def report(folder: Path, forbidden: Iterable[str] = ()) -> int:
    """Print every fault of a bundle and return the exit status."""
    try:
        faults = check(folder, forbidden)
    except (NoBundle, OSError) as reason:
        print(f"{folder} is no published bundle: {reason}")
        return UNREADABLE
    show(faults)
    if not faults:
        print(f"{len(files_below(folder))} files: hashes, archive, tables, links and the search for leaks are in order")
    return FAULTY if faults else OK


def show(faults: list[Fault]) -> None:
    """Print faults, one a line, and how many more there are."""
    for fault in faults[:SHOWN]:
        print(fault)
    if len(faults) > SHOWN:
        print(f"... and {len(faults) - SHOWN} more")


if __name__ == "__main__":
    sys.exit(main())
