"""Checking, cleaning and scoring one large site, against reading the same file with pyarrow and writing it as Parquet.

Prints processor time, their ratio (target 3, limit 10) and peak memory (limit 3 GB).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from measure import PROJECT, best, script

ITEMS = 36
PEER = """
import sys
import pyarrow.csv, pyarrow.parquet
pyarrow.set_cpu_count(1)
table = pyarrow.csv.read_csv(sys.argv[1], read_options=pyarrow.csv.ReadOptions(use_threads=False))
pyarrow.parquet.write_table(table, sys.argv[2], compression="zstd")
"""
SITE = """
label: Benchmark
data: rows
missing_codes: {"-9": skipped}
tables:
  - table: ratings
    files: ratings.csv
    instrument: wai_36
    rater: client
    columns: {client_id: client, therapist_id: therapist, session: session}
    items: "wai_{item}"
"""


def write_site(folder: Path, rows: int) -> None:
    """Write a site with plausible ratings: clients in therapists, 20 sessions each, a few skipped items."""
    random = np.random.default_rng(1993)
    clients = -(-rows // 20)
    client = np.repeat(np.arange(clients), 20)[:rows]
    session = np.tile(np.arange(1, 21), clients)[:rows]
    level = random.normal(5, 1, clients)[client][:, None]
    items = np.clip(np.rint(level + random.normal(0, 1, (rows, ITEMS))), 1, 7).astype(np.int8)
    items[random.random((rows, ITEMS)) < 0.01] = -9
    folder.mkdir(parents=True)
    (folder / "site.yaml").write_text(SITE, encoding="utf-8")
    with open(folder / "ratings.csv", "w", encoding="ascii") as file:
        file.write("client,therapist,session," + ",".join(f"wai_{item}" for item in range(1, ITEMS + 1)) + "\n")
        for start in range(0, rows, 50_000):
            stop = min(start + 50_000, rows)
            file.writelines(
                f"C{c:06d},T{c // 20:04d},{s}," + ",".join(map(str, row)) + "\n"
                for c, s, row in zip(client[start:stop].tolist(), session[start:stop].tolist(), items[start:stop].tolist())
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="session ratings")
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_site(folder / "data" / "large", given.rows)
        (folder / ".id_key").write_text("benchmark key, not a secret\n", encoding="ascii")
        (folder / ".id_key").chmod(0o600)
        (folder / "peer.py").write_text(PEER, encoding="ascii")
        data = folder / "data" / "large" / "ratings.csv"
        instruments = [str(path) for path in sorted((PROJECT / "workflow" / "instruments").glob("wai*.yaml"))]
        cleaning = json.dumps({"max_file_mb": 2000, "max_listed": 1000, "link_check": False, "latest_date": None})
        scoring = json.dumps(
            {
                "missing_rule": "instrument",
                "min_answered_proportion": 0.8,
                "derive_short_forms": False,
                "exclude_improvement_items": False,
            }
        )
        peer = best([sys.executable, str(folder / "peer.py"), str(data), str(folder / "peer.parquet")], given.runs)
        clean = best(
            script(
                "clean_site.py",
                *("--site", "large", "--folder", str(folder / "data" / "large"), "--instruments", *instruments),
                *("--options", cleaning, "--withdrawn", "", "--key-file", str(folder / ".id_key")),
                *("--output", str(folder / "sites" / "large"), "--quarantine", str(folder / "quarantine" / "large")),
            ),
            given.runs,
        )
        status = json.loads((folder / "sites" / "large" / "status.json").read_text(encoding="utf-8"))
        assert status["status"] != "excluded" and status["files"][0]["rows_used"] == given.rows, status
        score = best(
            script(
                "score_site.py",
                *("--site-tables", str(folder / "sites" / "large"), "--instruments", *instruments, "--options", scoring),
                *("--output", str(folder / "scores" / "large")),
            ),
            given.runs,
        )
        assert peer.status == clean.status == score.status == 0
        print(f"{given.rows:,} session ratings x {ITEMS} items, {data.stat().st_size / 1e6:.0f} MB of CSV")
        print(f"pyarrow read + Parquet  {peer.cpu:6.1f} s CPU  {peer.peak_mb:6.0f} MB")
        print(f"check and clean         {clean.cpu:6.1f} s CPU  {clean.peak_mb:6.0f} MB  ratio {clean.cpu / peer.cpu:.2f}")
        print(f"score                   {score.cpu:6.1f} s CPU  {score.peak_mb:6.0f} MB  ratio {score.cpu / peer.cpu:.2f}")
        together = clean.cpu + score.cpu
        print(f"together                {together:6.1f} s CPU, ratio {together / peer.cpu:.2f} (target 3, limit 10)")
        print(f"peak memory             {max(clean.peak_mb, score.peak_mb):6.0f} MB (limit 3000)")


if __name__ == "__main__":
    main()
