"""Run the simulations that claim bias or coverage; topics whose tables rest on the code as it is are left alone."""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path

from alliance.files import write_csv
from alliance.simulations import tables

PROJECT = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--topic", nargs="*", default=None, help="names of topics; default all")
    parser.add_argument("--runs", type=int, default=None, help="a condition; default 2,000, or what a dear topic names")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1, help="the numbers do not depend on it")
    parser.add_argument("--again", action="store_true", help="also where nothing changed")
    parser.add_argument("--output", type=Path, default=PROJECT / "docs" / "simulations")
    parser.add_argument("--summary", type=Path, default=PROJECT / "workflow" / "simulated_coverage.csv")
    given = parser.parse_args()
    unknown = sorted(set(given.topic or ()) - set(tables.topic_names()))
    if unknown:
        parser.error(f"unknown topics: {', '.join(unknown)}; there are {', '.join(tables.topic_names())}")
    with ProcessPoolExecutor(given.processes) as pool:
        for name in given.topic or tables.topic_names():
            runs = tables.runs_of(name, given.runs)
            if not given.again and tables.is_current(given.output, name, given.seed, runs):
                print(f"{name}: current")
                continue
            conditions = tables.topic(name).conditions()
            print(f"{name}: {len(conditions)} conditions, {runs} runs each", flush=True)
            rows = pool.map(tables.condition_rows, repeat(name), conditions, repeat(given.seed), repeat(runs))
            code = tables.code_digest(name)
            performance, first_blocks = (tables.finished(parts, given.seed, code) for parts in zip(*rows))
            write_csv(tables.path_of(given.output, name), tables.readable(performance))
            write_csv(tables.path_of(given.output, name, first_block=True), first_blocks)
    written = [path for name in tables.topic_names() if (path := tables.path_of(given.output, name)).is_file()]
    write_csv(given.summary, tables.readable(tables.summary(tables.read(path) for path in written)))


if __name__ == "__main__":
    main()
