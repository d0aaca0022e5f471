"""Helpers that several test modules share."""

from __future__ import annotations

import fcntl
import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from alliance.launch.snakemake_run import Outcome, follow

PROJECT = Path(__file__).resolve().parents[1]
PARTS = ("Snakefile", "config.yaml", "scenarios.yaml", "workflow", "scripts", "profiles", "envs", "data")
PROGRESS = re.compile(r"\[ *\d+/\d+\] (.+)$", re.MULTILINE)


@dataclass
class Checkout:
    """A copy of the project with the demo study in it."""

    folder: Path

    @property
    def results(self) -> Path:
        """What was computed."""
        return self.folder / "results"

    def call(self, command: str, *arguments: str, cores: int = 2, **environment: str) -> subprocess.CompletedProcess[str]:
        """Call the launcher with this copy's code on this copy's study."""
        return subprocess.run(
            [sys.executable, "scripts/pipeline.py", command, "--config", "config.yaml", "--cores", str(cores), *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "", **environment},
        )

    def jobs_of_run(self, *arguments: str, expected: int = 0) -> set[str]:
        """Run the study and return the jobs that were run."""
        result = self.call("run", *arguments)
        assert result.returncode == expected, result.stdout + result.stderr
        jobs = set(PROGRESS.findall(result.stdout)) - {"all", "check all", "pool all"}
        assert bool(jobs) != ("Nothing to do" in result.stdout), result.stdout
        return jobs

    def planned_jobs(self, scenarios: str = "base") -> set[str]:
        """Return the jobs that a run of some scenarios would run, without running them."""
        call = [sys.executable, "-m", "snakemake", "--snakefile", "Snakefile", "--profile", "profiles/default", "--cores", "1"]
        call += ["--nolock", "--dry-run", "--config", f"scenarios={scenarios}"]
        result = subprocess.run(call, cwd=self.folder, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert result.returncode == 0, result.stdout + result.stderr
        outcome = Outcome(0, {}, [], False, "")
        for _ in follow(io.StringIO(result.stdout + result.stderr), outcome):
            pass
        return {str(job) for job in outcome.jobs.values()} - {"all"}

    def sites(self) -> list[str]:
        """The ids of the demo's sites."""
        return sorted(path.parent.name for path in (self.folder / "data" / "demo").glob("*/site.yaml"))

    def rewrite(self, file: str, old: str, new: str) -> None:
        """Replace one text in one file."""
        path = self.folder / file
        text = path.read_text(encoding="utf-8")
        assert text.count(old) >= 1, f"{old!r} is not in {file}"
        path.write_text(text.replace(old, new, 1), encoding="utf-8")

    def ask_only(self, question: str) -> None:
        """Switch all questions of the configuration off but one."""
        path = self.folder / "config.yaml"
        text = path.read_text(encoding="utf-8")
        switched = re.compile(r"^(  (\w+):.*\n    enabled:) true", re.MULTILINE)
        off = switched.sub(lambda match: f"{match[1]} {str(match[2] == question).lower()}", text)
        assert off.count("\n    enabled: true") == 1, f"no question {question}"
        path.write_text(off, encoding="utf-8")

    def bytes_below(self, *folders: str) -> dict[str, bytes]:
        """Return the content of every file below some folders of the results."""
        return {
            str(path.relative_to(self.results)): path.read_bytes()
            for folder in folders
            for path in sorted((self.results / folder).rglob("*"))
            if path.is_file()
        }


def copy_project(target: Path, sites: tuple[str, ...] = ()) -> Checkout:
    """Copy what a run needs, without results; with only some of the demo's sites, if any are named."""
    target.mkdir(parents=True)
    for name in PARTS:
        source = PROJECT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target / name)
    for path in (target / "data" / "demo").iterdir():
        if sites and path.is_dir() and path.name not in sites:
            shutil.rmtree(path)
    return Checkout(target)


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Return a folder that ``make`` filled, once for all workers of a test run; whoever asks while it is made waits.

    Parameters
    ----------
    factory : TempPathFactory
    name : str
        Name of the folder, the same for all who want it.
    make : callable
        Fills the folder that it is given (a new one, or one that does not exist yet). Where it fails, the next worker tries again.
    """
    base = factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, done = shared / f"shared-{name}", shared / f"shared-{name}.done"
    with open(shared / f"shared-{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            done.touch()
    return folder


def pipeline(command: str, config: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Call the launcher as a user's make does."""
    return subprocess.run(
        [sys.executable, str(PROJECT / "scripts" / "pipeline.py"), command, "--config", str(config), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
    )
