"""Plain comma-separated files of any size: one file a table, one row a client and session."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv

from alliance.demo.exports.sheet import answers
from alliance.demo.measures import FORMS, Collected, Tables

IDS = ("client_id", "therapist_id", "timepoint", "session", "date", "rater_no")


@dataclass(frozen=True)
class PlainFile:
    """One file of every site: its name, the rows of all sites, the site of every row, and its entry in ``site.yaml``."""

    name: str
    table: pa.Table
    site: np.ndarray
    entry: str


def plain_files(tables: Tables, site_of_client: np.ndarray, site_of_therapist: np.ndarray) -> list[PlainFile]:
    """Return the files of a study.

    Parameters
    ----------
    tables : Tables
        All sites together, with the column ``client``.
    site_of_client, site_of_therapist : ndarray of int
        Ascending.
    """
    found = [
        _file("clients", "clients.csv", tables.clients, site_of_client),
        PlainFile(
            "therapists.csv", _arrow(tables.therapists), site_of_therapist, _entry("therapists", "therapists.csv", tables.therapists)
        ),
        _file("sessions", "sessions.csv", tables.sessions, site_of_client),
    ]
    for name, frame in tables.ratings.items():
        found += _rating_files(name, frame, tables.collected[name], site_of_client)
    events = tables.events.assign(target=tables.events["target"].replace("", None))
    found.append(_file("events", "events.csv", events, site_of_client, rater="observer"))
    found.append(_file("termination", "termination.csv", tables.termination, site_of_client))
    return found


def write_site(folder: Path, files: Iterable[PlainFile], site: int, label: str, id_pattern: str) -> None:
    """Write one site of a study with its ``site.yaml``.

    Parameters
    ----------
    folder : Path
        The site's folder.
    files : iterable of PlainFile
        Files of the study.
    site : int
        Number of the site, from 0.
    label, id_pattern : str
        For ``site.yaml``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        first, last = np.searchsorted(file.site, [site, site + 1])
        (folder / file.name).write_bytes(_csv(file.table.slice(first, last - first)))
    head = f"# SIMULATED DATA.\nlabel: {json.dumps(label)}\nid_pattern: {json.dumps(id_pattern)}\ntransfers: accept\n\ntables:\n"
    (folder / "site.yaml").write_bytes((head + "\n".join(file.entry for file in files)).encode())


def _rating_files(name: str, frame: pd.DataFrame, collected: Collected, site: np.ndarray) -> list[PlainFile]:
    """Return the session rows and the other rows of an instrument as files of their own."""
    form = FORMS[collected.instrument]
    names = answers(frame.drop(columns="client"))
    content = {"items": '"i{item}"'} if form.n_items else {"scales": _pairs(names), "unit": form.unit}
    facts = {"instrument": collected.instrument, "rater": collected.rater}
    found = []
    at_session = (frame["timepoint"] == "session").to_numpy()
    if at_session.any():
        unused = ["timepoint"] if collected.raters > 1 else ["timepoint", "rater_no"]
        rows = (frame if at_session.all() else frame[at_session]).drop(columns=unused)
        found.append(_file("ratings", f"{name}.csv", rows, site, **facts, **content))
    for timepoint in collected.timepoints:
        rows = frame[(frame["timepoint"] == timepoint).to_numpy()].drop(columns=["timepoint", "session", "rater_no"])
        table = "ratings" if form.n_items else "outcomes"
        found.append(_file(table, f"{name}_{timepoint}.csv", rows, site, **facts, timepoint=timepoint, **content))
    return found


def _file(table: str, name: str, frame: pd.DataFrame, site_of_client: np.ndarray, **keys: str) -> PlainFile:
    sent = frame.drop(columns="client")
    return PlainFile(name, _arrow(sent), site_of_client[frame["client"].to_numpy()], _entry(table, name, sent, **keys))


def _arrow(frame: pd.DataFrame) -> pa.Table:
    columns = {}
    for name in frame.columns:
        values = frame[name]
        columns[name] = pa.array(values.to_numpy("datetime64[D]")) if values.dtype.kind == "M" else pa.array(values, from_pandas=True)
    return pa.table(columns)


def _csv(table: pa.Table) -> bytes:
    content = io.BytesIO()
    content.write((",".join(table.column_names) + "\n").encode())
    csv.write_csv(table, content, csv.WriteOptions(include_header=False, quoting_style="needed"))
    return content.getvalue()


def _pairs(names: Iterable[str]) -> str:
    return "{" + ", ".join(f"{name}: {name}" for name in names) + "}"


def _entry(table: str, file: str, frame: pd.DataFrame, **keys: str) -> str:
    """Return an entry of ``tables`` that maps every column to itself, the answers of a form apart."""
    names = frame.columns if "instrument" not in keys else [name for name in frame.columns if name in IDS]
    keys |= {"columns": _pairs(names)}
    lines = [f"  - table: {table}", f"    files: {file}", *(f"    {key}: {value}" for key, value in keys.items())]
    return "\n".join(lines) + "\n"
