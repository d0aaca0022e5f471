"""Write the resolved configuration, the constants and the provenance of a scenario."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from alliance.files import read_json, write_json
from alliance.provenance import provenance


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenario", required=True)
    parser.add_argument("--reason", required=True)
    parser.add_argument("--config", required=True, type=json.loads, help="resolved configuration as JSON")
    parser.add_argument("--statuses", nargs="*", type=Path, default=[])
    parser.add_argument("--constants", nargs="*", type=Path, default=[])
    parser.add_argument("--instruments", nargs="*", type=Path, default=[])
    parser.add_argument("--code", nargs="*", type=Path, default=[])
    parser.add_argument("--lock", required=True, type=Path)
    parser.add_argument("--project", required=True, type=Path, help="the project's folder; names of its files start there")
    parser.add_argument("--output", required=True, type=Path)
    given = parser.parse_args()

    def name(path: Path) -> str:
        inside = os.path.relpath(path, given.project)
        return path.name if inside.startswith("..") else Path(inside).as_posix()

    write_json(given.output / "resolved_config.json", given.config)
    write_json(given.output / "constants.json", {path.parent.name: read_json(path) for path in given.constants})
    write_json(
        given.output / "provenance.json",
        provenance(
            given.scenario,
            given.reason,
            given.config,
            [read_json(path) for path in given.statuses],
            {name(path): path for path in given.code},
            {name(path): path for path in given.instruments},
            given.lock,
        ),
    )


if __name__ == "__main__":
    main()
