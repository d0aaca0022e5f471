"""What results rest on: input files, code, instruments, packages, seed; and the key that replaces ids."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import stat
from pathlib import Path
from typing import Any

from alliance import __version__
from alliance.configuration.errors import ConfigurationError, Fault
from alliance.files import digest, sha256, write_text

ID_KEY_VARIABLE = "ALLIANCE_ID_KEY"
ID_KEY_FILE = ".id_key"
FINGERPRINT_FILE = "results/private/id_key_fingerprint.txt"
MAIN_PACKAGES = (
    "jinja2",
    "matplotlib",
    "numpy",
    "pandas",
    "pingouin",
    "pyarrow",
    "pydantic",
    "pyreadstat",
    "python-calamine",
    "scipy",
    "semopy",
    "snakemake",
)


def ensure_id_key(folder: Path) -> list[str]:
    """Make sure that the study has a key for its ids, and that it is the one used before.

    The key comes from the environment variable ``ALLIANCE_ID_KEY`` or from the file ``.id_key`` (made at the first run, readable by its
    owner only). Only a fingerprint of it is kept with the results.

    Parameters
    ----------
    folder : Path
        The study's folder.

    Returns
    -------
    list of str
        Warnings.

    Raises
    ------
    ConfigurationError
        Where the key is missing or another one while results made with a key exist, or the file cannot be used.
    """
    path = folder / ID_KEY_FILE
    fingerprint_path = folder / FINGERPRINT_FILE
    known = fingerprint_path.read_text(encoding="ascii").strip() if fingerprint_path.exists() else None
    warnings = []
    key = os.environ.get(ID_KEY_VARIABLE, "").encode()
    if not key:
        if path.exists():
            if stat.S_IMODE(path.stat().st_mode) & 0o077:
                warnings.append(f"{ID_KEY_FILE} can be read by others; run: chmod 600 {ID_KEY_FILE}")
            key = path.read_bytes().strip()
        elif known:
            raise _key_fault(
                "the key that replaced the ids of earlier results is missing; put the file back (or set "
                f"{ID_KEY_VARIABLE}), or run `make clean` to start anew with a new key"
            )
        else:
            key = secrets.token_hex(32).encode()
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(key + b"\n")
    if len(key) < 16:
        raise _key_fault("the key for ids is shorter than 16 characters; use a longer one, or delete the file to have one made")
    fingerprint = hashlib.sha256(b"alliance-pipeline id key fingerprint\x00" + key).hexdigest()[:16]
    if known and known != fingerprint:
        raise _key_fault(
            "the key for ids is not the one that earlier results were made with, so clients would get other ids; restore the old key, "
            "or run `make clean` to start anew"
        )
    if not known:
        (folder / "results" / "private").mkdir(parents=True, exist_ok=True, mode=0o700)
        (folder / "results" / "private").chmod(0o700)
        write_text(fingerprint_path, fingerprint + "\n")
    return warnings


def _key_fault(message: str) -> ConfigurationError:
    return ConfigurationError([Fault(ID_KEY_FILE, 0, "", message)])


def package_versions(lock: Path) -> dict[str, str]:
    """Return the pinned versions of the packages that numbers and pages depend on, as the lock file names them."""
    pinned = dict(re.findall(r"^([A-Za-z0-9_.-]+)==([^\s;\\]+)", lock.read_text(encoding="utf-8"), re.MULTILINE))
    return {name: pinned[name] for name in MAIN_PACKAGES if name in pinned}


def provenance(
    scenario: str,
    reason: str,
    config: dict[str, Any],
    statuses: list[dict[str, Any]],
    code: dict[str, Path],
    instruments: dict[str, Path],
    lock: Path,
) -> dict[str, Any]:
    """Return what the results of a scenario rest on; no clock, path, machine or user.

    Parameters
    ----------
    scenario, reason : str
        Name of the scenario and why it is run.
    config : dict
        Its resolved configuration.
    statuses : list of dict
        Every site's ``status.json``.
    code, instruments : dict of str to Path
        Files by their name inside the project or study.
    lock : Path
        The lock file.

    Returns
    -------
    dict
    """
    inputs = [{"site": status["site"], "file": file["file"], "sha256": file["sha256"]} for status in statuses for file in status["files"]]
    inputs.sort(key=lambda entry: (entry["site"], entry["file"]))
    code_hashes = {name: sha256(path) for name, path in sorted(code.items())}
    instrument_hashes = {name: sha256(path) for name, path in sorted(instruments.items())}
    return {
        "version": __version__,
        "scenario": scenario,
        "reason": reason,
        "inputs": inputs,
        "data_digest": digest(inputs),
        "config_digest": digest(config),
        "code_digest": digest(code_hashes),
        "instruments_digest": digest(instrument_hashes),
        "lock_digest": sha256(lock)[:12],
        "code": code_hashes,
        "instruments": instrument_hashes,
        "packages": package_versions(lock),
        "seed": config["study"]["seed"],
    }
