"""Doing jobs side by side in processes: what they return does not depend on how many there are."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

J = TypeVar("J")
R = TypeVar("R")
Each = Callable[[Callable[[J], R], Iterable[J]], Iterable[R]]
"""Calls a function for each of several jobs, in their order, as ``map`` does."""

_WATCHED_SECONDS = 0.2
_work: tuple[Callable[[Any], Any], Sequence[Any]] | None = None


def in_processes(number: int) -> Each:
    """Return what does jobs in a number of processes, each begun as soon as a process is free; 1: in this one.

    Where the system can copy a process, the processes know what this one holds, and nothing but results is sent between them. They end
    with the jobs, with any exception here (Ctrl-C too), and where this process is killed.

    Parameters
    ----------
    number : int
        At most so many processes.

    Returns
    -------
    callable
        Takes a function and jobs, and returns a list. An exception of the first job that has one is raised; a process that was killed
        raises ``BrokenProcessPool``.
    """

    def each(function: Callable[[J], R], jobs: Iterable[J]) -> list[R]:
        listed = list(jobs)
        if min(number, len(listed)) < 2:
            return [function(job) for job in listed]
        # Copies of a process with threads of the system's libraries are not safe on macOS.
        context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
        others = multiprocessing.active_children()
        pool = ProcessPoolExecutor(min(number, len(listed)), context, _begin, (function, listed, os.getpid()))
        try:
            return list(pool.map(_do, range(len(listed))))
        except BaseException:
            for process in multiprocessing.active_children():
                if process not in others:
                    process.kill()
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    return each


def _begin(function: Callable[[Any], Any], jobs: Sequence[Any], parent: int) -> None:
    """Make a process ready: it leaves Ctrl-C to the one that began it, and does not outlive that."""
    global _work
    _work = function, jobs
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_WATCHED_SECONDS)
    os._exit(1)


def _do(place: int) -> Any:
    assert _work is not None
    function, jobs = _work
    return function(jobs[place])
