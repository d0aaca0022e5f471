"""Put the headline numbers of the scenarios asked for beside those of base."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from alliance.files import hold_text_as_python, read_json, write_csv
from alliance.questions.headlines import load_headlines
from alliance.reports.inputs import read_table
from alliance.sensitivity.scenario_comparison import ComputedScenario, scenario_comparison


def main() -> None:
    hold_text_as_python()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenarios", required=True, type=json.loads, help="scenarios to compare, base among them, as a JSON list")
    parser.add_argument("--questions", required=True, type=json.loads, help="questions asked by each scenario, as a JSON object of lists")
    parser.add_argument("--results", required=True, type=Path, help="folder with one folder of results a scenario")
    parser.add_argument("--headlines", required=True, type=Path, help="list of the study's headline numbers")
    parser.add_argument("--output", required=True, type=Path)
    given = parser.parse_args()

    asked = {question for questions in given.questions.values() for question in questions}
    headlines = [one for one in load_headlines(given.headlines) if one.question in asked]
    scenarios = []
    for name in given.scenarios:
        folder = given.results / name
        tables: dict = {}
        for one in headlines:
            own = tables.setdefault(one.question, {}) if one.question in given.questions[name] else None
            if own is not None and one.table not in own:
                own[one.table] = read_table(folder / "tables" / one.question / f"{one.table}.csv", one.question)
        reason = read_json(folder / "provenance.json")["reason"]
        scenarios.append(ComputedScenario(name, reason, read_json(folder / "resolved_config.json"), tables))
    write_csv(given.output, scenario_comparison(headlines, scenarios))


if __name__ == "__main__":
    main()
