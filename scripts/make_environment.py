"""Build .venv from the hashed lock file, again only when the lock's content changes.

Standard library only: it runs before anything is installed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
LOCK = PROJECT / "envs" / "requirements.lock"
ENVIRONMENT = PROJECT / ".venv"
STAMP = ENVIRONMENT / "lock.sha256"


def lock_hash() -> str:
    """Return what the environment must have been built from: the lock and the Python that runs it."""
    content = LOCK.read_bytes() + f"\npython {sys.version_info.major}.{sys.version_info.minor}".encode()
    return hashlib.sha256(content).hexdigest()


def is_current() -> bool:
    """Return whether .venv was built from this lock."""
    return STAMP.exists() and STAMP.read_text(encoding="ascii").strip() == lock_hash() and (ENVIRONMENT / "bin" / "python").exists()


def build() -> None:
    """Make .venv anew; its stamp is written last, so an interrupted build starts again."""
    print("Building the environment in .venv from envs/requirements.lock (a few minutes, once) ...", flush=True)
    if ENVIRONMENT.is_symlink():
        ENVIRONMENT.unlink()
    shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    try:
        venv.create(ENVIRONMENT, with_pip=True, symlinks=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"The environment could not be made: {error}", flush=True)
        print(
            "exit status 2: nothing was started; install Python's venv and pip (on Debian: apt install python3-venv) and run again",
            flush=True,
        )
        sys.exit(2)
    install = [str(ENVIRONMENT / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
    variables = {name: value for name, value in os.environ.items() if name not in ("PYTHONHOME", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE")}
    result = subprocess.run([*install, "-r", str(LOCK)], env=variables)
    if result.returncode:
        print("exit status 2: the environment could not be built; check the network and the messages above, then run again", flush=True)
        sys.exit(2)
    STAMP.write_text(lock_hash() + "\n", encoding="ascii")


def conda_environment() -> str:
    """Return an environment.yaml with the versions of the lock, for people who use conda."""
    pinned = re.findall(r"^([A-Za-z0-9_.-]+==[^\s;\\]+)( ;[^\\\n]+)?", LOCK.read_text(encoding="utf-8"), re.MULTILINE)
    lines = ["# Generated from requirements.lock by `make lock`.", "name: alliance-pipeline", "channels: [conda-forge]", "dependencies:"]
    lines += ["  - python>=3.11", "  - pip", "  - pip:"]
    lines += [f'      - "{version}{marker.rstrip()}"' if marker else f"      - {version}" for version, marker in pinned]
    return "\n".join(line.replace('""', '"') for line in lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--conda", type=Path, help="write an environment.yaml here instead of building")
    given = parser.parse_args()
    if given.conda:
        given.conda.write_text(conda_environment(), encoding="utf-8")
    elif not is_current():
        build()


if __name__ == "__main__":
    main()
