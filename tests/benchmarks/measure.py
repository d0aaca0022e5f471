"""Running a command as a process of its own and reading what it cost."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Cost:
    """Seconds of processor and wall clock, and the largest process in MB, children included."""

    cpu: float
    wall: float
    peak_mb: float
    status: int


def cost(command: list[str], folder: Path | None = None, **environment: str) -> Cost:
    """Run a command to its end and return what it cost."""
    start = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", **environment},
    )
    _, status, usage = os.wait4(process.pid, 0)
    scale = 1024 if sys.platform != "darwin" else 1024 * 1024
    return Cost(usage.ru_utime + usage.ru_stime, time.perf_counter() - start, usage.ru_maxrss / scale, os.waitstatus_to_exitcode(status))


def best(command: list[str], runs: int = 3, folder: Path | None = None) -> Cost:
    """Return the run with the least processor time: the others were disturbed."""
    return min((cost(command, folder) for _ in range(runs)), key=lambda one: one.cpu)


def script(name: str, *arguments: str) -> list[str]:
    """Return the call of one of the project's scripts."""
    return [sys.executable, str(PROJECT / "scripts" / name), *arguments]
