"""What became of every row: used, quarantined or left out by rule; and the list of faults, capped where a file is full of them."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from alliance.issues import Issue, Severity, shown


@dataclass
class _Found:
    severity: Severity
    sheet: str
    rows: np.ndarray
    value: str
    message: str
    fix: str


class IssueLog:
    """Collects the faults of one site.

    Parameters
    ----------
    site : str
        Id of the site.
    max_listed : int
        Faults listed one by one per file, code and column; the rest is counted in one record.

    Attributes
    ----------
    superseded : frozenset of str
        Files of which nothing is used because a later delivery holds everything; their faults never leave the site out.
    """

    def __init__(self, site: str, max_listed: int):
        self.site = site
        self.max_listed = max_listed
        self.superseded: frozenset[str] = frozenset()
        self._single: list[Issue] = []
        self._rows: dict[tuple[str, str, str, str], list[_Found]] = defaultdict(list)

    def add(self, issue: Issue) -> None:
        """Take over one finished record."""
        if issue.severity is Severity.SITE and issue.file in self.superseded:
            text = f"{issue.message} A later delivery holds everything again, so the site stays in."
            issue = replace(issue, severity=Severity.WARN, message=text)
        self._single.append(issue)

    def site_fault(self, code: str, message: str, fix: str, **place: Any) -> None:
        """Record a fault that leaves the site out."""
        self.add(Issue(code, Severity.SITE, message, fix, site=self.site, **place))

    def remark(self, code: str, message: str, fix: str, **place: Any) -> None:
        """Record something to look at."""
        self.add(Issue(code, Severity.WARN, message, fix, site=self.site, **place))

    def at_rows(
        self,
        code: str,
        severity: Severity,
        file: str,
        rows: np.ndarray,
        message: str,
        fix: str,
        column: str = "",
        sheet: str = "",
        value: str = "",
    ) -> None:
        """Record the same fault at several physical rows; each becomes a record of its own, up to the cap."""
        if len(rows):
            self._rows[file, sheet, code, column].append(_Found(severity, sheet, np.asarray(rows), value, message, fix))

    @property
    def excluded(self) -> bool:
        """Whether a fault found so far leaves the site out."""
        return any(issue.severity in (Severity.SITE, Severity.RUN) for issue in self._single)

    def finish(self) -> list[Issue]:
        """Return all faults; several tables that read the same cell name it once."""
        issues = list(self._single)
        for (file, _, code, column), chunks in self._rows.items():
            rows = np.concatenate([chunk.rows for chunk in chunks])
            which = np.repeat(np.arange(len(chunks)), [len(chunk.rows) for chunk in chunks])
            rows, first = np.unique(rows, return_index=True)
            which = which[first]
            for row, index in zip(rows[: self.max_listed].tolist(), which[: self.max_listed].tolist()):
                chunk = chunks[index]
                place = {"site": self.site, "file": file, "sheet": chunk.sheet, "row": row, "column": column}
                issues.append(Issue(code, chunk.severity, chunk.message, chunk.fix, value_shown=shown(chunk.value), **place))
            rest = len(rows) - self.max_listed
            if rest > 0:
                chunk = chunks[0]
                message = f"{rest} more with this code in this column are counted, not listed. First of its kind: {chunk.message}"
                place = {"site": self.site, "file": file, "sheet": chunk.sheet, "column": column}
                issues.append(Issue(code, chunk.severity, message, chunk.fix, n_affected=rest, **place))
        return issues


class FileLedger:
    """Fate of each row of one file.

    A row that several tables read is used if any of them used it, else quarantined if any quarantined it, else left out by rule.

    Parameters
    ----------
    name : str
        File, relative to the site's folder.
    raw : RawTable
        What the reader returned.
    """

    def __init__(self, name: str, raw: Any):
        self.name = name
        self.raw = raw
        self.n = len(raw.rows)
        self.used = np.zeros(self.n, dtype=bool)
        self._codes: list[str] = [""]
        self._quarantined = np.zeros(self.n, dtype=np.int16)
        self._excluded = np.zeros(self.n, dtype=np.int16)

    def _mark(self, marks: np.ndarray, positions: np.ndarray, code: str) -> None:
        if code not in self._codes:
            self._codes.append(code)
        free = marks[positions] == 0
        marks[positions[free]] = self._codes.index(code)

    def quarantine(self, positions: np.ndarray, code: str) -> None:
        """Set rows aside because of a fault; the first fault of a row names it."""
        self._mark(self._quarantined, np.asarray(positions), code)

    def exclude(self, positions: np.ndarray, code: str) -> None:
        """Leave rows out by a declared rule."""
        self._mark(self._excluded, np.asarray(positions), code)

    def use(self, positions: np.ndarray) -> None:
        """Note that a cleaned table holds something of these rows."""
        self.used[positions] = True

    def n_excluded(self, code: str) -> int:
        """Return how many rows a rule left out."""
        if code not in self._codes:
            return 0
        return int((~self.used & (self._quarantined == 0) & (self._excluded == self._codes.index(code))).sum())

    def physical(self, positions: np.ndarray) -> np.ndarray:
        """Return the physical rows of positions in the table."""
        return np.asarray(self.raw.rows)[positions]

    def quarantined_rows(self, withdrawn: set[str]) -> list[tuple[int, str, str]]:
        """Return physical row, code and verbatim content of every quarantined row, without those of clients who withdrew."""
        kept = [(refused.row, refused.code, refused.text) for refused in self._refused(withdrawn)]
        positions = np.flatnonzero(~self.used & (self._quarantined > 0))
        if len(positions):
            table = self.raw.cells.take(positions)
            columns = [column.to_pylist() for column in table.columns]
            rows = self.physical(positions).tolist()
            for index, position in enumerate(positions.tolist()):
                kept.append((rows[index], self._codes[self._quarantined[position]], as_csv_line([column[index] for column in columns])))
        return sorted(kept, key=lambda entry: (entry[0], entry[1]))

    def _refused(self, withdrawn: set[str]) -> list[Any]:
        return [refused for refused in self.raw.quarantined if not mentions(refused.text, withdrawn)]

    def account(self, withdrawn: set[str], site_left_out: bool) -> dict[str, Any]:
        """Return the row counts of this file: ``rows_in = rows_used + rows_quarantined + rows_excluded_by_rule``."""
        quarantined = len(self._refused(withdrawn)) + int(((self._quarantined > 0) & ~self.used).sum())
        used = 0 if site_left_out else int(self.used.sum())
        return {
            "file": self.name,
            "sheet": self.raw.sheet,
            "sha256": self.raw.sha256,
            "rows_in": int(self.raw.rows_in),
            "rows_used": used,
            "rows_quarantined": quarantined,
            "rows_excluded_by_rule": int(self.raw.rows_in) - used - quarantined,
            "excluded_by_rule": self.excluded_by_rule(withdrawn, site_left_out),
        }

    def excluded_by_rule(self, withdrawn: set[str], site_left_out: bool) -> dict[str, int]:
        """Return how many rows each rule left out."""
        counts = {code: int(n) for code, n in dict(self.raw.excluded).items() if n}
        if self.raw.rows_blank:
            counts["R03"] = counts.get("R03", 0) + int(self.raw.rows_blank)
        gone = len(self.raw.quarantined) - len(self._refused(withdrawn))
        if gone:
            counts["withdrawn"] = counts.get("withdrawn", 0) + gone
        left = ~self.used & (self._quarantined == 0)
        for index in np.unique(self._excluded[left]).tolist():
            code = self._codes[index] or ("site_left_out" if site_left_out else "no_table")
            counts[code] = counts.get(code, 0) + int((self._excluded[left] == index).sum())
        if site_left_out and self.used.any():
            counts["site_left_out"] = counts.get("site_left_out", 0) + int(self.used.sum())
        return dict(sorted(counts.items()))


def as_csv_line(cells: list[str]) -> str:
    """Return cells as one line of CSV without its line end."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()


def mentions(text: str, identifiers: set[str]) -> bool:
    """Whether the raw text of a row holds one of the ids as a field, whatever its separator and quotes."""
    if not identifiers:
        return False
    fields = {text.strip()}
    for separator in (",", ";", "\t", "|"):
        fields.update(part.strip().strip("\"'").strip() for part in text.split(separator))
    return not identifiers.isdisjoint(fields)
