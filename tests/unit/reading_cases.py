"""Shared by the tests of reading: write a file, read it, and check the account of its rows."""

from __future__ import annotations

from pathlib import Path

from alliance.issues import Issue, Severity
from alliance.sites.reading import RawTable, ReadOptions, read_file


def read(folder: Path, content: bytes | str, name: str = "ratings.csv", **options: object) -> tuple[RawTable | None, list[Issue]]:
    """Write content to a file of a site and read it."""
    path = folder / name
    path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    return read_path(path, **options)


def read_path(path: Path, **options: object) -> tuple[RawTable | None, list[Issue]]:
    """Read a file; a table must account for every row, and a missing table must have its reason."""
    table, issues = read_file(path, ReadOptions(**options), "north", path.name)
    assert all(issue.site == "north" and issue.file == path.name and issue.message and issue.fix for issue in issues)
    if table is None:
        assert any(issue.severity is Severity.SITE for issue in issues)
        return None, issues
    assert not any(issue.severity is Severity.SITE for issue in issues)
    assert table.rows_in == len(table.rows) + len(table.quarantined) + table.rows_blank + sum(table.excluded.values())
    assert table.cells.column_names == table.columns
    assert table.cells.num_rows == len(table.rows)
    assert all(column.null_count == 0 for column in table.cells.columns)
    return table, issues


def cells(table: RawTable) -> list[list[str]]:
    """Return the rows as lists of text."""
    return [list(row.values()) for row in table.cells.to_pylist()]


def one(issues: list[Issue], code: str) -> Issue:
    """Return the only issue with a code."""
    matching = [issue for issue in issues if issue.code == code]
    assert len(matching) == 1, [(issue.code, issue.message) for issue in issues]
    return matching[0]


def refused(result: tuple[RawTable | None, list[Issue]], code: str) -> Issue:
    """Return the issue that made a file unusable."""
    table, issues = result
    assert table is None
    issue = one(issues, code)
    assert issue.severity is Severity.SITE
    return issue
