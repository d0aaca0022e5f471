"""Whole runs: the demo from nothing, a run with nothing to do, and how cost grows with the number of sites.

The limits are those of the foundation's three questions; what all questions cost stands beside them. Prints wall and processor seconds,
the share of a cold run that goes into imports and into Snakemake itself, and the cost a site.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
from pathlib import Path

from measure import PROJECT, Cost, cost, script

FOUNDATION = "convergent_validity path_models client_factors"


def run(study: Path, cores: int) -> Cost:
    return cost(script("pipeline.py", "run", "--config", str(study / "config.yaml"), "--cores", str(cores)))


def only(study: Path, questions: str) -> None:
    """Switch off all other questions in a study's configuration, so that a run with nothing to do is one of the whole study."""
    config = study / "config.yaml"
    text = config.read_text(encoding="utf-8")
    section = text.index("\nquestions:")
    present = re.findall(r"\n  (\w+):[^\n]*\n    enabled: true", text[section:])
    assert set(questions.split()) <= set(present), questions
    for question in sorted(set(present) - set(questions.split())):
        text, found = re.subn(rf"(\n  {question}:[^\n]*\n    enabled:) true", r"\1 false", text)
        assert found == 1, question
    config.write_text(text, encoding="utf-8")


def demo(cores: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        study = Path(name)
        for part in ("config.yaml", "data"):
            source = PROJECT / part
            (shutil.copytree if source.is_dir() else shutil.copy)(source, study / part)
        full = run(study, cores)
        assert full.status == 0
        shutil.rmtree(study / "results")
        shutil.rmtree(study / ".snakemake")
        only(study, FOUNDATION)
        cold = run(study, cores)
        assert cold.status == 0
        nothing = run(study, cores)
        call = [sys.executable, "-m", "snakemake", "--snakefile", str(PROJECT / "Snakefile"), "--directory", str(study), "--nolock", "-n"]
        engine = cost(call)
        assert engine.status == 0
        sites = len(list((study / "data" / "demo").glob("*/site.yaml")))
    warm = f"import sys; sys.path.insert(0, {str(PROJECT / 'scripts')!r}); from alliance.launch.warm_process import imported; imported()"
    imports = cost([sys.executable, "-c", warm]).cpu + cost([sys.executable, "-c", "import jinja2, matplotlib.figure"]).cpu
    print(f"demo, {sites} sites, {len(FOUNDATION.split())} questions, {cores} cores, environment ready")
    print(f"  cold run        {cold.wall:6.1f} s wall (limit 90)  {cold.cpu:6.1f} s CPU")
    print(f"  of that         imports about {imports / cold.cpu:.0%}, Snakemake itself about {engine.cpu / cold.cpu:.0%}")
    print(f"  nothing to do   {nothing.wall:6.1f} s wall")
    print(f"  all questions   {full.wall:6.1f} s wall             {full.cpu:6.1f} s CPU")


def growth(sizes: list[int], cores: int, questions: str) -> None:
    print(f"growth with {questions}")
    before: tuple[int, float] | None = None
    for sites in sizes:
        with tempfile.TemporaryDirectory() as name:
            study = Path(name) / "study"
            made = cost(
                script("generate_demo.py", "--output", str(study), "--sites", str(sites), "--formats", "csv", "--no-faults", "--seed", "1")
            )
            assert made.status == 0
            only(study, questions)
            cold = run(study, cores)
            assert cold.status == 0, cold
            nothing = run(study, cores)
        line = f"{sites:4d} sites: cold {cold.wall:7.1f} s wall, {cold.cpu:7.1f} s CPU ({cold.cpu / sites:.2f} a site)"
        line += f"; nothing to do {nothing.wall:5.1f} s"
        if sites == 50:
            line += " (limit 4)"
        if before:
            line += f"; {sites / before[0]:.0f} times the sites cost {cold.cpu / before[1]:.1f} times the processor time"
        print(line, flush=True)
        before = (sites, cold.cpu)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--sizes", type=int, nargs="*", default=[5, 50, 500], help="numbers of sites")
    parser.add_argument("--questions", default=FOUNDATION, help="questions of the growing studies, in one argument")
    parser.add_argument("--growth-only", action="store_true", help="leave out the demo")
    given = parser.parse_args()
    if not given.growth_only:
        demo(given.cores)
    growth(given.sizes, given.cores, given.questions)


if __name__ == "__main__":
    main()
