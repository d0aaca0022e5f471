"""Calling Snakemake and turning what it prints into progress that a person can read."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from alliance.configuration.code import PROJECT, SCRIPTS

COMMAND = SCRIPTS / "alliance" / "launch" / "snakemake_command.py"

_RULE = re.compile(r"(?:local)?rule (\w+):$")
_FIELD = re.compile(r"    (\w+): (.*)$")
_STEPS = re.compile(r"(\d+) of (\d+) steps")
_FINISHED = re.compile(r"Finished jobid: (\d+)")
_ERROR = re.compile(r"Error in (?:group|rule) (\w+)")


@dataclass
class Job:
    """One job as Snakemake announces it."""

    rule: str
    wildcards: dict[str, str] = field(default_factory=dict)
    reason: str = ""
    log: str = ""

    def __str__(self) -> str:
        name = self.rule.replace("_", " ")
        where = ", ".join(value for key, value in self.wildcards.items() if key != "digest")
        return f"{name} ({where})" if where else name


@dataclass
class Outcome:
    """How Snakemake ended."""

    status: int
    jobs: dict[str, Job]
    failed: list[Job]
    nothing_to_do: bool
    output: str
    interrupted: bool = False
    last_finished: str = ""


def command(
    study_folder: Path,
    config_file: str,
    targets: Iterable[str],
    cores: int,
    scenarios: Iterable[str],
    questions: Iterable[str],
    profile: str,
    dry_run: bool = False,
    report: str = "",
) -> list[str]:
    """Return the Snakemake call for a study; with ``report``, a call that writes its report there and computes nothing."""
    call = [sys.executable, str(COMMAND), "--snakefile", str(PROJECT / "Snakefile"), "--directory", str(study_folder)]
    call += ["--profile", profile, "--cores", str(cores), "--nolock", "--nocolor"]
    call += ["--config", f"study_config={config_file}", f"scenarios={' '.join(scenarios)}", f"questions={' '.join(questions)}"]
    if dry_run:
        call += ["--dry-run"]
    if report:
        call += ["--report", report]
    return [*call, "--", *targets]


def run(call: list[str], show: Callable[[str], None], lock_handle: int) -> Outcome:
    """Run Snakemake and show a line for each job that ends.

    Parameters
    ----------
    call : list of str
        From :func:`command`.
    show : callable
        Takes a line for the user.
    lock_handle : int
        Open file of the run lock; Snakemake keeps it too, so that the lock holds even if the launcher is killed.

    Returns
    -------
    Outcome
    """
    environment = os.environ | {"ALLIANCE_CHECKED": "1", "PYTHONHASHSEED": "0", "PYTHONUNBUFFERED": "1"}
    environment.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Without bytecode every job would compile the library again.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    outcome = Outcome(1, {}, [], False, "")
    lines: list[str] = []
    process = subprocess.Popen(
        call,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
        pass_fds=(lock_handle,),
    )

    def forward(number: int, frame: object) -> None:
        again = outcome.interrupted
        outcome.interrupted = True
        os.killpg(process.pid, signal.SIGKILL if again else signal.SIGINT)

    handlers = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        assert process.stdout is not None
        for line in follow(process.stdout, outcome):
            lines.append(line)
            match = _STEPS.search(line)
            if match and outcome.jobs:
                job = outcome.jobs.get(outcome.last_finished)
                show(f"[{match[1]:>{len(match[2])}}/{match[2]}] {job}" if job else f"[{match[1]}/{match[2]}]")
        outcome.status = process.wait()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    outcome.output = "".join(lines)
    outcome.nothing_to_do = "Nothing to be done" in outcome.output and not outcome.jobs
    return outcome


def follow(stream: Iterable[str], outcome: Outcome) -> Iterator[str]:
    """Read Snakemake's announcements into the outcome, line by line."""
    job: Job | None = None
    for line in stream:
        text = line.rstrip("\n")
        if match := _RULE.match(text):
            job = Job(match[1])
        elif job is not None and (match := _FIELD.match(text)):
            key, value = match.groups()
            if key == "jobid":
                outcome.jobs[value] = job
            elif key == "wildcards":
                job.wildcards = dict(part.split("=", 1) for part in value.split(", ") if "=" in part)
            elif key == "reason":
                job.reason = value
            elif key == "log":
                job.log = value.split(" ")[0]
        elif not text:
            job = None
        if match := _FINISHED.search(text):
            outcome.last_finished = match[1]
        elif match := _ERROR.search(text):
            job = Job(match[1])
            outcome.failed.append(job)
        yield line
