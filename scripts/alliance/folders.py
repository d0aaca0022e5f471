"""Folders that stand whole or not at all: whoever looks, and whenever the process is killed, finds the old one or the new one."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

_AT_CURRENT_FOLDER = -100
_EXCHANGE = 2
_NOT_SUPPORTED = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP}


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a new folder with some files and have all of it on the disk."""
    shutil.rmtree(folder, ignore_errors=True)
    folders = {folder}
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        folders.update((folder / name).parents[: len(Path(name).parts)])
        with open(path, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    for one in sorted(folders):
        _flush(one)


def _flush(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def put_in_place(new: Path, place: Path) -> None:
    """Have a finished folder stand in the place of another; the other one is deleted.

    Parameters
    ----------
    new : Path
        The finished folder, on the file system of ``place``.
    place : Path
        Where it shall stand; a folder that is there is exchanged with it in one step where the system can do that. Elsewhere the old one
        is moved aside first, and :func:`recover` brings it back if the process was killed between.
    """
    if place.exists():
        if not _exchanged(new, place):
            aside = _aside(place)
            shutil.rmtree(aside, ignore_errors=True)
            os.rename(place, aside)
            os.rename(new, place)
            _flush(place.parent)
            shutil.rmtree(aside)
            return
    else:
        os.rename(new, place)
    _flush(place.parent)
    shutil.rmtree(new, ignore_errors=True)


def beside(place: Path) -> Path:
    """Return where a folder is written before it is put in place."""
    return place.with_name(f"{place.name}.next")


def recover(place: Path) -> None:
    """Bring back a folder that a killed process had moved aside, and delete what it had not finished or not deleted yet."""
    shutil.rmtree(beside(place), ignore_errors=True)
    aside = _aside(place)
    if aside.exists():
        if place.exists():
            shutil.rmtree(aside)
        else:
            os.rename(aside, place)


def _aside(place: Path) -> Path:
    return place.with_name(f"{place.name}.before")


def _exchanged(first: Path, second: Path) -> bool:
    """Exchange two folders in one step; False where the system cannot."""
    names = os.fsencode(first), os.fsencode(second)
    library = ctypes.CDLL(None, use_errno=True)
    try:
        if sys.platform == "darwin":
            failed = library.renamex_np(*names, _EXCHANGE)
        else:
            failed = library.renameat2(_AT_CURRENT_FOLDER, names[0], _AT_CURRENT_FOLDER, names[1], _EXCHANGE)
    except AttributeError:
        return False
    if not failed:
        return True
    number = ctypes.get_errno()
    if number in _NOT_SUPPORTED:
        return False
    raise OSError(number, os.strerror(number), str(second))
