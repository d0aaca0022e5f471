"""Write what was registered beside what a scenario has; only the header where the study has no prereg.yaml."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from alliance.configuration.preregistration import deviations
from alliance.files import read_json, write_csv


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preregistration", required=True, type=json.loads, help="what was registered, as JSON; null: nothing")
    parser.add_argument("--run", required=True, type=json.loads, help="scenario, its scenarios and questions, config and base, as JSON")
    parser.add_argument("--statuses", nargs="*", type=Path, default=[])
    parser.add_argument("--output", required=True, type=Path)
    given = parser.parse_args()

    statuses = [read_json(path) for path in given.statuses]
    clients = {status["site"]: status["counts"].get("clients") for status in statuses if status["status"] != "excluded"}
    achieved = {name: given.run[name] for name in ("scenario", "scenarios", "questions")} | {"clients": clients}
    write_csv(given.output, deviations(given.preregistration, given.run["config"], achieved, given.run["base"]))


if __name__ == "__main__":
    main()
