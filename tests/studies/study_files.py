"""Writing the real studies as study folders: ``python tests/studies/study_files.py lq2002 --folder FOLDER``."""

from __future__ import annotations

import argparse
import csv
import importlib.util
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType

STUDIES = Path(__file__).resolve().parent
REALDATA = Path(os.environ.get("ALLIANCE_REAL_DATA") or STUDIES.parents[2] / "shared" / "realdata")
NAMES = ("lq2002", "lq2002_units", "mibot", "roorda", "sai")


def maker(name: str) -> ModuleType:
    """Return the module that writes a study."""
    specification = importlib.util.spec_from_file_location(f"make_{name}", STUDIES / name / "make_study.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def start_study(name: str, folder: Path) -> Path:
    """Put a study's instruments and configuration into a new or empty folder and return its configuration file."""
    shutil.copytree(STUDIES / name / "instruments", folder / "instruments")
    return Path(shutil.copy(STUDIES / name / "config.yaml", folder / "config.yaml"))


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file with a header."""
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_site(folder: Path, site: str, file: str, header: Sequence[str], rows: Iterable[Sequence[object]], site_file: str) -> None:
    """Write one site of a study: a CSV file and its ``site.yaml``."""
    place = folder / "data" / site
    place.mkdir(parents=True)
    with open(place / file, "w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
    (place / "site.yaml").write_text(site_file, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", choices=NAMES)
    parser.add_argument("--folder", type=Path, required=True, help="where to write the study")
    parser.add_argument("--realdata", type=Path, default=REALDATA, help="folder of the real data sets")
    given = parser.parse_args()
    print(maker(given.study).make_study(given.folder, given.realdata))


if __name__ == "__main__":
    main()
