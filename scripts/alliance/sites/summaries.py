"""Sites that keep their rows and send a summary: strict reading, checks, and what the pipeline takes over.

A site sends either what ``estimate`` wrote at the site (kept byte for byte) or a matrix and effect sizes published elsewhere.
Nothing in such a folder is trusted: every file is measured against a closed schema before a number of it is used.
"""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import json
import math
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from alliance.files import digest, replacing, sha256, write_csv
from alliance.issues import Issue, Severity, shown
from alliance.questions import contract
from alliance.questions.summary import SiteSummary, SummaryError

LARGEST_BYTES = 20_000_000
LARGEST_HEADER_BYTES = 1_000_000
DEEPEST_FOLDER = 4
DEEPEST_JSON = 12
LONGEST_LIST = 50
LONGEST_TEXT = 500
FEWEST_CLIENTS = 3
FEWEST_DRAWS = 100
MOST_SUMMARIES = 500
FILES = ("summary.json", "moments.csv", "estimates.csv", "vcov.csv", "draws.csv")
MOMENTS = tuple(contract.MOMENTS)
EFFECTS = tuple(contract.PUBLISHED_EFFECTS)
NUMBERS = ("mean1", "mean2", "cov", "estimate", "value", "ci_low", "ci_high", "share_missing")
CLIENT_LEVELS = ("client", "between", "")
CORRELATION_QUESTIONS = ("convergent_validity", "client_factors")
ROW_KEYS = frozenset(
    {
        "client",
        "client_id",
        "client_no",
        "id",
        "patient",
        "patient_id",
        "participant",
        "therapist_id",
        "therapist_no",
        "date",
        "name",
        "row",
    }
)
JUNK = re.compile(r"\.DS_Store|Thumbs\.db|desktop\.ini|~\$.*|\._.*|.*\.md|README.*", re.IGNORECASE)
RELATIVE_TOLERANCE = 1e-8

Ranges = Callable[[str], list[tuple[float, float]]]
History = Mapping[str, list[dict[str, Any]]]
_NAME = r"^[a-z][a-z0-9_]{0,63}$"
_DIGEST = r"^[0-9a-f]{12,64}$"
_Count = Annotated[int, Field(ge=0, strict=True)]


class Counts(BaseModel):
    """Numbers of clients, therapists and sessions a summary rests on."""

    model_config = ConfigDict(extra="forbid")
    clients: _Count | None
    therapists: _Count | None
    sessions: _Count | None


class Header(BaseModel):
    """``summary.json``; anything else in it is refused."""

    model_config = ConfigDict(extra="forbid")
    schema_version: Literal[1]
    site: str = Field(max_length=64)
    label: str = Field(max_length=200)
    question: str = Field(pattern=_NAME)
    status: Literal["ok", "excluded", "missing"]
    reason: str = Field(max_length=2000)
    options_digest: str = Field(pattern=_DIGEST)
    code_digest: str = Field(pattern=r"^[0-9a-f]{0,64}$")
    instruments_digest: str = Field(pattern=r"^[0-9a-f]{0,64}$")
    n: Counts
    facts: dict[str, JsonValue]
    self_digest: str = Field(pattern=_DIGEST)


@dataclass(frozen=True)
class AcceptedSummary:
    """A pipeline summary that passed every check.

    Parameters
    ----------
    question, options_digest : str
        What it answers.
    files : dict of str to bytes
        Content of its files as sent.
    """

    question: str
    options_digest: str
    files: Mapping[str, bytes]


@dataclass(frozen=True)
class SummaryDelivery:
    """What a summary site delivered, after all checks.

    Parameters
    ----------
    summaries : tuple of AcceptedSummary
        Empty for an excluded site.
    published_moments, published_effects : DataFrame or None
        Columns :data:`MOMENTS` and :data:`EFFECTS`; ``method`` (``correlation`` or ``covariance``) says what ``cov`` holds.
    issues : list of Issue
        All faults, found in one pass.
    status : dict
        Content of ``status.json``.
    history : dict
        Size and digest of the last two different deliveries by ``<question>/<options digest>``; to be kept in ``results/private/`` and
        given to the next run.
    """

    summaries: tuple[AcceptedSummary, ...] = ()
    published_moments: pd.DataFrame | None = None
    published_effects: pd.DataFrame | None = None
    issues: list[Issue] = field(default_factory=list)
    status: dict[str, Any] = field(default_factory=dict)
    history: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


class _Faults:
    def __init__(self, site: str):
        self.site = site
        self.issues: list[Issue] = []

    def add(self, code: str, message: str, fix: str, severity: Severity = Severity.SITE, **place: Any) -> None:
        self.issues.append(Issue(code=code, severity=severity, message=message, fix=fix, site=self.site, **place))

    @property
    def fatal(self) -> bool:
        return any(issue.severity in (Severity.SITE, Severity.RUN) for issue in self.issues)


def clean_summary_site(
    folder: Path,
    site: str,
    site_file: Any,
    registry: Mapping[str, Any],
    *,
    instruments_digest: str | None = None,
    history: History | None = None,
) -> SummaryDelivery:
    """Check what a summary site sent and return what may be used of it.

    Parameters
    ----------
    folder : Path
        The site's folder.
    site : str
        The site's id (the folder's name).
    site_file : object
        Validated ``site.yaml``; ``label``, ``matrix`` (``file``, ``scale``), ``effects`` (``file``), ``checksums`` and the free facts
        (``country``, ...) are read.
    registry : mapping of str to Instrument
        For the possible range of variables named ``<instrument>.<scale>`` or ``<instrument>.<scale>.<rater>``.
    instruments_digest : str, optional
        Fingerprint of the hub's instruments; summaries scored with others are refused. None: not compared.
    history : mapping, optional
        ``SummaryDelivery.history`` of the run before, for the comparison of deliveries.

    Returns
    -------
    SummaryDelivery
        Never raises for what the site sent.
    """
    faults = _Faults(site)
    files: list[dict[str, Any]] = []
    matrix, effects = _get(site_file, "matrix"), _get(site_file, "effects")
    summaries: list[AcceptedSummary] = []
    moments = published = None
    kept: dict[str, list[dict[str, Any]]] = {}
    ranges = registry_ranges(registry)
    counts = {"clients": 0, "therapists": 0, "sessions": 0, "ratings": 0}
    if matrix is None and effects is None:
        named = _get(site_file, "summaries") or []
        named = [named] if isinstance(named, str) else list(named)
        summaries, counts = _pipeline_summaries(Path(folder), site, named, faults, files, ranges, instruments_digest, counts)
        kept = _compare_deliveries(summaries, history or {}, faults)
    if matrix is not None:
        moments = _published_matrix(Path(folder), _get(matrix, "file"), _get(matrix, "scale") or "correlation", faults, files, ranges)
        if moments is not None and moments["n"].notna().any():
            counts["clients"] = int(moments["n"].max())
    if effects is not None:
        published = _published_effects(Path(folder), _get(effects, "file"), faults, files)
        if published is not None and published["n"].notna().any():
            counts["clients"] = max(counts["clients"], int(published["n"].max()))
    _check_checksums(_get(site_file, "checksums") or {}, files, faults)
    status = _status(site, site_file, faults, files, counts)
    if faults.fatal:
        return SummaryDelivery(issues=faults.issues, status=status, history=dict(history or {}))
    return SummaryDelivery(tuple(summaries), moments, published, faults.issues, status, kept)


def write_delivery(delivery: SummaryDelivery, folder: Path) -> None:
    """Write the accepted files of a delivery below ``results/sites/<site>/``; the caller writes issues and status.

    Summaries keep their bytes. Published frames are written as ``published_moments.csv`` and ``published_effects.csv``. Files of an earlier
    delivery are removed first, so that an empty delivery (an excluded site, a site that sends rows now) leaves none.
    """
    folder = Path(folder)
    shutil.rmtree(folder / "summaries", ignore_errors=True)
    for name in ("published_moments.csv", "published_effects.csv"):
        (folder / name).unlink(missing_ok=True)
    for summary in delivery.summaries:
        for name, content in summary.files.items():
            with replacing(folder / "summaries" / summary.question / summary.options_digest / name) as temporary:
                temporary.write_bytes(content)
    if delivery.published_moments is not None:
        write_csv(folder / "published_moments.csv", delivery.published_moments)
    if delivery.published_effects is not None:
        write_csv(folder / "published_effects.csv", delivery.published_effects)


def accepted_summary(folder: Path, question: str, options_digest: str) -> Path | None:
    """Return the folder of a site's own summary for a question and its options below ``results/sites/<site>/``; None where it sent none."""
    path = Path(folder) / "summaries" / question / options_digest
    return path if (path / "summary.json").is_file() else None


def instruments_digest(paths: Iterable[Path]) -> str:
    """Return the fingerprint of instrument files, all of a study's in the order of their keys, shipped before its own."""
    return digest([[Path(path).name, sha256(Path(path))] for path in paths])


def registry_ranges(registry: Mapping[str, Any]) -> Ranges:
    """Return a function that gives the possible ranges of a variable: as mean or sum of items, also turned; [] where unknown."""

    def ranges(variable: str) -> list[tuple[float, float]]:
        key, _, rest = variable.partition(".")
        scale = rest.partition(".")[0]
        instrument = registry.get(key)
        if instrument is None or scale not in instrument.composites or instrument.response_from_site:
            return []
        found = [instrument.possible_range(scale, unit) for unit in ("headline", "mean", "sum")]
        known = list(dict.fromkeys(limits for limits in found if limits is not None))
        return [*known, *((-high, -low) for low, high in known)]

    return ranges


def disclosive_cells(moments: pd.DataFrame, smallest: int) -> pd.DataFrame:
    """Find groups of clients that a table of moments gives away because they are small.

    The moments of a variable with two adjacent whole values hold the size of both groups, and those of two such variables the size
    of all four cells (``x'y = (n - 1) cov + n mean1 mean2``). A variable has two adjacent whole values exactly where its variance is
    the smallest one that whole numbers of that mean can have.

    Parameters
    ----------
    moments : DataFrame
        Columns :data:`MOMENTS`; variances stand where ``var1 == var2``.
    smallest : int
        Cells with 1 to ``smallest - 1`` clients are disclosive.

    Returns
    -------
    DataFrame
        ``block, var1, value1, var2, value2, n`` (clients in the cell), sorted; empty where nothing is given away.
    """
    cells: list[tuple[str, str, float, str, float, int]] = []
    for (block, level), group in moments.groupby(["block", "level"], sort=True):
        if level not in CLIENT_LEVELS:
            continue
        dummies: dict[str, tuple[float, float, int]] = {}
        for row in group.loc[group["var1"] == group["var2"]].itertuples():
            if pd.isna(row.n) or row.n < 2 or not (math.isfinite(row.mean1) and math.isfinite(row.cov)):
                continue
            low = math.floor(row.mean1)
            share = row.mean1 - low
            if share > 1e-9 and abs(row.cov - row.n / (row.n - 1) * share * (1 - share)) <= 1e-7:
                dummies[row.var1] = (low, share, int(row.n))
                for value, part in ((low, 1 - share), (low + 1, share)):
                    cells.append((block, row.var1, float(value), "", math.nan, round(part * row.n)))
        for row in group.loc[group["var1"] != group["var2"]].itertuples():
            if row.var1 not in dummies or row.var2 not in dummies or pd.isna(row.n) or not math.isfinite(row.cov):
                continue
            first, second = row.mean1 - dummies[row.var1][0], row.mean2 - dummies[row.var2][0]
            both = row.cov * (row.n - 1) / row.n + first * second
            for one, two, part in ((1, 1, both), (1, 0, first - both), (0, 1, second - both), (0, 0, 1 - first - second + both)):
                values = (dummies[row.var1][0] + one, dummies[row.var2][0] + two)
                cells.append((block, row.var1, float(values[0]), row.var2, float(values[1]), round(part * row.n)))
    found = sorted(cell for cell in cells if 0 < cell[-1] < smallest)
    return pd.DataFrame(found, columns=["block", "var1", "value1", "var2", "value2", "n"])


def _get(holder: Any, name: str) -> Any:
    return holder.get(name) if isinstance(holder, Mapping) else getattr(holder, name, None)


def _status(site: str, site_file: Any, faults: _Faults, files: list[dict[str, Any]], counts: dict[str, int]) -> dict[str, Any]:
    fatal = [issue.message for issue in faults.issues if issue.severity in (Severity.SITE, Severity.RUN)]
    if fatal:
        files = [{**record, "rows_used": 0, "rows_excluded_by_rule": record["rows_in"]} for record in files]
    warned = any(issue.severity is Severity.WARN for issue in faults.issues)
    names = ("country", "language", "setting", "design", "treatment_format", "treatment_menu", "contact")
    facts = {name: _get(site_file, name) for name in names}
    return {
        "site": site,
        "label": _get(site_file, "label") or site,
        "data": "summary",
        "status": "excluded" if fatal else "warnings" if warned else "ok",
        "reasons": list(dict.fromkeys(fatal)),
        "site_facts": {name: value for name, value in facts.items() if value is not None},
        "files": sorted(files, key=lambda record: record["file"]),
        "counts": dict.fromkeys(counts, 0) if fatal else counts,
        "instruments": {},
        "flow": {},
    }


def _summary_files(folder: Path) -> Iterable[tuple[Path, int]]:
    """Yield every ``summary.json`` below a folder with its depth, in the order of the paths; links are not followed."""
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if "summary.json" in names:
            yield Path(root) / "summary.json", len(Path(root).relative_to(folder).parts)


def _pipeline_summaries(
    folder: Path,
    site: str,
    named: list[str],
    faults: _Faults,
    files: list[dict[str, Any]],
    ranges: Ranges,
    fingerprint: str | None,
    counts: dict[str, int],
) -> tuple[list[AcceptedSummary], dict[str, int]]:
    summaries: list[AcceptedSummary] = []
    seen: dict[tuple[str, str], str] = {}
    found = list(_summary_files(folder))
    for name in named:
        part = name.removesuffix("/summary.json")
        if not any(path.parent == folder / part or folder / part in path.parents for path, _ in found):
            faults.add(
                "F36", "site.yaml names this summary, but the folder does not hold it.", "Put it there or correct `summaries`.", file=name
            )
    if named:
        parts = [folder / name.removesuffix("/summary.json") for name in named]
        found = [(path, depth) for path, depth in found if any(part in (path.parent, *path.parents) for part in parts)]
    near = [path for path, depth in found if depth <= DEEPEST_FOLDER]
    for path, depth in found:
        if depth > DEEPEST_FOLDER:
            place = path.relative_to(folder).as_posix()
            faults.add("A07", "This summary lies too deep in the folder and is not read.", "Move it up.", Severity.WARN, file=place)
    if not near:
        faults.add(
            "F36",
            "The folder holds no summary.json and site.yaml names no matrix or effects.",
            "Put the folder that the site sent here, or name `matrix:` or `effects:` in site.yaml.",
        )
    if len(near) > MOST_SUMMARIES:
        faults.add("A07", f"The folder holds {len(near)} summaries, more than {MOST_SUMMARIES}.", "Keep the ones this study asks for.")
        return [], counts
    for path in near:
        place = path.relative_to(folder).as_posix()
        summary, header = _one_summary(path, place, site, faults, files, ranges, fingerprint)
        if header is None or summary is None:
            continue
        key = (summary.question, summary.options_digest)
        if key in seen:
            faults.add(
                "F33",
                f"This summary answers the same question with the same options as {seen[key]}.",
                "Keep the newer one and remove the other.",
                file=place,
            )
            continue
        seen[key] = place
        summaries.append(summary)
        for name in ("clients", "therapists", "sessions"):
            counts[name] = max(counts[name], getattr(header.n, name) or 0)
    return summaries, counts


def _one_summary(
    path: Path,
    place: str,
    site: str,
    faults: _Faults,
    files: list[dict[str, Any]],
    ranges: Ranges,
    fingerprint: str | None,
) -> tuple[AcceptedSummary | None, Header | None]:
    before = len(faults.issues)
    folder = place.removesuffix("summary.json")
    contents: dict[str, bytes] = {}
    total = 0
    for name in FILES:
        content = _content(path.parent / name, folder + name, faults, LARGEST_BYTES - total, optional=name == "draws.csv")
        if content is not None:
            contents[name] = content
            total += len(content)
            rows = 1 if name == "summary.json" else max(content.count(b"\n") - 1, 0)
            files.append(_file_record(folder + name, content, rows))
    for other in sorted(entry.name for entry in path.parent.iterdir() if not entry.is_dir()):
        if other not in FILES and other not in ("site.yaml", "request.json") and not JUNK.fullmatch(other):
            faults.add(
                "A07",
                "This file is no part of a summary and is not read.",
                "Remove it; if it holds rows of clients, tell the site that it was sent.",
                Severity.WARN,
                file=folder + other,
            )
    header = _header(contents["summary.json"], place, faults) if "summary.json" in contents else None
    for name in FILES[1:]:
        if name in contents:
            _check_digits(contents[name], folder + name, name == "moments.csv", faults)
    if header is None or any(issue.code == "F36" for issue in faults.issues[before:]):
        return None, header
    if header.site != site:
        faults.add(
            "A09",
            "This summary was made for another site.",
            f"Put it into that site's folder; a summary for this folder must carry the site id {site}.",
            file=place,
            value_shown=shown(header.site),
        )
    if fingerprint and header.instruments_digest != fingerprint:
        faults.add(
            "A05",
            "The summary was scored with other instrument files than this study uses.",
            "Send the site the request again (`make request SITE=...`) and ask for a new summary.",
            file=place,
            value_shown=shown(header.instruments_digest),
        )
    try:
        summary = SiteSummary.read(path.parent)
    except SummaryError as error:
        for file, message in error.faults:
            code = "A10" if "self_digest" in message else "A07" if "unknown" in message or "larger" in message else "A12"
            faults.add(code, f"{message}.", "Ask the site for the folder as the pipeline wrote it.", file=folder + file)
        return None, header
    _check_numbers(summary, folder, faults, ranges)
    if any(issue.severity is Severity.SITE for issue in faults.issues[before:]):
        return None, header
    return AcceptedSummary(header.question, header.options_digest, contents), header


def _check_digits(content: bytes, place: str, moments: bool, faults: _Faults) -> None:
    """Record numbers that lost digits: cells not written as the pipeline writes them, or covariances that all end after six decimals."""
    try:
        rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error):
        return
    seen: list[tuple[int, str, str]] = []
    covariances: list[float] = []
    for line, row in enumerate(rows, start=2):
        for name in NUMBERS:
            cell = row.get(name) or ""
            value = _number(cell)
            if math.isnan(value):
                continue
            if cell not in (format(value, ".17g"), repr(value)):
                seen.append((line, name, cell))
            size = _number(row.get("n") or "")
            if moments and name == "cov" and value != int(value) and size > 5:
                covariances.append(value)
    fix = "Ask the site for the folder as the pipeline wrote it, not opened or saved by another program."
    if seen:
        line, name, cell = seen[0]
        faults.add(
            "A08", "The number does not carry the 17 digits that the pipeline writes.", fix,
            file=place, row=line, column=name, value_shown=shown(cell), n_affected=len(seen),
        )  # fmt: skip
    elif len(covariances) >= 3 and all(value == round(value, 6) for value in covariances):
        faults.add("A08", "All covariances were rounded.", fix, file=place, column="cov", n_affected=len(covariances))


def _check_numbers(summary: SiteSummary, folder: str, faults: _Faults, ranges: Ranges) -> None:
    """Record numbers of a pipeline summary that no data can have."""
    moments = summary.moments
    _check_moments(moments, folder + "moments.csv", faults, ranges, tolerance=1e-6)
    clients, sessions = summary.n["clients"], summary.n["sessions"]
    fix = "Ask the site for a new summary."
    levels = moments["level"].isin(CLIENT_LEVELS)
    if clients is not None and (moments.loc[levels, "n"] > clients).any():
        worst = int(moments.loc[levels, "n"].max())
        faults.add(
            "A04", f"The moments rest on {worst} clients, but the summary counts {clients}.", fix, file=folder + "moments.csv", column="n"
        )
    for column, total in (("n_clients", clients), ("n_sessions", sessions), ("n_therapists", summary.n["therapists"])):
        if total is not None and (summary.estimates[column] > total).any():
            most = int(summary.estimates[column].max())
            what = column.removeprefix("n_")
            faults.add(
                "A04",
                f"An estimate rests on {most} {what}, but the summary counts {total}.",
                fix,
                file=folder + "estimates.csv",
                column=column,
            )
    if len(summary.draws):
        counts = summary.draws.groupby(["model", "parameter"]).size()
        if counts.min() < FEWEST_DRAWS or counts.nunique() > 1:
            faults.add(
                "A07", "The draws are fewer than any setting asks for or unequal in number; they could be rows.", fix,
                file=folder + "draws.csv", n_affected=int(counts.min()),
            )  # fmt: skip
    _check_vcov(summary.vcov, folder + "vcov.csv", faults)
    _check_waves(moments, folder + "moments.csv", faults)


def _check_moments(moments: pd.DataFrame, place: str, faults: _Faults, ranges: Ranges, tolerance: float) -> None:
    """Record moments that no data can have: asymmetric, not positive semidefinite, beyond the range, inconsistent counts.

    ``tolerance`` is the largest error of a correlation that the digits written allow.
    """
    fix = "Ask the site for a new summary." if tolerance < 1e-5 else "Compare the file with the publication and correct it."

    def add(code: str, message: str, row: Any = None, column: str = "", **more: Any) -> None:
        faults.add(code, message, fix, file=place, row=None if row is None else int(row) + 2, column=column, **more)

    few = moments["n"].notna() & (moments["n"] < FEWEST_CLIENTS)
    if few.any():
        add(
            "A07",
            f"Moments of fewer than {FEWEST_CLIENTS} clients are values of single clients.",
            moments.index[few][0],
            "n",
            n_affected=int(few.sum()),
        )
    for _, block in moments.groupby(["block", "level"], sort=True):
        variances: dict[str, tuple[float, int | None]] = {}
        for row in block.loc[block["var1"] == block["var2"]].itertuples():
            if not row.cov > 0 and not (math.isnan(row.cov) and tolerance >= 1e-5):
                add("A02", "A variance is missing or not above zero.", row.Index, "cov", value_shown=shown(row.cov))
            if math.isfinite(row.mean1) and math.isfinite(row.mean2) and row.mean1 != row.mean2:
                add("A02", "The two means of one variable differ.", row.Index, "mean2")
            variances[row.var1] = (row.cov, None if pd.isna(row.n) else int(row.n))
            limits = _fitting(ranges(row.var1), row.mean1)
            if limits is not None:
                low, high = limits
                if math.isfinite(row.mean1) and not low - RELATIVE_TOLERANCE <= row.mean1 <= high + RELATIVE_TOLERANCE:
                    add("A03", f"The mean lies outside the scale ({low:g} to {high:g}).", row.Index, "mean1", value_shown=shown(row.mean1))
                largest = (high - low) / 2 * math.sqrt(row.n / (row.n - 1)) if not pd.isna(row.n) and row.n > 1 else math.inf
                if row.cov > 0 and math.sqrt(row.cov) > largest * (1 + 1e-9):
                    add("A03", f"The standard deviation is larger than the scale allows ({largest:.4g}).", row.Index, "cov")
        entries: dict[tuple[str, str], float] = {}
        for row in block.loc[block["var1"] != block["var2"]].itertuples():
            pair = (min(row.var1, row.var2), max(row.var1, row.var2))
            if pair in entries and not math.isclose(entries[pair], row.cov, rel_tol=1e-9, abs_tol=1e-12):
                add("A02", "The matrix is not symmetric: this pair stands twice with different values.", row.Index, "cov")
            entries[pair] = row.cov
            sizes = [variances[name][1] for name in pair if name in variances and variances[name][1] is not None]
            if sizes and not pd.isna(row.n) and row.n > min(sizes):
                add("A04", "More clients have both variables than have one of them.", row.Index, "n")
            scale = math.sqrt(math.prod(variances.get(name, (1.0, None))[0] for name in pair)) if all(
                variances.get(name, (1.0, None))[0] > 0 for name in pair
            ) else math.nan  # fmt: skip
            if abs(row.cov) > scale * (1 + max(tolerance, 1e-9)):
                add("A03", "The correlation is beyond -1 or 1.", row.Index, "cov", value_shown=shown(f"{row.cov / scale:.4f}"))
            entries[pair] = row.cov
        _check_definite(block, variances, entries, add, tolerance)


def _fitting(ranges: list[tuple[float, float]], mean: float) -> tuple[float, float] | None:
    """Return the range that holds a mean, else the first; None where no range is known."""
    inside = [(low, high) for low, high in ranges if low - RELATIVE_TOLERANCE <= mean <= high + RELATIVE_TOLERANCE]
    return (inside or ranges or [None])[0]


def _check_definite(
    block: pd.DataFrame, variances: dict[str, Any], entries: dict[tuple[str, str], float], add: Any, tolerance: float
) -> None:
    """Record a complete block whose matrix is not positive semidefinite, with its smallest eigenvalue."""
    names = sorted({*block["var1"], *block["var2"]})
    if len(names) < 2 or len(entries) < len(names) * (len(names) - 1) // 2 or block["n"].nunique(dropna=False) > 1:
        return
    spread = np.array([math.sqrt(value) if (value := variances.get(name, (1.0, None))[0]) > 0 else math.nan for name in names])
    matrix = np.eye(len(names))
    for (first, second), value in entries.items():
        i, j = names.index(first), names.index(second)
        matrix[i, j] = matrix[j, i] = value / (spread[i] * spread[j])
    if not np.isfinite(matrix).all():
        return
    smallest = float(np.linalg.eigvalsh(matrix)[0])
    if smallest < -len(names) * tolerance:
        add("A02", f"The matrix belongs to no data: its smallest eigenvalue is {smallest:.4g}.", value_shown=shown(f"{smallest:.4g}"))


def _check_vcov(vcov: pd.DataFrame, place: str, faults: _Faults) -> None:
    """Record covariance matrices of estimates that are not positive semidefinite."""
    for model, block in vcov.groupby("model", sort=True):
        names = sorted({*block["parameter1"], *block["parameter2"]})
        at = {name: position for position, name in enumerate(names)}
        matrix = np.full((len(names), len(names)), np.nan)
        for row in block.itertuples():
            i, j = at[row.parameter1], at[row.parameter2]
            if math.isfinite(matrix[i, j]) and not math.isclose(matrix[i, j], row.cov, rel_tol=1e-9, abs_tol=1e-15):
                faults.add(
                    "A02",
                    "The covariance of two estimates stands twice with different values.",
                    "Ask the site for a new summary.",
                    file=place,
                )
            matrix[i, j] = matrix[j, i] = row.cov
        if not np.isfinite(matrix).all() or not (np.diag(matrix) > 0).all():
            continue
        spread = np.sqrt(np.diag(matrix))
        smallest = float(np.linalg.eigvalsh(matrix / np.outer(spread, spread))[0])
        if smallest < -1e-6 * len(names):
            faults.add(
                "A02", f"The covariance of the estimates belongs to no data: its smallest eigenvalue is {smallest:.4g}.",
                "Ask the site for a new summary.", file=place, value_shown=shown(model),
            )  # fmt: skip


def _check_waves(moments: pd.DataFrame, place: str, faults: _Faults) -> None:
    """Warn where more clients have a later session than an earlier one (variables named ``..._s<session>`` or ``...@<session>``)."""
    waves: dict[tuple[str, str, str], list[tuple[int, int]]] = {}
    for row in moments.loc[(moments["var1"] == moments["var2"]) & moments["n"].notna()].itertuples():
        found = re.fullmatch(r"(.+?)(?:_s|@|_session_)(\d+)", row.var1)
        if found:
            waves.setdefault((row.block, row.level, found[1]), []).append((int(found[2]), int(row.n)))
    for (_, _, name), series in sorted(waves.items()):
        sizes = [size for _, size in sorted(series)]
        if any(later > earlier for earlier, later in itertools.pairwise(sizes)):
            faults.add(
                "A04", "More clients are counted at a later session than at an earlier one.",
                "Check whether sessions are missing at this site.", Severity.WARN, file=place, column=shown(name),
            )  # fmt: skip


def _compare_deliveries(summaries: list[AcceptedSummary], history: History, faults: _Faults) -> dict[str, list[dict[str, Any]]]:
    """Warn where a summary differs from the last other one by so few clients that the difference shows them; return the new history.

    The comparison is with the last delivery that was different, so that a second run on the same files says the same.
    """
    kept: dict[str, list[dict[str, Any]]] = {}
    for summary in summaries:
        header = Header.model_validate(strict_json(summary.files["summary.json"]))
        name = f"{summary.question}/{summary.options_digest}"
        now = {"clients": header.n.clients, "self_digest": header.self_digest}
        earlier = [entry for entry in history.get(name, []) if entry != now]
        kept[name] = [*earlier[-1:], now]
        if not earlier or earlier[-1]["clients"] is None or now["clients"] is None:
            continue
        changed = abs(now["clients"] - earlier[-1]["clients"])
        if 0 < changed < FEWEST_CLIENTS:
            faults.add(
                "A11",
                f"This delivery rests on {changed} client(s) more or fewer than the last; whoever holds both can work out their values.",
                "The site decides whether to wait until more clients have been added.",
                Severity.WARN,
                file=summary.question,
            )
    return kept


def _published_matrix(
    folder: Path, name: str, scale: str, faults: _Faults, files: list[dict[str, Any]], ranges: Ranges
) -> pd.DataFrame | None:
    """Read a published matrix: holes and rounding are allowed, impossible numbers are not."""
    content = _content(folder / name, name, faults, LARGEST_BYTES)
    if content is None:
        return None
    optional = frozenset({"block", "level", "mean1", "mean2", "method"})
    table = _table(content, name, MOMENTS, {"block", "level", "var1", "var2", "method"}, frozenset({"n"}), faults, optional)
    if table is None:
        return None
    files.append(_file_record(name, content, len(table)))
    before = len(faults.issues)
    if not len(table):
        faults.add("F02", "The file has a header but no rows.", "Send the matrix.", file=name)
    fix = "Correct the file."
    for row in table.itertuples():
        if not row.var1 or not row.var2:
            faults.add("R02", "A variable's name is missing.", fix, file=name, row=row.Index + 2)
        if pd.isna(row.n) and not math.isnan(row.cov):
            faults.add(
                "A04",
                "The number of clients is missing.",
                "Give n for every pair that has a value.",
                file=name,
                row=row.Index + 2,
                column="n",
            )
    table["block"] = table["block"].where(table["block"] != "", "published")
    table["level"] = table["level"].where(table["level"] != "", "client")
    table["method"] = scale
    if scale == "correlation":
        wrong = (table["var1"] == table["var2"]) & table["cov"].notna() & (table["cov"] != 1)
        for at in np.flatnonzero(wrong):
            faults.add("A03", "The correlation of a variable with itself is not 1.", fix, file=name, row=int(at) + 2, column="cov")
    else:
        diagonal = set(zip(table["block"], table["var1"][table["var1"] == table["var2"]]))
        lacking = sorted({variable for at in ("var1", "var2") for variable in table[at]} - {variable for _, variable in diagonal})
        if lacking:
            faults.add(
                "A02", f"The variances of {', '.join(map(shown, lacking))} are missing.", "Add a row for each with var1 = var2.", file=name
            )
    repeated = table.assign(
        low=np.minimum(table["var1"].to_numpy(object), table["var2"].to_numpy(object)),
        high=np.maximum(table["var1"].to_numpy(object), table["var2"].to_numpy(object)),
    ).duplicated(["block", "level", "low", "high"])
    for at in np.flatnonzero(repeated):
        faults.add("A02", "This pair of variables stands twice.", "Keep one.", file=name, row=int(at) + 2)
    if len(faults.issues) == before:
        _check_moments(table, name, faults, ranges if scale == "covariance" else (lambda _: []), tolerance=_rounding(content))
    return table.loc[table["cov"].notna(), list(MOMENTS)].reset_index(drop=True)


def _rounding(content: bytes) -> float:
    """Return half a unit of the last decimal that a file's covariances carry."""
    rows = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""))
    decimals = [len(cell.strip().partition(".")[2]) for row in rows if (cell := row.get("cov") or "").strip() and "e" not in cell.lower()]
    return max(0.5 * 10.0 ** -max(decimals, default=2), 1e-5)


def _published_effects(folder: Path, name: str, faults: _Faults, files: list[dict[str, Any]]) -> pd.DataFrame | None:
    """Read published effect sizes with their n."""
    content = _content(folder / name, name, faults, LARGEST_BYTES)
    if content is None:
        return None
    table = _table(content, name, EFFECTS, {"question", "model", "parameter"}, frozenset({"n"}), faults, frozenset({"model", "std_error"}))
    if table is None:
        return None
    files.append(_file_record(name, content, len(table)))
    if not len(table):
        faults.add("F02", "The file has a header but no rows.", "Send the effects.", file=name)
    for row in table.itertuples():
        line = row.Index + 2
        if not row.question or not row.parameter:
            faults.add("R02", "The question or the parameter is missing.", "Name both.", file=name, row=line)
        if math.isnan(row.estimate):
            faults.add("A12", "The estimate is missing.", "Give it or remove the row.", file=name, row=line, column="estimate")
        if pd.isna(row.n) or row.n < 4:
            faults.add(
                "A04", "The number of clients is missing or below 4.", "Give the n behind the effect.", file=name, row=line, column="n"
            )
        if row.std_error <= 0:
            faults.add(
                "A03", "The standard error is not above zero.", "Correct it or leave it empty.", file=name, row=line, column="std_error"
            )
        if row.question in CORRELATION_QUESTIONS and abs(row.estimate) > 1:
            faults.add("A03", "The correlation is beyond -1 or 1.", "Correct it.", file=name, row=line, column="estimate")
    for at in np.flatnonzero(table.duplicated(["question", "model", "parameter"])):
        faults.add("R05", "This effect stands twice.", "Keep one.", file=name, row=int(at) + 2)
    return table.loc[:, list(EFFECTS)]


def _check_checksums(checksums: Mapping[str, str], files: list[dict[str, Any]], faults: _Faults) -> None:
    for record in files:
        expected = checksums.get(record["file"])
        if expected and expected.lower() != record["sha256"]:
            faults.add(
                "F35",
                f"The file's SHA-256 is {record['sha256']}, site.yaml says {expected}.",
                "Send the file again, or correct `checksums` in site.yaml if the new file is meant.",
                file=record["file"],
            )


def _file_record(place: str, content: bytes, rows: int) -> dict[str, Any]:
    return {
        "file": place,
        "sha256": hashlib.sha256(content).hexdigest(),
        "rows_in": rows,
        "rows_used": rows,
        "rows_quarantined": 0,
        "rows_excluded_by_rule": 0,
    }


def _content(path: Path, place: str, faults: _Faults, limit: int, optional: bool = False) -> bytes | None:
    """Read a regular file of at most ``limit`` bytes, or record why not."""
    try:
        facts = path.lstat()
    except OSError:
        if not optional:
            faults.add("F36", "This file is missing.", "Ask the site to send the whole folder.", file=place)
        return None
    if not stat.S_ISREG(facts.st_mode):
        faults.add("P04", "This is not a regular file (a link, folder or device).", "Put the file itself here.", file=place)
        return None
    if facts.st_size > limit:
        faults.add(
            "A07",
            f"The summary is larger than {LARGEST_BYTES // 1_000_000} MB; a summary without rows never is.",
            "Ask the site for the folder that `estimate` wrote.",
            file=place,
        )
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        faults.add("F36", f"This file cannot be read ({error.strerror}).", "Check its permissions.", file=place)
        return None


class _Refused(ValueError):
    """JSON that a summary never holds; the text says why."""


def strict_json(content: bytes) -> Any:
    """Parse JSON that has no repeated keys, no NaN or infinite numbers, and little nesting.

    Raises
    ------
    ValueError
        With the reason in plain words.
    """
    if len(content) > LARGEST_HEADER_BYTES:
        raise _Refused(f"is larger than {LARGEST_HEADER_BYTES // 1_000_000} MB")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _Refused(f"is not UTF-8 (byte {error.start})") from None
    depth = deepest = 0
    for token in re.finditer(r'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', text, re.DOTALL):
        if token[0] in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif token[0] in "]}":
            depth -= 1
    if deepest > DEEPEST_JSON:
        raise _Refused(f"is nested deeper than {DEEPEST_JSON} levels")

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in items]
        for key in keys:
            if keys.count(key) > 1:
                raise _Refused(f"holds the key {shown(key)} twice")
        return dict(items)

    def constant(name: str) -> float:
        raise _Refused(f"holds {name}, which is no number")

    def real(text: str) -> float:
        value = float(text)
        if not math.isfinite(value):
            raise _Refused("holds a number too large to be one")
        return value

    def integer(text: str) -> int:
        if len(text) > 18:
            raise _Refused("holds a number too large to be one")
        return int(text)

    try:
        return json.loads(text, object_pairs_hook=pairs, parse_constant=constant, parse_float=real, parse_int=integer)
    except json.JSONDecodeError as error:
        raise _Refused(f"is not JSON: {error.msg} (line {error.lineno}, column {error.colno})") from None


def _header(content: bytes, place: str, faults: _Faults) -> Header | None:
    try:
        data = strict_json(content)
    except ValueError as error:
        faults.add("A12", f"summary.json {error}.", "Ask the site for the folder as `estimate` wrote it.", file=place)
        return None
    try:
        header = Header.model_validate(data)
    except ValidationError as error:
        for problem in error.errors():
            key = ".".join(str(part) for part in problem["loc"])
            unknown = problem["type"] == "extra_forbidden"
            faults.add(
                "A07" if unknown else "A12",
                "summary.json holds a key that no summary has." if unknown else f"summary.json: {problem['msg'].lower()}.",
                "Ask the site for the folder as `estimate` wrote it.",
                file=place,
                column=shown(key),
            )
        return None
    sizes = {size for size in (header.n.clients, header.n.sessions) if size}
    for key, reason in _row_like(header.facts, sizes):
        faults.add(
            "A07",
            f"summary.json: {reason}.",
            "A summary holds no values of single clients; ask the site for a new one.",
            file=place,
            column=key,
        )
    return header


def _row_like(value: Any, sizes: set[int], path: str = "facts") -> Iterable[tuple[str, str]]:
    """Yield the parts of a JSON value that could hold one entry a client."""
    if isinstance(value, dict):
        if len(value) > 1000 or (len(value) in sizes and len(value) >= 20):
            yield shown(path), f"{len(value)} keys could be clients"
            return
        for key, inner in value.items():
            if key.lower() in ROW_KEYS:
                yield shown(f"{path}.{key}"), "this key belongs to rows"
            else:
                yield from _row_like(inner, sizes, f"{path}.{key}")
    elif isinstance(value, list):
        if len(value) > LONGEST_LIST or (len(value) in sizes and len(value) >= 10):
            yield shown(path), f"a list of {len(value)} entries could be rows"
            return
        for inner in value:
            yield from _row_like(inner, sizes, f"{path}[]")
    elif isinstance(value, str) and len(value) > LONGEST_TEXT:
        yield shown(path), f"a text of {len(value)} characters could hold rows"


def _table(
    content: bytes,
    place: str,
    columns: tuple[str, ...],
    text: set[str],
    integers: frozenset[str],
    faults: _Faults,
    optional: frozenset[str],
) -> pd.DataFrame | None:
    """Read a CSV file with a closed set of columns, of which those in ``optional`` may be absent, or record every fault of it."""
    before = len(faults.issues)
    try:
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True))
    except UnicodeDecodeError as error:
        faults.add("F05", f"The file is not UTF-8 (byte {error.start}).", "Save it as UTF-8.", file=place)
        return None
    except csv.Error as error:
        faults.add("F12", f"The file is not a whole CSV file ({error}).", "Send it again.", file=place)
        return None
    if not rows or not rows[0]:
        faults.add("F01", "The file is empty.", "Send it again.", file=place)
        return None
    allowed = f"Columns are {', '.join(columns)}, separated by commas."
    names = [name.strip() for name in rows[0]]
    for name in columns:
        if name not in names and name not in optional:
            faults.add("H01", f"The column {name} is missing.", allowed, file=place, row=1, column=name)
    for name in sorted(set(names)):
        if names.count(name) > 1:
            faults.add("H02", "The column stands twice.", "Keep one.", file=place, row=1, column=shown(name))
        elif name not in columns:
            faults.add("A07", "A summary does not have this column.", allowed, file=place, row=1, column=shown(name))
    for line, row in enumerate(rows[1:], start=2):
        if len(row) != len(names):
            faults.add("R01", f"The row has {len(row)} cells, the header {len(names)}.", "Correct the row.", file=place, row=line)
    if len(faults.issues) > before:
        return None
    table = pd.DataFrame(rows[1:], columns=names, dtype=str)
    result: dict[str, Any] = {}
    for name in columns:
        cells = table[name].str.strip() if name in table else pd.Series([""] * len(table), dtype=str)
        if name in text:
            result[name] = cells
            continue
        blank = cells.isin(["", "NA"]).to_numpy()
        numbers = np.array([_number(cell) for cell in cells], dtype=float)
        wrong = np.isnan(numbers) & ~blank
        if name in integers:
            wrong |= np.isfinite(numbers) & ((numbers != np.floor(numbers)) | (numbers < 0) | (numbers > 2**53))
        for at in np.flatnonzero(wrong):
            faults.add(
                "A12", "This is not a number that can stand here.", "Write plain numbers with a decimal point; leave unknown cells empty.",
                file=place, row=int(at) + 2, column=name, value_shown=shown(cells.iloc[at]),
            )  # fmt: skip
        result[name] = (
            pd.array([None if math.isnan(n) else int(n) for n in numbers], dtype="Int64")
            if name in integers and not wrong.any()
            else numbers
        )
    if len(faults.issues) > before:
        return None
    return pd.DataFrame(result, index=range(len(table)))


def _number(cell: str) -> float:
    """Return a finite number written in plain ASCII, else NaN."""
    if not re.fullmatch(r"\s*[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?\s*", cell, re.ASCII):
        return math.nan
    value = float(cell)
    return value if math.isfinite(value) else math.nan
