"""Scenarios of the demo: what each of those shipped costs where base is computed, and all of them from nothing.

Prints wall and processor seconds. Limits: a scenario that changes one key of the analysis 25 s, the demo with all scenarios 720 s on two
cores that nothing else uses. Where a machine is shared, processor seconds over the number of cores say more. `--one-key` measures
scenarios made for it in place of those shipped: the more questions read a key, the more is computed again.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import yaml
from measure import PROJECT, Cost, cost, script

sys.path.insert(0, str(PROJECT / "scripts"))

from alliance.configuration.options import keys_changed
from alliance.configuration.study import BASE, load

ONE_KEY = {
    "pooling_sites": {"pooling": {"sites": {"min_clients": 55}}},
    "window_added": {"alliance": {"windows": {"sessions_3_to_6": {"sessions": [3, 6]}}}},
    "window_chosen": {"alliance": {"window": "late"}},
    "definition_of_dropout": {"dropout": {"definition": "few_sessions"}},
    "outcome_form": {"outcome": {"form": "residual_gain"}},
    "draws": {"resampling": {"draws": 1000}},
    "window_changed": {"alliance": {"windows": {"early": {"sessions": [1, 4]}}}},
    "alliance_rater": {"alliance": {"rater": "therapist"}},
    "outcome_rater": {"outcome": {"rater": "therapist"}},
    "alliance_scale": {"alliance": {"scale": "bond"}},
    "level": {"pooling": {"level": 0.9}},
    "min_clients": {"pooling": {"min_clients": 12}},
}
"""Changes of one key each, those that few questions read first."""
LIMIT = 25


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
    parser.add_argument("--one-key", action="store_true", help="measure scenarios that change one key each")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        study = Path(name)
        for part in ("config.yaml", "scenarios.yaml", "data"):
            source = PROJECT / part
            (shutil.copytree if source.is_dir() else shutil.copy)(source, study / part)
        if given.one_key:
            made = {name: {"reason": "measured", "changes": changes} for name, changes in ONE_KEY.items()}
            (study / "scenarios.yaml").write_text(yaml.safe_dump(made, sort_keys=False), encoding="utf-8")
        known = load(study / "config.yaml")
        print(f"{'scenario':28} {'wall':>7} {'CPU':>7}  keys changed")
        spent = [run(study, given.cores, BASE)]
        print(f"{BASE:28} {spent[0].wall:7.1f} {spent[0].cpu:7.1f}", flush=True)
        for scenario, config in known.scenarios.items():
            if scenario == BASE or (given.only and scenario not in given.only):
                continue
            spent.append(run(study, given.cores, BASE, scenario))
            changed = ", ".join(keys_changed(known.base, config))
            print(f"{scenario:28} {spent[-1].wall:7.1f} {spent[-1].cpu:7.1f}  {changed}", flush=True)
        print(f"{'together':28} {sum(one.wall for one in spent):7.1f} {sum(one.cpu for one in spent):7.1f}")
        print(f"within {LIMIT} s: {sum(one.wall <= LIMIT for one in spent[1:])} of {len(spent) - 1} scenarios")


if __name__ == "__main__":
    main()
