"""The site summary: what one site contributes to one question, without rows of clients; its files, written and read strictly."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from alliance import files
from alliance.questions.contract import COUNT, DRAWS, MOMENTS, STATUSES, TEXT, VCOV, WITH_NUMBERS, array_of, estimates_schema, typed

SCHEMA_VERSION = 1
LARGEST_BYTES = 20_000_000
LARGEST_COUNT = 2**53
SUMMARY_STATUSES = ("ok", "excluded", "missing")
COUNTED = ("clients", "therapists", "sessions")
_TEXT_KEYS = ("site", "label", "question", "status", "reason", "options_digest", "code_digest", "instruments_digest", "self_digest")
_KEYS = {"schema_version", *_TEXT_KEYS, "n", "facts"}
_IDENTITY = {
    "moments": ["block", "level", "var1", "var2"],
    "estimates": ["model", "parameter"],
    "vcov": ["model", "parameter1", "parameter2"],
    "draws": ["model", "parameter", "draw"],
}


class SummaryError(ValueError):
    """A summary cannot be used. ``faults`` lists every reason in plain words, each as ``(file, message)``."""

    def __init__(self, faults: list[tuple[str, str]]) -> None:
        self.faults = faults
        super().__init__("; ".join(f"{file}: {message}" for file, message in faults))


def _schemas(question: str) -> dict[str, dict[str, str]]:
    return {"moments": MOMENTS, "estimates": estimates_schema(question), "vcov": VCOV, "draws": DRAWS}


@dataclass
class SiteSummary:
    """One site's part of one question: counts, moments, estimates and their covariance.

    Parameters
    ----------
    site, label, question : str
        Site id, its name for reports, and the question module's name.
    status : str
        ``ok``, ``excluded`` (the site was left out) or ``missing`` (the site sent no answer to these options).
    reason : str
        Why the site is excluded or missing, in words.
    facts : dict
        Plain values (text, numbers, true/false, null) about the site and the run that reports show.
    n : dict
        ``clients``, ``therapists``, ``sessions``: counts or None where unknown.
    moments, estimates, vcov, draws : DataFrame
        Columns as in :mod:`alliance.questions.contract`; missing columns are added empty, order and types are set.
        ``vcov`` holds the covariance of the estimates as they stand (of r, not of Fisher's z).
    options_digest, code_digest, instruments_digest : str
        What the summary answers and with what it was made.
    """

    site: str
    question: str
    label: str = ""
    status: str = "ok"
    reason: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    n: dict[str, int | None] = field(default_factory=dict)
    moments: pd.DataFrame = field(default_factory=pd.DataFrame)
    estimates: pd.DataFrame = field(default_factory=pd.DataFrame)
    vcov: pd.DataFrame = field(default_factory=pd.DataFrame)
    draws: pd.DataFrame = field(default_factory=pd.DataFrame)
    options_digest: str = ""
    code_digest: str = ""
    instruments_digest: str = ""

    def __post_init__(self) -> None:
        self.n = {name: None if self.n.get(name) is None else int(self.n[name]) for name in COUNTED}
        for name, schema in _schemas(self.question).items():
            frame = getattr(self, name)
            unknown = sorted(set(frame.columns) - set(schema))
            if unknown:
                raise SummaryError([(f"{name}.csv", f"unknown columns {', '.join(unknown)}")])
            setattr(self, name, typed(frame, schema))
        self.estimates["question"] = array_of([self.question] * len(self.estimates), TEXT)

    def write(self, folder: Path) -> None:
        """Write ``summary.json``, ``moments.csv``, ``estimates.csv``, ``vcov.csv`` and ``draws.csv``.

        Numbers carry 17 significant digits, so that reading gives the same numbers back. ``self_digest`` covers all other content.
        Raises :class:`SummaryError` where the content breaks the schema.
        """
        folder = Path(folder)
        texts = {name: _to_csv(getattr(self, name)) for name in _schemas(self.question)}
        record = self._record()
        record["self_digest"] = _self_digest(record, texts)
        faults = _faults(self)
        if faults:
            raise SummaryError(faults)
        for name, text in texts.items():
            files.write_text(folder / f"{name}.csv", text)
        files.write_json(folder / "summary.json", record)

    def _record(self) -> dict[str, Any]:
        record: dict[str, Any] = {name: getattr(self, name) for name in _TEXT_KEYS if name != "self_digest"}
        return {**record, "schema_version": SCHEMA_VERSION, "n": self.n, "facts": self.facts}

    @classmethod
    def read(cls, folder: Path) -> SiteSummary:
        """Read a summary and check it strictly; ``draws.csv`` may be absent where there are no draws.

        Raises
        ------
        SummaryError
            With every fault found: unreadable or oversized files, unknown or missing keys and columns, cells that are no numbers,
            infinite numbers, unknown statuses, repeated keys, or content that does not match ``self_digest``.
        """
        folder = Path(folder)
        record, faults = _read_record(folder / "summary.json")
        if faults:
            raise SummaryError(faults)
        schemas = _schemas(record["question"])
        frames: dict[str, pd.DataFrame] = {}
        texts: dict[str, str] = {}
        for name, schema in schemas.items():
            path = folder / f"{name}.csv"
            if name == "draws" and not path.exists():
                texts[name] = _to_csv(typed(pd.DataFrame(), schema))
                continue
            frame, text, found = _read_table(path, schema)
            faults += found
            frames[name], texts[name] = frame, text
        if faults:
            raise SummaryError(faults)
        if record["self_digest"] != _self_digest({k: v for k, v in record.items() if k != "self_digest"}, texts):
            raise SummaryError(
                [
                    (
                        "summary.json",
                        "the files were changed after they were written (self_digest differs); send them again as written",
                    )
                ]
            )
        summary = cls(**{k: v for k, v in record.items() if k not in ("schema_version", "self_digest")}, **frames)
        faults = _faults(summary)
        if faults:
            raise SummaryError(faults)
        return summary


def _self_digest(record: dict[str, Any], texts: dict[str, str]) -> str:
    content = files.canonical_json([record, {name: texts[name] for name in sorted(texts)}])
    return hashlib.sha256(content.encode("utf-8")).hexdigest()


def _to_csv(frame: pd.DataFrame) -> str:
    text = io.StringIO()
    files.write_rows(text, frame)
    return text.getvalue()


def _read_text(path: Path) -> tuple[str, list[tuple[str, str]]]:
    if not path.is_file() or path.is_symlink():
        return "", [(path.name, "the file is missing")]
    if path.stat().st_size > LARGEST_BYTES:
        return "", [(path.name, f"the file is larger than {LARGEST_BYTES // 1_000_000} MB")]
    try:
        return path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n"), []
    except UnicodeDecodeError:
        return "", [(path.name, "the file is not UTF-8 text")]


def _read_record(path: Path) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    text, faults = _read_text(path)
    if faults:
        return {}, faults
    try:
        record = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        return {}, [(path.name, "the file is not valid JSON")]
    if not isinstance(record, dict):
        return {}, [(path.name, "the file does not hold an object")]
    if record.get("schema_version") != SCHEMA_VERSION:
        return {}, [
            (path.name, f"schema_version is {record.get('schema_version')!r}, this version reads {SCHEMA_VERSION}; use the same release")
        ]
    for key in sorted(_KEYS - set(record)):
        faults.append((path.name, f"key {key} is missing"))
    for key in sorted(set(record) - _KEYS):
        faults.append((path.name, f"unknown key {key}"))
    for key in _TEXT_KEYS:
        if key in record and not isinstance(record[key], str):
            faults.append((path.name, f"{key} is not text"))
    if not isinstance(record.get("facts"), dict):
        faults.append((path.name, "facts is not an object"))
    counts = record.get("n")
    if not isinstance(counts, dict) or set(counts) != set(COUNTED) or not all(_is_count(value) for value in counts.values()):
        faults.append((path.name, f"n must give {', '.join(COUNTED)} as whole numbers or null"))
    return record, faults


def _is_count(value: Any) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0)


def _read_table(path: Path, schema: dict[str, str]) -> tuple[pd.DataFrame, str, list[tuple[str, str]]]:
    text, faults = _read_text(path)
    if faults:
        return pd.DataFrame(), text, faults
    try:
        rows = list(csv.reader(io.StringIO(text), strict=True))
    except csv.Error:
        return pd.DataFrame(), text, [(path.name, "the file is not valid CSV")]
    header = rows[0] if rows else []
    if header != list(schema):
        missing = [name for name in schema if name not in header]
        unknown = [name for name in header if name not in schema]
        detail = "; ".join(
            part for part in (missing and f"missing {', '.join(missing)}", unknown and f"unknown {', '.join(unknown)}") if part
        )
        return pd.DataFrame(), text, [(path.name, f"the columns are not those of the summary format ({detail or 'another order'})")]
    ragged = [number for number, row in enumerate(rows[1:], start=2) if len(row) != len(schema)]
    if ragged:
        return pd.DataFrame(), text, [(path.name, f"row {ragged[0]} has another number of cells than the header")]
    columns = {}
    by_column = list(zip(*rows[1:])) or [()] * len(schema)
    for cells, (name, kind) in zip(by_column, schema.items()):
        found, bad = (cells, None) if kind == TEXT else _numbers(cells, kind)
        if bad is None:
            columns[name] = array_of(found, kind)
        else:
            faults.append((path.name, f"row {bad + 2}, column {name}: not a {'whole' if kind == COUNT else 'finite'} number"))
    return (pd.DataFrame(columns) if not faults else pd.DataFrame()), text, faults


def _numbers(cells: Sequence[str], kind: str) -> tuple[list[Any], int | None]:
    """Return numbers, None for empty cells, and the position of the first cell that is no allowed number."""
    try:
        # Long tables as a whole; cell by cell only where one is empty or to find the one at fault.
        whole = list(map(int if kind == COUNT else float, cells))
    except ValueError:
        whole = []
    if whole and not any("_" in cell for cell in cells):
        low, high = min(whole), max(whole)
        if (low >= 0 and high <= LARGEST_COUNT) if kind == COUNT else all(map(math.isfinite, whole)):
            return whole, None
    numbers: list[Any] = []
    for position, cell in enumerate(cells):
        if cell == "":
            numbers.append(None)
            continue
        try:
            number = int(cell) if kind == COUNT else float(cell)
        except ValueError:
            return [], position
        if "_" in cell or not math.isfinite(number) or (kind == COUNT and not 0 <= number <= LARGEST_COUNT):
            return [], position
        numbers.append(number)
    return numbers, None


def _faults(summary: SiteSummary) -> list[tuple[str, str]]:
    found = []
    if summary.status not in SUMMARY_STATUSES:
        found.append(("summary.json", f"status is {summary.status!r}; allowed: {', '.join(SUMMARY_STATUSES)}"))
    if summary.status != "ok" and not summary.reason:
        found.append(("summary.json", f"status is {summary.status} but no reason is given"))
    for name, identity in _IDENTITY.items():
        frame = getattr(summary, name)
        if frame.duplicated(identity).any():
            found.append((f"{name}.csv", f"rows that agree in {', '.join(identity)}"))
        numbers = frame.select_dtypes("float64").to_numpy()
        if not (pd.isna(numbers) | (abs(numbers) < math.inf)).all():
            found.append((f"{name}.csv", "infinite numbers"))
    estimates = summary.estimates
    odd = sorted(set(estimates["status"]) - set(STATUSES))
    if odd:
        found.append(("estimates.csv", f"status holds {', '.join(map(repr, odd))}; allowed: {', '.join(STATUSES)}"))
    has_number = estimates["status"].isin(WITH_NUMBERS)
    if (has_number & estimates["estimate"].isna()).any():
        found.append(("estimates.csv", "rows that are estimated lack the estimate"))
    if (~has_number & estimates["estimate"].notna()).any():
        found.append(("estimates.csv", "rows that are not estimable or withheld carry an estimate"))
    if estimates["estimate_type"].eq("correlation").mul(estimates["estimate"].abs() > 1).any():
        found.append(("estimates.csv", "correlations beyond -1 or 1"))
    variances = summary.vcov.loc[summary.vcov["parameter1"] == summary.vcov["parameter2"], "cov"]
    if (variances < 0).any():
        found.append(("vcov.csv", "variances below zero"))
    return found
