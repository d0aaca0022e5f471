"""Scenarios of the demo: what each of those shipped costs where base is computed, and all of them from nothing.

Prints wall and processor seconds. Limits: a scenario that changes one key of the pooling or of one question 25 s, the demo with all
scenarios 720 s on two cores that nothing else uses. Where a machine is shared, processor seconds over the number of cores say more.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from measure import PROJECT, Cost, cost, script

sys.path.insert(0, str(PROJECT / "scripts"))

from alliance.configuration.options import keys_changed
from alliance.configuration.study import BASE, load


def run(study: Path, cores: int, *scenarios: str) -> Cost:
    """Run the study with some scenarios and return what it cost."""
    call = script("pipeline.py", "run", "--config", str(study / "config.yaml"), "--cores", str(cores), "--scenarios", " ".join(scenarios))
    spent = cost(call)
    assert spent.status == 0, scenarios
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--only", nargs="*", default=[], help="scenarios to measure; default: all")
    given = parser.parse_args()
    shipped = load(PROJECT / "config.yaml")
    with tempfile.TemporaryDirectory() as name:
        study = Path(name)
        for part in ("config.yaml", "scenarios.yaml", "data"):
            source = PROJECT / part
            (shutil.copytree if source.is_dir() else shutil.copy)(source, study / part)
        print(f"{'scenario':28} {'wall':>7} {'CPU':>7}  keys changed")
        spent = [run(study, given.cores, BASE)]
        print(f"{BASE:28} {spent[0].wall:7.1f} {spent[0].cpu:7.1f}", flush=True)
        for scenario, config in shipped.scenarios.items():
            if scenario == BASE or (given.only and scenario not in given.only):
                continue
            spent.append(run(study, given.cores, BASE, scenario))
            changed = ", ".join(keys_changed(shipped.base, config))
            print(f"{scenario:28} {spent[-1].wall:7.1f} {spent[-1].cpu:7.1f}  {changed}", flush=True)
        print(f"{'together':28} {sum(one.wall for one in spent):7.1f} {sum(one.cpu for one in spent):7.1f}")


if __name__ == "__main__":
    main()
