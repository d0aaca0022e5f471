"""Plain comma-separated files of any size: one file a table, one row a client and session."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pandas as pd

from alliance.demo.exports.sheet import answers
from alliance.demo.measures import FORMS, Tables

SESSION_COLUMNS = "{client_id: client_id, therapist_id: therapist_id, session: session, date: date}"
OTHER_COLUMNS = "{client_id: client_id, timepoint: timepoint, date: date}"


def write(folder: Path, tables: Tables, label: str, id_pattern: str) -> None:
    """Write a site as plain CSV with its ``site.yaml``.

    Parameters
    ----------
    folder : Path
        The site's folder.
    tables : Tables
        The site's tables; every instrument in them is sent.
    label : str
        Name of the site.
    id_pattern : str
        Regular expression of its client ids.
    """
    folder.mkdir(parents=True, exist_ok=True)
    entries = [_clients_entry(tables.clients), _therapists_entry(tables.therapists)]
    _write(folder / "clients.csv", tables.clients)
    _write(folder / "therapists.csv", tables.therapists)
    _write(folder / "sessions.csv", tables.sessions)
    entries.append(_entry("sessions", "sessions.csv", columns="{" + _pairs(tables.sessions.columns) + "}"))
    for name, frame in tables.ratings.items():
        entries += _ratings(folder, name, frame, tables)
    _write(folder / "events.csv", tables.events.assign(target=tables.events["target"].replace("", None)))
    entries.append(_entry("events", "events.csv", rater="observer", columns="{" + _pairs(tables.events.columns) + "}"))
    _write(folder / "termination.csv", tables.termination)
    entries.append(_entry("termination", "termination.csv", columns="{" + _pairs(tables.termination.columns) + "}"))
    head = f"# SIMULATED DATA.\nlabel: {json.dumps(label)}\nid_pattern: {json.dumps(id_pattern)}\ntransfers: accept\n\ntables:\n"
    (folder / "site.yaml").write_bytes((head + "\n".join(entries)).encode())


def _ratings(folder: Path, name: str, frame: pd.DataFrame, tables: Tables) -> list[str]:
    """Write the session rows and the other rows of an instrument to files of their own."""
    collected = tables.collected[name]
    form = FORMS[collected.instrument]
    names = answers(frame)
    raters = ["rater_no"] if collected.raters > 1 else []
    content = {"items": '"i{item}"'} if form.n_items else {"scales": "{" + _pairs(names) + "}", "unit": "sum" if form.low < -1 else "mean"}
    entries = []
    at_session = frame["timepoint"] == "session"
    if at_session.any():
        rows = frame if at_session.all() else frame[at_session]
        _write(folder / f"{name}.csv", rows[["client_id", "therapist_id", "session", "date", *raters, *names]])
        columns = SESSION_COLUMNS[:-1] + ", rater_no: rater_no}" if raters else SESSION_COLUMNS
        entries.append(_entry("ratings", f"{name}.csv", instrument=collected.instrument, rater=collected.rater, columns=columns, **content))
    if not at_session.all():
        rows = frame[~at_session]
        _write(folder / f"{name}_outcome.csv", rows[["client_id", "timepoint", "date", *names]])
        table = "ratings" if form.n_items else "outcomes"
        entries.append(
            _entry(table, f"{name}_outcome.csv", instrument=collected.instrument, rater=collected.rater, columns=OTHER_COLUMNS, **content)
        )
    return entries


def _write(path: Path, frame: pd.DataFrame) -> None:
    import pyarrow as pa
    from pyarrow import csv

    columns = {}
    for name in frame.columns:
        values = frame[name]
        columns[name] = pa.array(values.to_numpy("datetime64[D]")) if values.dtype.kind == "M" else pa.array(values, from_pandas=True)
    content = io.BytesIO()
    content.write((",".join(frame.columns) + "\n").encode())
    csv.write_csv(pa.table(columns), content, csv.WriteOptions(include_header=False, quoting_style="needed"))
    path.write_bytes(content.getvalue())


def _pairs(names: pd.Index | list[str]) -> str:
    return ", ".join(f"{name}: {name}" for name in names)


def _clients_entry(clients: pd.DataFrame) -> str:
    return _entry("clients", "clients.csv", columns="{" + _pairs(clients.columns) + "}")


def _therapists_entry(therapists: pd.DataFrame) -> str:
    return _entry("therapists", "therapists.csv", columns="{" + _pairs(therapists.columns) + "}")


def _entry(table: str, file: str, **keys: str) -> str:
    lines = [f"  - table: {table}", f"    files: {file}", *(f"    {key}: {value}" for key, value in keys.items())]
    return "\n".join(lines) + "\n"
