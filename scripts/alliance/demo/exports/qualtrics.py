"""Casa Marisol: Qualtrics surveys with their three header rows, and coding sheets as plain CSV."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from alliance.demo.exports.sheet import Sheet, answers, at, csv_bytes, form_cells, numbered, one_rater, sheet_of, text_frame
from alliance.demo.measures import Tables

SYSTEM = (
    "StartDate",
    "EndDate",
    "Status",
    "IPAddress",
    "Progress",
    "Duration (in seconds)",
    "Finished",
    "RecordedDate",
    "ResponseId",
    "DistributionChannel",
    "UserLanguage",
)
ANSWERED, PREVIEW = "IP Address", "Survey Preview"
SKIPPED = "-99"
GENDER = {"female": "Mujer", "male": "Hombre", "other": "Otro"}
OCCASION = {"post": "final", "follow_up": "seguimiento"}


def sheets(tables: Tables) -> list[Sheet]:
    """Return the surveys of clients, therapists and observers, and the coding sheets."""
    r = {name: one_rater(frame) for name, frame in tables.ratings.items()}
    return [
        _intake(tables),
        _session(tables, r),
        _therapists_session(r["wai_s_therapist"]),
        _observers_session(r["vtas_observer"], r["blri_empathy16_observer"]),
        _end(r),
        _judged(r),
        sheet_of("terapeutas.csv", text_frame(tables.therapists)),
        sheet_of("sesiones.csv", text_frame(tables.sessions)),
        sheet_of("codificacion.csv", text_frame(tables.events)),
        sheet_of("codificacion_evitacion.csv", text_frame(tables.responses)),
        sheet_of("finales.csv", text_frame(tables.termination)),
    ]


def render(found: list[Sheet]) -> dict[str, bytes]:
    """Return the bytes of every file."""
    return {sheet.file: csv_bytes(sheet) for sheet in found}


def _intake(tables: Tables) -> Sheet:
    clients = tables.clients.assign(gender=tables.clients["gender"].map(GENDER))
    core = at(tables.ratings["core_10_client"], "intake")
    keys = pd.MultiIndex.from_frame(clients[["client_id"]])
    facts = text_frame(clients)
    items = form_cells(core, keys, numbered("CORE_", core), SKIPPED).reset_index(drop=True)
    complaints, symptoms = (at(tables.ratings[f"{name}_client"], "intake") for name in ("target_complaints", "scl_90_r"))
    scores = [
        form_cells(complaints, keys, {"severity": "TC"}).reset_index(drop=True),
        form_cells(symptoms, keys, {"gsi": "GSI"}).reset_index(drop=True),
    ]
    return _survey("encuesta_inicial.csv", pd.concat([facts, items, *scores], axis=1), clients["start_date"], "SV_inicial")


def _session(tables: Tables, r: dict[str, pd.DataFrame]) -> Sheet:
    held = tables.sessions[tables.sessions["attended"] == 1].reset_index(drop=True)
    keys = pd.MultiIndex.from_frame(held[["client_id", "session"]])
    forms = [
        (r["wai_sr_client"], numbered("WAI_", r["wai_sr_client"])),
        (at(r["core_10_client"], "session"), numbered("CORE_", r["core_10_client"])),
        (r["haq_2_client"], numbered("HAQ_", r["haq_2_client"])),
        (r["care_client"], numbered("CARE_", r["care_client"])),
        (r["blri_os64_client"], {name: f"BLRI_{name}" for name in ("regard", "unconditionality", "congruence")}),
        (r["crf_s_client"], {name: f"CRF_{name}" for name in ("expertness", "trustworthiness", "attractiveness")}),
    ]
    cells = [form_cells(frame, keys, names, SKIPPED).reset_index(drop=True) for frame, names in forms]
    facts = text_frame(held[["client_id", "therapist_id", "session", "date"]])
    filled = pd.concat(cells, axis=1)
    some = (filled != "").any(axis=1)
    frame = pd.concat([facts, filled], axis=1)[some].reset_index(drop=True)
    return _survey("encuesta_sesion.csv", frame, held.loc[some, "date"].reset_index(drop=True), "SV_sesion")


def _therapists_session(wai: pd.DataFrame) -> Sheet:
    facts = text_frame(wai[["client_id", "therapist_id", "session", "date"]])
    items = text_frame(wai[answers(wai)], SKIPPED).rename(columns=numbered("WAIT_", wai))
    return _survey("encuesta_terapeuta.csv", pd.concat([facts, items], axis=1), wai["date"], "SV_terapeuta")


def _observers_session(vtas: pd.DataFrame, empathy: pd.DataFrame) -> Sheet:
    facts = text_frame(vtas[["client_id", "session", "date"]])
    scores = text_frame(vtas[answers(vtas)]).set_axis(["VTAS_T", "VTAS_P", "VTAS_I"], axis=1)
    keys = pd.MultiIndex.from_frame(vtas[["client_id", "session"]])
    seen = form_cells(empathy, keys, {"total": "EMPATIA"}).reset_index(drop=True)
    return _survey("observadores.csv", pd.concat([facts, scores, seen], axis=1), vtas["date"], "SV_observador")


def _end(r: dict[str, pd.DataFrame]) -> Sheet:
    core = at(r["core_10_client"], *OCCASION)
    keys = pd.MultiIndex.from_frame(core[["client_id", "timepoint"]])
    items = form_cells(core, keys, numbered("CORE_", core), SKIPPED).reset_index(drop=True)
    facts = pd.DataFrame({"client_id": core["client_id"], "momento": core["timepoint"].map(OCCASION), "date": core["date"]})
    return _survey("encuesta_final.csv", pd.concat([text_frame(facts), items], axis=1), core["date"], "SV_final")


def _judged(r: dict[str, pd.DataFrame]) -> Sheet:
    """Return complaints and symptoms at the end from clients and at both times from therapists and observers."""
    parts = []
    for rater, timepoints in (("client", ("post",)), ("therapist", ("intake", "post")), ("observer", ("intake", "post"))):
        both = r[f"target_complaints_{rater}"].merge(
            r[f"scl_90_r_{rater}"][["client_id", "timepoint", "gsi"]], on=["client_id", "timepoint"], how="left"
        )
        both = at(both, *timepoints)
        parts.append(both[["client_id", "timepoint", "date", "severity", "gsi"]].assign(rater=rater))
    frame = text_frame(pd.concat(parts, ignore_index=True))
    frame = frame[["client_id", "rater", "timepoint", "date", "severity", "gsi"]]
    return sheet_of("resultados.csv", frame)


def _survey(file: str, answered: pd.DataFrame, day: pd.Series, survey: str) -> Sheet:
    """Return answers with the columns that Qualtrics adds and its second and third header row."""
    n = len(answered)
    begun = pd.to_datetime(day).dt.strftime("%Y-%m-%d") + " 17:05:00"
    ended = pd.to_datetime(day).dt.strftime("%Y-%m-%d") + " 17:12:00"
    system = pd.DataFrame(
        {
            "StartDate": begun,
            "EndDate": ended,
            "Status": ANSWERED,
            "IPAddress": "",
            "Progress": "100",
            "Duration (in seconds)": "420",
            "Finished": "True",
            "RecordedDate": ended,
            "ResponseId": [f"R_{survey[3:]}{number:06d}" for number in np.arange(1, n + 1)],
            "DistributionChannel": "anonymous",
            "UserLanguage": "ES",
        },
        dtype=object,
    )
    sheet = sheet_of(file, pd.concat([system, answered], axis=1))
    questions = [f"{name} (simulated)" for name in answered.columns]
    ids = [_system_id(name) for name in SYSTEM] + [f"QID{number}" for number in range(1, len(answered.columns) + 1)]
    sheet.above = [[*SYSTEM, *questions], [json.dumps({"ImportId": name}, separators=(",", ":")) for name in ids]]
    return sheet


def _system_id(name: str) -> str:
    special = {"ResponseId": "_recordId", "Duration (in seconds)": "duration", "IPAddress": "ipAddress"}
    return special.get(name, name[0].lower() + name[1:])
