"""Programs that others wrote accept what is published: cffconvert, frictionless, and the reader of research objects."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import PROJECT
from unit import bundled_study

REQUIREMENTS = PROJECT / "envs" / "validators.txt"
MINUTES = 8


@pytest.fixture(scope="module")
def programs(request: pytest.FixtureRequest) -> Path:
    """The folder of programs of an environment with the validators, made once and kept with what pytest keeps."""
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()[:12]
    kept = Path(request.config.cache.mkdir("validators"))
    folder, done = kept / wanted, kept / f"{wanted}.done"
    with open(kept / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            calls = [
                [sys.executable, "-m", "venv", str(folder)],
                [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", "--requirement", str(REQUIREMENTS)],
            ]
            for call in calls:
                try:
                    made = subprocess.run(call, capture_output=True, text=True, timeout=60 * MINUTES)
                except subprocess.TimeoutExpired:
                    pytest.skip(
                        f"the validators could not be installed within {MINUTES} minutes; run the tests again where packages load faster"
                    )
                if made.returncode:
                    said = (made.stderr or made.stdout).strip().splitlines()[-1]
                    pytest.skip(f"needs pip to reach a package registry, to install the validators; pip said: {said}")
            done.touch()
    return folder / "bin"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle."""
    return bundled_study.write(tmp_path_factory.mktemp("bundle"), bundled_study.public())


def call(program: Path, *arguments: str, at: Path) -> subprocess.CompletedProcess[str]:
    # Another Python's modules do not belong into this environment.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run([str(program), *arguments], cwd=at, capture_output=True, text=True, env=environment)


def test_the_citation_file_is_valid_and_can_be_turned_into_other_formats(programs, folder, tmp_path):
    result = call(programs / "cffconvert", "--validate", "-i", "CITATION.cff", at=folder)
    assert result.returncode == 0 and "valid according to schema version 1.2.0" in result.stdout, result.stdout + result.stderr
    printed = call(programs / "cffconvert", "-f", "bibtex", "-i", "CITATION.cff", at=folder)
    assert "Demo study of the therapeutic alliance" in printed.stdout and "10.5281/zenodo.1234567" in printed.stdout
    (tmp_path / "CITATION.cff").write_text(
        (folder / "CITATION.cff").read_text(encoding="utf-8").replace("authors:", "people:"), encoding="utf-8"
    )
    assert call(programs / "cffconvert", "--validate", "-i", "CITATION.cff", at=tmp_path).returncode != 0


FRICTIONLESS = """
import json, sys
from frictionless import validate
report = validate("datapackage.json")
errors = [error.note for task in report.tasks for error in task.errors][:5]
print(json.dumps({"valid": report.valid, "tables": len(report.tasks), "errors": errors}))
"""


def test_every_table_is_what_the_data_package_says(programs, folder, tmp_path):
    result = call(programs / "python", "-c", FRICTIONLESS, at=folder)
    told = json.loads(result.stdout.strip().splitlines()[-1])
    tables = json.loads((folder / "datapackage.json").read_text(encoding="utf-8"))["resources"]
    assert told == {"valid": True, "tables": len(tables), "errors": []}, result.stderr
    shutil.copytree(folder / "tables", tmp_path / "tables")
    shutil.copy(folder / "datapackage.json", tmp_path)
    path = tmp_path / "tables" / "alliance_outcome" / "pooled.csv"
    path.write_text(path.read_text(encoding="utf-8").replace(",estimated,", ",guessed,"), encoding="utf-8")
    assert not json.loads(call(programs / "python", "-c", FRICTIONLESS, at=tmp_path).stdout.strip().splitlines()[-1])["valid"]


ROCRATE = """
import json
from rocrate.rocrate import ROCrate
crate = ROCrate(".")
run = crate.dereference("#run")
print(json.dumps({
    "name": crate.name,
    "workflow": crate.mainEntity.id,
    "language": crate.mainEntity["programmingLanguage"]["name"],
    "files": sorted(entity.id for entity in crate.data_entities),
    "made": len(run["result"]),
    "from": [entity.id for entity in run["object"]],
    "published": str(crate.root_dataset["datePublished"]),
}))
"""


def test_the_research_object_can_be_read(programs, folder):
    result = call(programs / "python", "-c", ROCRATE, at=folder)
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout.strip().splitlines()[-1])
    files = bundled_study.public().files
    assert told["name"].startswith("Demo study") and told["workflow"] == "workflow/Snakefile" and told["language"] == "Snakemake"
    left_out = {"ro-crate-metadata.json", *(name for name in files if name.endswith(".zip"))}
    assert set(told["files"]) == set(files) - left_out
    assert told["from"] == ["config.yaml", "#data"] and told["published"].startswith("2026-12-01")
    assert told["made"] == sum(name.endswith((".html", ".svg", ".csv")) for name in files)
