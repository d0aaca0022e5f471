"""A folder is put in place whole, whenever the process that does it is killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from alliance import folders
from support import PROJECT


def content(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("exchange", [True, False])
def test_a_folder_takes_the_place_of_another_and_leaves_nothing_beside(tmp_path, monkeypatch, exchange):
    if not exchange:
        monkeypatch.setattr(folders, "_exchanged", lambda first, second: False)
    place = tmp_path / "publish"
    for version in ("1", "2", "3"):
        new = folders.beside(place)
        folders.write_folder(new, {"index.html": version.encode(), "tables/a/b.csv": version.encode()})
        folders.put_in_place(new, place)
        assert content(place) == {"index.html": version, "tables/a/b.csv": version}
        assert list(tmp_path.iterdir()) == [place]


def test_a_folder_moved_aside_by_a_killed_process_is_brought_back(tmp_path, monkeypatch):
    place = tmp_path / "publish"
    folders.write_folder(place, {"index.html": b"old"})
    folders.write_folder(folders.beside(place), {"index.html": b"new"})
    monkeypatch.setattr(folders, "_exchanged", lambda first, second: False)
    kept = os.rename

    def killed(source: str, target: str) -> None:
        if Path(target) == place:
            raise KeyboardInterrupt
        kept(source, target)

    monkeypatch.setattr(os, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        folders.put_in_place(folders.beside(place), place)
    monkeypatch.setattr(os, "rename", kept)
    assert not place.exists()
    folders.recover(place)
    assert content(place) == {"index.html": "old"} and list(tmp_path.iterdir()) == [place]


def test_an_old_folder_that_was_not_deleted_yet_is_deleted(tmp_path):
    place = tmp_path / "publish"
    for folder in (place, place.with_name("publish.before"), folders.beside(place)):
        folders.write_folder(folder, {"index.html": folder.name.encode()})
    folders.recover(place)
    assert content(place) == {"index.html": "publish"} and list(tmp_path.iterdir()) == [place]


def test_forty_kills_while_publishing_leave_one_version_whole(tmp_path):
    code = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path\nfrom alliance import folders\n"
        "place = Path(sys.argv[1])\nfolders.recover(place)\nn = 0\nprint('ready', flush=True)\n"
        "while True:\n    n += 1\n    new = folders.beside(place)\n"
        "    folders.write_folder(new, {f'{part}/{k}.txt': f'{n}'.encode() for part in 'ab' for k in range(5)})\n"
        "    folders.put_in_place(new, place)\n"
    )
    place = tmp_path / "publish"
    found = set()
    for attempt in range(40):
        call = [sys.executable, "-c", code, str(place), str(PROJECT / "scripts")]
        process = subprocess.Popen(call, stdout=subprocess.PIPE)
        process.stdout.readline()
        time.sleep(0.002 * (attempt % 13) + 0.004)
        process.kill()
        process.wait()
        if place.exists():
            held = content(place)
            assert len(held) == 10 and len(set(held.values())) == 1, held
            found.update(held.values())
    assert found
