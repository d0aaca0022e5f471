"""Snakemake's command line; where jobs run on this machine, without its limit of jobs a second and with a warm process.

With the limit every look for ready jobs orders another look one second later (Snakemake 9), so that looks add up with the jobs that have
ended: at 500 sites they took a third of all processor time. How many jobs run at once is limited by the cores all the same.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from pathlib import Path


def load_when_used(name: str) -> None:
    """Have a library read from disk at its first use; who imports it before gets it without its content."""
    found = importlib.util.find_spec(name)
    assert found is not None and found.loader is not None
    found.loader = importlib.util.LazyLoader(found.loader)
    module = sys.modules[name] = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)


# Snakemake looks at all executors it finds, and one for clusters imports pandas for its report of resources.
load_when_used("pandas")

from snakemake import cli  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from alliance.launch.warm_process import warm_process  # noqa: E402


def main() -> None:
    """Run Snakemake with the arguments of the command line."""
    try:
        parser, given = cli.parse_args(None)
        on_this_machine = given.executor in (None, "local")
        if on_this_machine:
            given.max_jobs_per_timespan = None
        with warm_process() if on_this_machine and not given.dryrun else contextlib.nullcontext():
            done = cli.args_to_api(given, parser)
    except Exception as fault:
        cli.print_exception(fault)
        sys.exit(1)
    sys.exit(0 if done else 1)


if __name__ == "__main__":
    main()
