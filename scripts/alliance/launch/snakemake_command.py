"""Snakemake's command line, without its limit of jobs a second where jobs run on this machine.

With the limit every look for ready jobs orders another look one second later (Snakemake 9), so that looks add up with the jobs that have
ended: at 500 sites they took a third of all processor time. How many jobs run at once is limited by the cores all the same.
"""

from __future__ import annotations

import sys

from snakemake import cli


def main() -> None:
    """Run Snakemake with the arguments of the command line."""
    try:
        parser, given = cli.parse_args(None)
        if given.executor in (None, "local"):
            given.max_jobs_per_timespan = None
        done = cli.args_to_api(given, parser)
    except Exception as fault:
        cli.print_exception(fault)
        sys.exit(1)
    sys.exit(0 if done else 1)


if __name__ == "__main__":
    main()
