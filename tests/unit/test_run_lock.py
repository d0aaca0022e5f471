"""The run lock lets one run in and says plainly why another stays out."""

from __future__ import annotations

import errno
import fcntl
import os
import sys

import pytest
from alliance.launch.run_lock import LOCK_FILE, AnotherRunIsActive, FolderCannotBeLocked, RunLock
from support import PROJECT


def refuse(code):
    def flock(handle, operation):
        raise OSError(code, os.strerror(code))

    return flock


def test_a_second_run_is_told_who_holds_the_folder(tmp_path):
    with RunLock(tmp_path), pytest.raises(AnotherRunIsActive, match=f"pid {os.getpid()} on .*, since "), RunLock(tmp_path):
        pass
    with RunLock(tmp_path):
        pass


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL])
def test_a_drive_without_locks_is_named_as_such_and_no_file_stays_open(tmp_path, monkeypatch, code):
    monkeypatch.setattr(fcntl, "flock", refuse(code))
    before = set(os.listdir("/dev/fd")) if os.path.isdir("/dev/fd") else set()
    with pytest.raises(FolderCannotBeLocked, match=os.strerror(code)), RunLock(tmp_path):
        pass
    assert (set(os.listdir("/dev/fd")) if os.path.isdir("/dev/fd") else set()) == before


def test_the_launcher_says_what_to_do_about_a_drive_without_locks(study_folder, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(PROJECT / "scripts"))
    monkeypatch.setattr(sys, "argv", ["pipeline.py", "check", "--config", str(study_folder / "config.yaml")])
    monkeypatch.setattr(fcntl, "flock", refuse(errno.ENOLCK))
    import pipeline

    assert pipeline.main() == 2
    printed = capsys.readouterr()
    said = printed.out + printed.err
    assert "has no file locks (No locks available)" in said
    assert said.strip().splitlines()[-1].startswith("exit status 2: nothing was started; move the study's folder to a local disk")
    assert "Traceback" not in said
    assert not (study_folder / LOCK_FILE).exists() or (study_folder / LOCK_FILE).read_bytes() == b""
