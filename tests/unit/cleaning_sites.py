"""Small sites for the tests of cleaning: written to a folder, cleaned as the pipeline does it."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from alliance.instruments import load_registry
from alliance.issues import Issue
from alliance.sites.cleaning import CleanedSite, clean_site
from alliance.sites.site_file import load_site_file

PROJECT = Path(__file__).resolve().parents[2]
KEY = b"a key for tests only, 32 bytes.."
ITEMS = ",".join(f"wai_{item}" for item in range(1, 13))
RATINGS = """
  - table: ratings
    files: ratings.csv
    instrument: wai_sr
    response: {min: 1, max: 5}
    rater: client
    columns: {client_id: id, session: session}
    items: "wai_{item}"
    EXTRA
"""


@cache
def registry() -> dict:
    return load_registry([PROJECT / "workflow" / "instruments"])


def ratings(extra: str = "", columns: str = "") -> str:
    text = RATINGS.replace("EXTRA", extra)
    return text.replace("session: session}", f"session: session, {columns}}}") if columns else text


def answers(*values: object) -> str:
    """Return twelve answers; what is not given is 3 and 4 in turn."""
    return ",".join(str(value) for value in [*values, *[3 + index % 2 for index in range(len(values), 12)]])


def write(folder: Path, site_yaml: str, files: dict[str, str | bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "site.yaml").write_text(site_yaml, encoding="utf-8")
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return folder


def table(*rows: str, header: str = f"id,session,{ITEMS}") -> str:
    return "\n".join([header, *rows]) + "\n"


def clean(
    folder: Path,
    tables: str,
    files: dict[str, str | bytes],
    *,
    top: str = "",
    withdrawn: tuple[str, ...] = (),
    key: bytes = KEY,
    **options: object,
) -> CleanedSite:
    """Write a site, clean it, and check what must hold for every site whatever its data: each row is accounted for."""
    write(folder, f"{top}\ntables:\n{tables.strip(chr(10))}\n", files)
    site_file, issues = load_site_file(folder / "site.yaml", "s1", registry())
    assert site_file is not None, [issue.message for issue in issues]
    cleaned = clean_site(folder, "s1", site_file, registry(), options, set(withdrawn), key)
    for entry in cleaned.status["files"]:
        parts = entry["rows_used"], entry["rows_quarantined"], entry["rows_excluded_by_rule"]
        assert entry["rows_in"] == sum(parts), entry
        assert min(parts) >= 0
        assert sum(entry["excluded_by_rule"].values()) == entry["rows_excluded_by_rule"], entry
        assert len(cleaned.quarantine.get(entry["file"], [])) == entry["rows_quarantined"]
    return cleaned


def found(cleaned: CleanedSite, code: str) -> list[Issue]:
    return sorted((issue for issue in cleaned.issues if issue.code == code), key=lambda issue: (issue.row or 0, issue.column))


def account(cleaned: CleanedSite, file: str = "ratings.csv") -> tuple[int, int, int, int]:
    entry = next(entry for entry in cleaned.status["files"] if entry["file"] == file)
    return entry["rows_in"], entry["rows_used"], entry["rows_quarantined"], entry["rows_excluded_by_rule"]


def faults(tmp_path: Path, text: str) -> list[Issue]:
    """Return the faults of a site.yaml, after checking that each names its place."""
    path = tmp_path / "site.yaml"
    path.write_text(text, encoding="utf-8")
    site_file, issues = load_site_file(path, "s1", registry())
    assert (site_file is None) == bool(issues)
    assert all(issue.severity.value == "SITE" and re.search(r"\w", issue.message) for issue in issues)
    return issues
