"""Fjordvik: SPSS files with value labels and user-missing codes."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from alliance.demo.exports.sheet import Sheet, at, numbered, one_rater
from alliance.demo.measures import FORMS, Tables
from alliance.portable.statistical_files import sav_without_time

NOT_APPLICABLE, SKIPPED = 98, 99
GENDER = {"female": 1, "male": 2, "other": 3}
TREATMENT = {"cognitive": 1, "psychodynamic": 2}
REASON = {"planned": 1, "unilateral": 2, "administrative": 3, "ongoing": 4}
OCCASION = {"intake": 1, "post": 2, "follow_up": 3}
RATER = {"client": 1, "therapist": 2, "observer": 3}
CODE = {
    "rupture": 1,
    "repair": 2,
    "challenge": 3,
    "involvement": 4,
    "interpretation_wish_response_of_other": 5,
    "interpretation_response_of_self": 6,
}
TARGET = {"here_and_now": 1, "outside": 2}


def sheets(tables: Tables) -> list[Sheet]:
    """Return the files of the site; cells are numbers, texts or dates."""
    clients = tables.clients.assign(gender=tables.clients["gender"].map(GENDER), treatment=tables.clients["treatment"].map(TREATMENT))
    endings = tables.termination.assign(reason=tables.termination["reason"].map(REASON)).drop(columns="judged_by")
    events = tables.events.assign(code=tables.events["code"].map(CODE), target=tables.events["target"].map(TARGET))
    return [
        _sheet("klienter.sav", clients, {"gender": GENDER, "treatment": TREATMENT}),
        _sheet("terapeuter.sav", tables.therapists, {}),
        _sessions(tables),
        _occasions(tables),
        _sheet("utfall.sav", _outcomes(tables), {"occasion": OCCASION, "rater": RATER}),
        _sheet("hendelser.sav", events, {"code": CODE, "target": TARGET}),
        _sheet("avslutning.sav", endings, {"reason": REASON}),
    ]


def render(found: list[Sheet]) -> dict[str, bytes]:
    """Return the bytes of every file, with the time of writing in their headers fixed."""
    return {sheet.file: _sav(sheet) for sheet in found}


def _sav(sheet: Sheet) -> bytes:
    import pyreadstat

    columns = {name: [row[index] for row in sheet.rows] for index, name in enumerate(sheet.header)}
    frame = pd.DataFrame({name: _column(values) for name, values in columns.items()})
    labels = sheet.facts["labels"]
    missing = {name: [{"lo": NOT_APPLICABLE, "hi": SKIPPED}] for name in sheet.facts["items"]}
    handle, name = tempfile.mkstemp(suffix=".sav")
    os.close(handle)
    path = Path(name)
    try:
        pyreadstat.write_sav(
            frame,
            str(path),
            file_label="Fjordvik (simulated)",
            variable_value_labels={column: {float(code): label for code, label in labels[column].items()} for column in labels},
            missing_ranges=missing,
            variable_format={column: "F2.0" for column in sheet.facts["items"]},
        )
        return sav_without_time(path.read_bytes())
    finally:
        path.unlink()


def _column(values: list[Any]) -> pd.Series:
    if any(isinstance(value, str) for value in values):
        return pd.Series(values, dtype=object)
    if any(hasattr(value, "year") for value in values):
        return pd.Series(values, dtype=object)
    return pd.Series([np.nan if value is None else float(value) for value in values], dtype=float)


def _sessions(tables: Tables) -> Sheet:
    r = tables.ratings
    frame = tables.sessions
    items: list[str] = []
    labels: dict[str, dict[int, str]] = {}
    forms = [
        ("wai_s_client", "wai", ("never", "always")),
        ("haq_2_client", "haq", ("strongly disagree", "strongly agree")),
        ("core_10_client", "core", ("not at all", "most or all the time")),
        ("care_client", "care", ("poor", "excellent")),
        ("wai_s_therapist", "twai", ("never", "always")),
    ]
    for name, stem, ends in forms:
        form = FORMS[name.rsplit("_", 1)[0]]
        rows = at(r[name], "session")
        names = numbered(stem, rows)
        cells = rows[["client_id", "session", *names]].rename(columns=names)
        cells[list(names.values())] = cells[list(names.values())].fillna(SKIPPED)
        frame = frame.merge(cells, on=["client_id", "session"], how="left")
        items += names.values()
        coded = {int(form.low): ends[0], int(form.high): ends[1], NOT_APPLICABLE: "not applicable", SKIPPED: "skipped"}
        labels |= {column: coded for column in names.values()}
    conditions = r["blri_os64_client"][["client_id", "session", "regard", "unconditionality", "congruence"]]
    vtas = one_rater(r["vtas_observer"])[["client_id", "session", "therapist_contribution", "patient_contribution", "interaction"]]
    vtas = vtas.set_axis(["client_id", "session", "vtas_t", "vtas_p", "vtas_i"], axis=1)
    homework = r["homework_adherence_therapist"]
    homework = homework[["client_id", "session"]].assign(lekser=homework["total"] / 10)
    for cells in (conditions, vtas, homework):
        frame = frame.merge(cells, on=["client_id", "session"], how="left")
    sheet = _sheet("timer.sav", frame, {})
    sheet.facts = {"labels": labels, "items": items}
    return sheet


def _occasions(tables: Tables) -> Sheet:
    rows = at(tables.ratings["core_10_client"], *OCCASION)
    names = numbered("core", rows)
    frame = pd.DataFrame({"client_id": rows["client_id"], "occasion": rows["timepoint"].map(OCCASION), "date": rows["date"]})
    cells = rows[list(names)].rename(columns=names).fillna(SKIPPED)
    sheet = _sheet("core_for_etter.sav", pd.concat([frame, cells], axis=1), {"occasion": OCCASION})
    coded = {0: "not at all", 4: "most or all the time", NOT_APPLICABLE: "not applicable", SKIPPED: "skipped"}
    sheet.facts["labels"] |= {column: coded for column in names.values()}
    sheet.facts["items"] = list(names.values())
    return sheet


def _outcomes(tables: Tables) -> pd.DataFrame:
    parts = []
    for rater, number in RATER.items():
        complaints, symptoms = tables.ratings[f"target_complaints_{rater}"], tables.ratings[f"scl_90_r_{rater}"]
        both = complaints.merge(symptoms[["client_id", "timepoint", "gsi"]], on=["client_id", "timepoint"], how="left")
        both = at(both, "intake", "post")
        facts = {"client_id": both["client_id"], "occasion": both["timepoint"].map(OCCASION), "rater": number}
        parts.append(pd.DataFrame(facts | {"date": both["date"], "tc": both["severity"], "gsi": both["gsi"]}))
    return pd.concat(parts, ignore_index=True)


def _sheet(file: str, frame: pd.DataFrame, coded: dict[str, dict[str, int]]) -> Sheet:
    columns = [[_cell(value) for value in frame[column]] for column in frame.columns]
    labels = {column: {code: text.replace("_", " ") for text, code in codes.items()} for column, codes in coded.items()}
    return Sheet(file, list(frame.columns), [list(row) for row in zip(*columns)], first_row=1, facts={"labels": labels, "items": []})


def _cell(value: Any) -> Any:
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and np.isnan(value)):
        return None
    if isinstance(value, pd.Timestamp):
        return value.to_pydatetime().date()
    return value if isinstance(value, str) else float(value)
