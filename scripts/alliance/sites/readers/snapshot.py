"""One file's bytes as they were at one moment: regular files only, no links, no more than the allowed size."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from alliance.issues import shown
from alliance.sites.readers.contract import Findings

CHUNK = 1 << 22


@dataclass(frozen=True)
class Snapshot:
    """Bytes of a file and their SHA-256."""

    path: Path
    data: bytes
    sha256: str


def take(path: Path, relative_name: str, max_file_mb: float, found: Findings) -> Snapshot:
    """Read a whole file once.

    Raises
    ------
    UnusableFileError
        It is missing, no regular file, reached through a link, unreadable, too large or changes while being read.
    """
    _refuse_links(path, relative_name, found)
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _unreadable(path, error, found) from error
    try:
        status = os.fstat(handle)
        _refuse_special(status, found)
        if status.st_size > max_file_mb * 1_000_000:
            raise found.stop(
                "F15",
                f"The file has {status.st_size / 1e6:.0f} MB; the limit is {max_file_mb:g} MB.",
                "Send a smaller file (one year a file, say), or raise cleaning: max_file_mb in the configuration.",
            )
        data = _read(handle, status.st_size + 1)
    except OSError as error:
        raise _unreadable(path, error, found) from error
    finally:
        os.close(handle)
    if len(data) != status.st_size:
        raise _changing(found)
    if not data:
        raise found.stop("F01", "The file is empty (0 bytes).", "Export it again and check that the copy finished.")
    return Snapshot(path, data, hashlib.sha256(data).hexdigest())


def refuse_if_changed(snapshot: Snapshot, found: Findings) -> None:
    """Compare the file with its snapshot byte by byte.

    Raises
    ------
    UnusableFileError
        The file has changed since.
    """
    try:
        with open(snapshot.path, "rb") as file:
            position = 0
            with memoryview(snapshot.data) as before:
                while chunk := file.read(CHUNK):
                    if chunk != before[position : position + len(chunk)]:
                        raise _changing(found)
                    position += len(chunk)
    except OSError as error:
        raise _changing(found) from error
    if position != len(snapshot.data):
        raise _changing(found)


def _read(handle: int, at_most: int) -> bytes:
    with open(handle, "rb", closefd=False) as file:
        return file.read(at_most)


def _refuse_links(path: Path, relative_name: str, found: Findings) -> None:
    parts = PurePosixPath(relative_name).parts
    folder = path
    for _ in parts:
        try:
            status = os.lstat(folder)
        except OSError as error:
            raise _unreadable(path, error, found) from error
        if stat.S_ISLNK(status.st_mode):
            raise found.stop(
                "P04",
                "The file, or a folder on the way to it, is a link.",
                "Put the file itself into the site's folder; links are not followed.",
            )
        if folder is path:
            _refuse_special(status, found)
        folder = folder.parent


def _refuse_special(status: os.stat_result, found: Findings) -> None:
    if not stat.S_ISREG(status.st_mode):
        kinds = {
            stat.S_IFDIR: "a folder",
            stat.S_IFIFO: "a pipe",
            stat.S_IFSOCK: "a socket",
            stat.S_IFCHR: "a device",
            stat.S_IFBLK: "a device",
        }
        kind = kinds.get(stat.S_IFMT(status.st_mode), "not a file")
        raise found.stop("P04", f"This is {kind}, not a regular file.", "Put a regular file into the site's folder.")


def _unreadable(path: Path, error: OSError, found: Findings) -> Exception:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return found.stop("F36", "The file is not there.", "Put it into the site's folder, or correct its name in site.yaml.")
    try:
        mode = f" (mode {stat.S_IMODE(os.lstat(path).st_mode):04o})"
    except OSError:
        mode = ""
    reason = shown(error.strerror or type(error).__name__)
    return found.stop("P06", f"The file cannot be read{mode}: {reason}.", "Give the account that runs the pipeline the right to read it.")


def _changing(found: Findings) -> Exception:
    return found.stop("F34", "The file is changing while it is read.", "Wait until the copy has finished, then run again.")
