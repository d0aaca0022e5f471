"""Snakemake's command line; where jobs run on this machine, without its limit of jobs a second and with a warm process.

With the limit every look for ready jobs orders another look one second later (Snakemake 9), so that looks add up with the jobs that have
ended: at 500 sites they took a third of all processor time. How many jobs run at once is limited by the cores all the same.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from alliance.launch.warm_process import RARELY, warm_process

NO_JOBS = {"--dry-run", "--dryrun", "-n", "--report"}
"""Arguments with which no job is started."""


def main() -> None:
    """Run Snakemake with the arguments of the command line."""
    starts_none = bool(NO_JOBS & set(sys.argv))
    # First of all: what it imports takes longer than Snakemake's plan.
    with contextlib.nullcontext(lambda: None) if starts_none else warm_process() as dismiss:
        done = run_snakemake(dismiss)
    # Else Python would look through all that it holds for garbage before it ends.
    gc.freeze()
    sys.exit(0 if done else 1)


def run_snakemake(dismiss: Callable[[], None]) -> bool:
    """Run Snakemake and return whether it ended well.

    Parameters
    ----------
    dismiss : callable
        Called where jobs run elsewhere.
    """
    for name in ("numpy", "pandas"):
        load_when_used(name)
    # A plan holds many small objects for the whole run: to look through them took a tenth of its time.
    gc.set_threshold(*RARELY)
    from snakemake import cli

    try:
        parser, given = cli.parse_args(None)
        if given.executor in (None, "local"):
            given.max_jobs_per_timespan = None
        else:
            dismiss()
        return bool(cli.args_to_api(given, parser))
    except Exception as fault:
        cli.print_exception(fault)
        return False


class _Later(ModuleType):
    """A module that is read when it is first asked for something that it does not have yet.

    :class:`importlib.util.LazyLoader` reads it at any question, such as the one that ``import`` asks of modules that are there.
    """

    def __getattr__(self, name: str) -> Any:
        found = self.__spec__
        assert found is not None and found.loader is not None
        self.__class__, self.__path__ = ModuleType, found.submodule_search_locations
        found.loader.exec_module(self)
        return getattr(self, name)


def load_when_used(name: str) -> None:
    """Have a library read from disk when it is used: Snakemake imports all executors, and one for clusters imports some for a report."""
    if name in sys.modules:
        return
    found = importlib.util.find_spec(name)
    assert found is not None
    known = vars(importlib.util.module_from_spec(found))
    sys.modules[name] = _Later(name)
    # Whoever looks for the path wants a part of the library, which needs the whole.
    vars(sys.modules[name]).update({key: value for key, value in known.items() if key != "__path__"})


if __name__ == "__main__":
    main()
