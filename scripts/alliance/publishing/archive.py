"""The list of hashes and the archive of a bundle: the same bytes for the same files."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping

EARLIEST = (1980, 1, 1, 0, 0, 0)
"""The first date that an archive can hold; all members have it."""

_REGULAR_FILE = 0o100644


def manifest(files: Mapping[str, bytes]) -> str:
    """Return the SHA-256 of every file, one a line, as ``sha256sum --check`` reads them."""
    return "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files))


def archive(files: Mapping[str, bytes], folder: str) -> bytes:
    """Return a zip archive that unpacks into one folder: names sorted, one date, one permission, nothing of the machine."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        for name in sorted(files):
            member = zipfile.ZipInfo(f"{folder}/{name}", EARLIEST)
            member.external_attr = _REGULAR_FILE << 16
            member.compress_type = zipfile.ZIP_DEFLATED
            # Unix in any case: the archive does not tell the system it was made on.
            member.create_system = 3
            file.writestr(member, files[name])
    return made.getvalue()
