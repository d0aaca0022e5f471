"""Publishing a study that has been computed: base alone, and all scenarios together.

Prints wall and processor seconds and the memory of the largest process. Limits on two cores that nothing else uses: base 40 s, the twelve
scenarios of the demo 300 s. Where a machine is shared, processor seconds over the number of cores say more. Give an older checkout of the
project to have its bundles built from the same results too, and the ratio of processor seconds printed; both bundles are compared file
by file.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from measure import PROJECT, Cost, cost

sys.path.insert(0, str(PROJECT / "scripts"))

from alliance.configuration.study import BASE, load
from alliance.launch import publish_bundle

OWN = {"verify_bundle.py", "manifest-sha256.txt", "ro-crate-metadata.json"}
"""Files that differ between two versions of the code."""
SCRIPT = "scripts/publish.py"


def published(study: Path, scenarios: list[str], cores: int, output: Path, older: Path | None = None) -> Cost:
    """Build a bundle of some scenarios, with an older checkout's code where one is given, and return what it cost."""
    call = publish_bundle.command(load(study / "config.yaml"), scenarios, cores, str(output))
    if older is not None:
        place = call.index("--processes")
        call = [str(older / SCRIPT) if part.endswith(SCRIPT) else part for part in call[:place] + call[place + 2 :]]
    spent = cost(call, study)
    if spent.status:
        raise SystemExit(f"{older or 'this checkout'} cannot publish these results (status {spent.status}); it may know other tables")
    return spent


def differing(first: Path, second: Path) -> list[str]:
    """Return the files in which two bundles differ, without those that hold the code."""
    held = [
        {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (first, second)
    ]
    names = {name for files in held for name in files if name not in OWN and not name.endswith(".zip")}
    return sorted(name for name in names if held[0].get(name) != held[1].get(name))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", type=Path, default=PROJECT, help="folder of a study with results of its scenarios")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--only", choices=("base", "all"), help="what is published; default: both")
    parser.add_argument("--older", type=Path, help="an older checkout of the project")
    given = parser.parse_args()
    study = load(given.study / "config.yaml")
    computed = [name for name in study.scenarios if (study.folder / "results" / name / "tables").is_dir()]
    for label, scenarios in {"base": [BASE], "all": computed}.items():
        if given.only not in (None, label):
            continue
        with tempfile.TemporaryDirectory() as name:
            now = published(study.folder, scenarios, given.cores, Path(name) / "now")
            told = f"{len(scenarios):2} scenarios: {now.wall:6.1f} s, {now.cpu:6.1f} s of processor time, {now.peak_mb:.0f} MB"
            if given.older:
                before = published(study.folder, scenarios, given.cores, Path(name) / "older", given.older.resolve())
                other = differing(Path(name) / "now", Path(name) / "older")
                told += f"; older {before.cpu:.1f} s, {before.cpu / now.cpu:.1f} times as much; files that differ: {other or 'none'}"
        print(told, flush=True)


if __name__ == "__main__":
    main()
