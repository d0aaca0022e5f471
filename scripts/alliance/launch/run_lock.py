"""One run at a time in a study folder.

The lock is the kernel's: it is gone as soon as the run that holds it has ended, however it ended.
"""

from __future__ import annotations

import fcntl
import os
import platform
import time
from pathlib import Path
from types import TracebackType

LOCK_FILE = ".run.lock"


class AnotherRunIsActive(Exception):
    """The study folder is in use; the message says by whom."""


class FolderCannotBeLocked(Exception):
    """The file system of the study folder has no locks, so two runs at once could not be told apart; the message gives its reason."""


class RunLock:
    """Hold the study folder for one run.

    Parameters
    ----------
    folder : Path
        The study's folder.

    Raises
    ------
    AnotherRunIsActive
        On entering, where another run holds the folder; nothing is touched.
    FolderCannotBeLocked
        On entering, where the file system refuses locks, as some network drives do.
    """

    def __init__(self, folder: Path):
        self.path = folder / LOCK_FILE
        self.handle: int | None = None

    def __enter__(self) -> RunLock:
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(handle, 500).decode("utf-8", "replace").strip()
            os.close(handle)
            raise AnotherRunIsActive(holder or "by an unknown process") from None
        except OSError as error:
            os.close(handle)
            raise FolderCannotBeLocked(error.strerror or str(error)) from None
        os.ftruncate(handle, 0)
        started = time.strftime("%Y-%m-%d %H:%M:%S %Z")
        os.write(handle, f"pid {os.getpid()} on {platform.node()}, since {started}\n".encode())
        os.fsync(handle)
        os.set_inheritable(handle, True)
        self.handle = handle
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.handle is not None:
            os.ftruncate(self.handle, 0)
            os.close(self.handle)
            self.handle = None
