"""Reliability and all pairs of measures of one site: processor time of the two questions, without imports, limit 5 s together.

Sites are those of a computed study (`--study`, default the demo; computed first where it is not). `make bench` prints it with the others.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from measure import PROJECT, script

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path.insert(0, str(PROJECT / "scripts"))

from alliance.files import read_json
from alliance.instruments.registry import load_registry
from alliance.questions.convergent_validity import question as convergent_validity
from alliance.questions.measurement import question as measurement
from alliance.questions.measurement import reliability as measurement_reliability
from alliance.questions.site_data import read

LIMIT = 5.0


def seconds(function, *arguments) -> float:
    """Return the least processor time of two calls: the first also imports what is imported late."""
    times = []
    for _ in range(2):
        start = time.process_time()
        function(*arguments)
        times.append(time.process_time() - start)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", type=Path, default=PROJECT, help="folder of the study")
    study = parser.parse_args().study
    results = study / "results"
    if not (results / "base" / "resolved_config.json").exists():
        subprocess.run(script("pipeline.py", "run", "--config", str(study / "config.yaml")), check=True)
    options = read_json(results / "base" / "resolved_config.json")
    options["seed"] = options["study"]["seed"]
    own = study / "instruments"
    instruments = load_registry([PROJECT / "workflow" / "instruments", *([own] if own.is_dir() else [])])
    print("site                  reliability  pairs  together  all of measurement")
    most = 0.0
    for folder in sorted((results / "sites").iterdir()):
        scores = next((results / "scores").glob(f"*/{folder.name}"))
        if read_json(folder / "status.json")["status"] == "excluded":
            continue
        site = read(folder.name, folder, scores, instruments)
        reliability = seconds(measurement_reliability.estimate, site, options)
        pairs = seconds(convergent_validity.estimate, site, options, {})
        whole = seconds(measurement.estimate, site, options, {})
        most = max(most, reliability + pairs)
        print(f"{folder.name:20}  {reliability:9.2f} s  {pairs:4.2f} s  {reliability + pairs:6.2f} s  {whole:6.2f} s")
    print(f"reliability and all pairs: at most {most:.2f} s a site (limit {LIMIT:.0f} s): {'met' if most < LIMIT else 'NOT met'}")


if __name__ == "__main__":
    main()
