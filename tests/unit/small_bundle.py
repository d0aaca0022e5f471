"""A small bundle that is in order, written by hand, into which tests plant faults."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

TABLE = "question,estimate\nhow strong,.25\n"
FILES = {
    "index.html": '<!DOCTYPE html><html lang="en"><body><h1 id="top">Results</h1>\n'
    '<a href="base/report/index.html#sites">Report</a></body></html>\n',
    "base/report/index.html": '<html lang="en"><body><h2 id="sites">Sites</h2><a href="../../index.html">All</a>\n'
    '<img alt="" src="data:image/svg+xml,%3Csvg%3E%3C/svg%3E"><a href="https://doi.org/10.1037/0022-006X.61.4.561">Review</a></body></html>\n',
    "tables/alliance/pooled.csv": TABLE,
    "figures/base/forest.svg": '<svg xmlns="http://www.w3.org/2000/svg"><title>Forest</title><path d="M0 0L1 1"/></svg>\n',
    "methods.md": "# Methods\n\nCorrelations were pooled [@viechtbauer_2005].\n",
    "references.bib": "@article{viechtbauer_2005, title = {Bias}, pages = {1--19}, doi = {10.1037/0022-0167.38.2.139}}\n",
    "config.yaml": "study:\n  title: A study\n  seed: 1993\n",
    "codebook.csv": "table,column\nalliance/pooled,estimate\n",
    "requirements.lock": "certifi==2025.11.12 \\\n    --hash=sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n",
    "CITATION.cff": "cff-version: 1.2.0\ndate-released: '2026-12-01'\n",
    "disclosure.json": '{"profile": "public", "not_leaks": ["2026-12-01"]}\n',
}


def crate(names: list[str]) -> str:
    """Return a research object that lists some files."""
    return json.dumps({"@graph": [{"@id": name, "@type": "File"} for name in names]})


def package(table: str = TABLE) -> str:
    """Return the description of the one table."""
    content = table.encode()
    fields = [{"name": name, "type": "string"} for name in TABLE.splitlines()[0].split(",")]
    resource = {
        "path": "tables/alliance/pooled.csv",
        "bytes": len(content),
        "hash": f"sha256:{hashlib.sha256(content).hexdigest()}",
        "schema": {"fields": fields},
    }
    return json.dumps({"resources": [resource]})


def write(folder: Path, changed: dict[str, bytes] | None = None) -> Path:
    """Write the bundle with some files changed or added; hashes, archive and description are those of what is written."""
    files = {name: text.encode() for name, text in FILES.items()} | (changed or {})
    files.setdefault("datapackage.json", package(files["tables/alliance/pooled.csv"].decode("utf-8", "replace")).encode())
    files.setdefault("ro-crate-metadata.json", crate(sorted(files)).encode())
    files["manifest-sha256.txt"] = "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files)).encode()
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    with zipfile.ZipFile(folder / "a-study.zip", "w") as archive:
        for name, content in sorted(files.items()):
            archive.writestr(f"a-study/{name}", content)
    return folder
