"""What the pipeline writes has room on file systems that ignore case."""

from __future__ import annotations

import unicodedata
from collections import Counter
from pathlib import Path

from support import Checkout


def same_names(folder: Path) -> list[list[str]]:
    """Return groups of paths below a folder, and folders among them, that are one path where case and Unicode form are ignored."""
    paths = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if ".snakemake" not in path.parts]
    folded = {path: unicodedata.normalize("NFC", path).casefold() for path in paths}
    often = {name for name, count in Counter(folded.values()).items() if count > 1}
    return [sorted(path for path in paths if folded[path] == name) for name in sorted(often)]


def test_no_two_paths_of_the_computed_demo_differ_by_case_alone(computed: Checkout):
    assert len(list(computed.results.rglob("*"))) > 100
    assert same_names(computed.folder) == []


def test_paths_that_differ_by_case_alone_would_be_found(tmp_path: Path):
    for name in ("a/table.csv", "A/other.csv", "b/Table.csv", "b/table.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("", encoding="utf-8")
    assert same_names(tmp_path) == [["A", "a"], ["b/Table.csv", "b/table.csv"]]
