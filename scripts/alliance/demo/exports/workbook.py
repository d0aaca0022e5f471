"""Westbrook: one Excel workbook with a sheet for every table."""

from __future__ import annotations

import io
import re
import zipfile
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from alliance.demo.exports.sheet import Sheet, answers, at, numbered
from alliance.demo.measures import FORMS, Tables

FILE = "westbrook_export.xlsx"
OCCASION = {"intake": "intake", "session": "session", "post": "post", "follow_up": "6 months"}
WAI_SESSIONS = (1, 2, 3, 4, 5, 6, 9, 12, 15)
STAMP = (2025, 11, 3, 0, 0, 0)


def sheets(tables: Tables) -> list[Sheet]:
    """Return the sheets of the workbook."""
    r = tables.ratings
    client_wai = r["wai_36_client"]
    client_wai = client_wai[client_wai["session"].isin(WAI_SESSIONS)]
    client_haq = r["haq_2_client"]
    relationship = r["blri_empathy16_client"].merge(
        r["blri_os64_client"].drop(columns=["therapist_id", "timepoint", "date", "rater_no"]), on=["client_id", "session"], how="inner"
    )
    observed = r["blri_empathy16_observer"]
    outcome = pd.concat([_outcome(tables, rater) for rater in ("client", "therapist", "observer")], ignore_index=True)
    core = r["core_10_client"]
    core = core.assign(timepoint=core["timepoint"].map(OCCASION), session=core["session"].where(core["session"] > 0).astype("Int64"))
    tas = r["tas_marziali_client"]
    events = tables.events.drop(columns="exposure").assign(target=tables.events["target"].replace("", None))
    ids = {"client_id": "Client", "therapist_id": "Therapist", "session": "Session", "date": "Date"}
    with_ids = ["client_id", "session"]
    return [
        _sheet("Clients", tables.clients, ids),
        _sheet("Therapists", tables.therapists, ids),
        _sheet("Sessions", tables.sessions, ids),
        _sheet("WAI client", client_wai[[*with_ids, *answers(client_wai)]], ids | numbered("WAI ", client_wai)),
        _sheet("HAq client", client_haq[[*with_ids, *answers(client_haq)]], ids | numbered("HAq ", client_haq)),
        _sheet("WAI therapist", _scales(r["wai_36_therapist"], []), ids),
        _sheet("WAI observer", _scales(r["wai_36_observer"], ["rater_no"]), ids | {"rater_no": "Observer"}),
        _sheet("VTAS", r["vtas_observer"][[*with_ids, "rater_no", *answers(r["vtas_observer"])]], ids | {"rater_no": "Observer"}),
        _sheet("TAS", tas[[*with_ids, *answers(tas)]], ids),
        _sheet(
            "Relationship",
            relationship[[*with_ids, "total", "regard", "unconditionality", "congruence"]],
            ids | {"total": "BLRI empathy", "regard": "BLRI regard", "unconditionality": "BLRI uncond", "congruence": "BLRI congr"},
        ),
        _sheet(
            "Empathy observer",
            observed[[*with_ids, "rater_no", "total"]],
            ids | {"rater_no": "Observer", "total": "BLRI empathy"},
        ),
        _sheet("Counselor", r["crf_s_client"][[*with_ids, *answers(r["crf_s_client"])]], ids),
        _sheet(
            "CORE",
            core[["client_id", "timepoint", "session", "date", *answers(core)]],
            ids | {"timepoint": "Occasion"} | numbered("CORE ", core),
        ),
        _sheet("Outcome", outcome, ids | {"timepoint": "Occasion", "rater": "Rater", "severity": "TC", "gsi": "GSI"}),
        _sheet("Events", events, ids | {"code": "Code", "count": "Count", "intensity": "Intensity", "target": "Target"}),
        _sheet("Endings", tables.termination, ids),
    ]


def render(found: list[Sheet]) -> dict[str, bytes]:
    """Return the workbook; the same sheets give the same bytes."""
    from openpyxl import Workbook

    book = Workbook()
    book.remove(book.active)
    book.properties.creator = "Westbrook (simulated)"
    book.properties.created = book.properties.modified = datetime(*STAMP)
    for sheet in found:
        page = book.create_sheet(sheet.name)
        for row in (sheet.header, *sheet.above, *sheet.rows):
            page.append(row)
        for row, column in sheet.facts.get("errors", ()):
            page.cell(row, column).data_type = "e"
        for row in sheet.facts.get("hidden_rows", ()):
            page.row_dimensions[row].hidden = True
    raw = io.BytesIO()
    book.save(raw)
    return {FILE: _repacked(raw.getvalue())}


def _repacked(raw: bytes) -> bytes:
    """Return a zip archive with its members sorted and all times fixed.

    Members are stored, since compressed bytes differ between versions of zlib; leaving out the default type of a cell saves a sixth.
    """
    stamp = "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z".format(*STAMP)
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(raw)) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as target:
        for name in sorted(source.namelist()):
            content = source.read(name)
            if name == "docProps/core.xml":
                content = re.sub(rb"(<dcterms:(created|modified)[^>]*>)[^<]*", lambda m: m.group(1) + stamp.encode(), content)
            content = content.replace(b' t="n"', b"")
            member = zipfile.ZipInfo(name, STAMP)
            member.create_system = 0
            target.writestr(member, content)
    return packed.getvalue()


def _scales(wai: pd.DataFrame, further: list[str]) -> pd.DataFrame:
    """Return the sums of task, bond and goal, a skipped item counted as the mean of the others of its scale."""
    form = FORMS["wai_36"]
    scores = {}
    for scale, items in form.scales.items():
        raw = wai[[f"i{item}" for item in items]].to_numpy(dtype=float, na_value=np.nan)
        turned = np.array([item in form.reverse for item in items])
        raw[:, turned] = form.low + form.high - raw[:, turned]
        scores[scale] = np.round(np.nanmean(raw, axis=1) * len(items), 1)
    return wai[["client_id", "session", *further]].assign(**scores)


def _outcome(tables: Tables, rater: str) -> pd.DataFrame:
    complaints, symptoms = tables.ratings[f"target_complaints_{rater}"], tables.ratings[f"scl_90_r_{rater}"]
    both = complaints.merge(symptoms[["client_id", "timepoint", "gsi"]], on=["client_id", "timepoint"], how="left")
    both = at(both, "intake", "post")
    return pd.DataFrame(
        {
            "client_id": both["client_id"],
            "timepoint": both["timepoint"].map(OCCASION),
            "rater": rater,
            "date": both["date"],
            "severity": both["severity"],
            "gsi": both["gsi"],
        }
    )


def _sheet(name: str, frame: pd.DataFrame, names: dict[str, str]) -> Sheet:
    columns = [[_cell(value) for value in frame[column]] for column in frame.columns]
    header = [names.get(column, column.replace("_", " ").capitalize()) for column in frame.columns]
    return Sheet(FILE, header, [list(row) for row in zip(*columns)], name)


def _cell(value: Any) -> Any:
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and np.isnan(value)):
        return None
    if isinstance(value, pd.Timestamp):
        return value.to_pydatetime().date()
    if isinstance(value, np.integer):
        return int(value)
    return float(value) if isinstance(value, np.floating) else value
