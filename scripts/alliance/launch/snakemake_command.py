"""Snakemake's command line; where jobs run on this machine, without its limit of jobs a second and with a warm process.

With the limit every look for ready jobs orders another look one second later (Snakemake 9), so that looks add up with the jobs that have
ended: at 500 sites they took a third of all processor time. How many jobs run at once is limited by the cores all the same.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

from snakemake import cli

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from alliance.launch.warm_process import warm_process


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
