"""Jobs in several processes return what they return in one, and no process outlives the one that began it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from alliance.publishing.decisions import DisclosureError
from alliance.side_by_side import in_processes
from support import PROJECT

NEVER_ENDING = """
import os, signal, sys, time
from pathlib import Path
from alliance.side_by_side import in_processes

# A shell has what it starts in the background ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

def wait(job):
    (Path(sys.argv[1]) / f"{os.getpid()}").touch()
    time.sleep(600)

in_processes(2)(wait, [1, 2])
"""


def refuse(job: int) -> int:
    if job > 1:
        raise DisclosureError([f"place {job}", "another place"])
    return job


@pytest.mark.parametrize("number", [1, 2, 3])
def test_results_come_in_the_order_of_the_jobs_whatever_the_number_of_processes(number):
    def made(job: float) -> tuple[float, float]:
        time.sleep(job / 100)
        return job, job**2

    assert in_processes(number)(made, [3.0, 0.0, 2.0, 1.0]) == [(3.0, 9.0), (0.0, 0.0), (2.0, 4.0), (1.0, 1.0)]
    assert in_processes(number)(made, []) == []


def test_jobs_know_what_this_process_holds_and_run_in_others():
    held = {"a": object()}
    told = in_processes(2)(lambda job: (os.getpid(), id(held["a"])), range(4))
    assert os.getpid() not in {process for process, _ in told} and {place for _, place in told} == {id(held["a"])}


@pytest.mark.parametrize("number", [1, 2])
def test_the_first_job_that_is_refused_says_why(number):
    with pytest.raises(DisclosureError) as refused:
        in_processes(number)(refuse, [1, 2, 3])
    assert refused.value.hits == ("place 2", "another place") and str(refused.value).startswith("nothing is published: place 2")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_processes_end_with_the_one_that_began_them(tmp_path, number):
    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "scripts")}
    process = subprocess.Popen([sys.executable, "-c", NEVER_ENDING, str(tmp_path)], env=environment, stderr=subprocess.DEVNULL)
    waited(lambda: len(list(tmp_path.iterdir())) == 2)
    process.send_signal(number)
    process.wait(timeout=60)
    waited(lambda: not any(Path("/proc", name.name).exists() for name in tmp_path.iterdir()))


def waited(condition, seconds: float = 60) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
