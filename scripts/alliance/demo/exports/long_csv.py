"""Northgate: comma-separated files with one row a client and session, delivered year by year."""

from __future__ import annotations

import pandas as pd

from alliance.demo.exports.sheet import Sheet, answers, at, csv_bytes, form_cells, numbered, sheet_of, text_frame
from alliance.demo.measures import Tables

SKIPPED = "-9"
RATER = {"client": "C", "therapist": "T", "observer": "O"}
OCCASION = {"intake": "pre", "post": "post", "follow_up": "fu6"}
EMPATHY = {"total": "BL_E"}
CONDITIONS = {"regard": "BL_R", "unconditionality": "BL_U", "congruence": "BL_C"}
INFLUENCE = {"expertness": "CRF_E", "trustworthiness": "CRF_T", "attractiveness": "CRF_A"}


def sheets(tables: Tables) -> list[Sheet]:
    """Return the files of the site: sessions in two deliveries, the rest in one."""
    r = tables.ratings
    sessions = tables.sessions
    keys = pd.MultiIndex.from_frame(sessions[["client_id", "session"]])
    forms = [
        (r["wai_36_client"], numbered("CW", r["wai_36_client"])),
        (r["haq_2_client"], numbered("HAQ", r["haq_2_client"])),
        (at(r["core_10_client"], "session"), numbered("CORE", r["core_10_client"])),
        (r["blri_empathy16_client"], EMPATHY),
        (r["blri_os64_client"], CONDITIONS),
        (r["crf_s_client"], INFLUENCE),
        (r["homework_adherence_therapist"], {"total": "HOMEWORK"}),
    ]
    facts = text_frame(sessions).set_axis(["PID", "TH", "SESSION", "DATE", "ATTENDED"], axis=1)
    cells = [form_cells(frame, keys, names, SKIPPED).reset_index(drop=True) for frame, names in forms]
    wide = pd.concat([facts, *cells], axis=1)
    year = sessions["date"].dt.year
    found = [
        sheet_of("clients.csv", text_frame(tables.clients).rename(columns={"client_id": "PID", "therapist_id": "TH"})),
        sheet_of("therapists.csv", text_frame(tables.therapists).rename(columns={"therapist_id": "TH"})),
        sheet_of("sessions_2024.csv", wide[year <= 2024]),
        sheet_of("sessions_2025.csv", wide[year > 2024]),
        _therapist_ratings(tables),
        _observer_ratings(tables),
        _core(r["core_10_client"]),
        _outcomes(tables),
        sheet_of("coded_events.csv", text_frame(tables.events).rename(columns={"client_id": "PID"})),
        sheet_of("coded_avoidance.csv", text_frame(tables.responses).rename(columns={"client_id": "PID"})),
        sheet_of("endings.csv", text_frame(tables.termination).rename(columns={"client_id": "PID"})),
    ]
    return found


def render(found: list[Sheet]) -> dict[str, bytes]:
    """Return the bytes of every file."""
    return {sheet.file: csv_bytes(sheet, byte_order_mark=sheet.file == "clients.csv") for sheet in found}


def _therapist_ratings(tables: Tables) -> Sheet:
    wai, haq = tables.ratings["wai_36_therapist"], tables.ratings["haq_2_therapist"]
    facts = wai[["client_id", "therapist_id", "session", "date"]]
    keys = pd.MultiIndex.from_frame(facts[["client_id", "session"]])
    parts = [
        text_frame(facts).set_axis(["PID", "TH", "SESSION", "DATE"], axis=1),
        form_cells(wai, keys, numbered("TW", wai), SKIPPED).reset_index(drop=True),
        form_cells(haq, keys, numbered("THAQ", haq), SKIPPED).reset_index(drop=True),
    ]
    return sheet_of("therapist_ratings.csv", pd.concat(parts, axis=1))


def _observer_ratings(tables: Tables) -> Sheet:
    vtas, empathy = tables.ratings["vtas_observer"], tables.ratings["blri_empathy16_observer"]
    facts = vtas[["client_id", "session", "date", "rater_no"]]
    keys = pd.MultiIndex.from_frame(facts[["client_id", "session", "rater_no"]])
    names = {"therapist_contribution": "VTAS_TC", "patient_contribution": "VTAS_PC", "interaction": "VTAS_INT"}
    parts = [
        text_frame(facts).set_axis(["PID", "SESSION", "DATE", "OBSERVER"], axis=1),
        form_cells(vtas, keys, names).reset_index(drop=True),
        form_cells(empathy, keys, {"total": "BL_E_OBS"}).reset_index(drop=True),
    ]
    return sheet_of("observer_ratings.csv", pd.concat(parts, axis=1))


def _core(core: pd.DataFrame) -> Sheet:
    rows = at(core, *OCCASION)
    facts = pd.DataFrame({"PID": rows["client_id"], "OCCASION": rows["timepoint"].map(OCCASION), "DATE": rows["date"]})
    items = text_frame(rows[answers(rows)], SKIPPED).rename(columns=numbered("CORE", rows))
    return sheet_of("core_pre_post.csv", pd.concat([text_frame(facts), items], axis=1))


def _outcomes(tables: Tables) -> Sheet:
    parts = []
    for rater, letter in RATER.items():
        complaints, symptoms = tables.ratings[f"target_complaints_{rater}"], tables.ratings[f"scl_90_r_{rater}"]
        both = complaints.merge(symptoms[["client_id", "timepoint", "gsi"]], on=["client_id", "timepoint"], how="left")
        facts = {"PID": both["client_id"], "OCCASION": both["timepoint"].map(OCCASION), "RATER": letter}
        parts.append(pd.DataFrame(facts | {"DATE": both["date"], "TC": both["severity"], "GSI": both["gsi"]}))
    return sheet_of("outcomes.csv", text_frame(pd.concat(parts, ignore_index=True)))
