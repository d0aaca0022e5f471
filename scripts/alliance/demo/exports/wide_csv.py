"""Lindenhof: semicolon-separated files in Windows encoding with decimal commas and one row a client."""

from __future__ import annotations

import pandas as pd

from alliance.demo.exports.sheet import Sheet, answers, at, csv_bytes, form_cells, numbered, one_rater, sheet_of, text_frame
from alliance.demo.measures import Tables

SKIPPED = "99"
DATE = "%d.%m.%Y"
GENDER = {"female": "weiblich", "male": "männlich", "other": "divers"}
REASON = {
    "planned": "regulär beendet",
    "unilateral": "Abbruch durch Patient/in",
    "administrative": "äußere Gründe",
    "ongoing": "läuft noch",
}
TREATMENT = {"cognitive": "Verhaltenstherapie", "psychodynamic": "Tiefenpsychologie"}
RATER = {"client": "P", "therapist": "T", "observer": "B"}
CODE = {
    "rupture": "Bruch",
    "repair": "Reparatur",
    "challenge": "Konfrontation",
    "involvement": "Beteiligung",
    "avoidance": "Vermeidung",
    "interpretation_wish_response_of_other": "Deutung Wunsch",
    "interpretation_response_of_self": "Deutung Selbst",
}
TARGET = {"here_and_now": "Beziehung jetzt", "outside": "außerhalb", "": ""}
CLIENT_COLUMNS = {
    "client_id": "Patient-Nr",
    "therapist_id": "Therapeut",
    "age": "Alter",
    "gender": "Geschlecht",
    "treatment": "Verfahren",
    "planned_sessions": "Sitzungen geplant",
    "start_date": "Aufnahme",
    "social_relations": "Soziale Beziehungen",
    "family_relations": "Familienverhältnis",
    "life_events": "Belastende Ereignisse",
    "motivation": "Motivation",
    "psychological_mindedness": "Einsichtsfähigkeit",
    "object_relations": "Objektbeziehungen",
    "intake_severity": "Schwere bei Aufnahme",
    "prognosis": "Prognose",
    "expectancy": "Erwartung",
    "affiliation": "Affiliation",
    "dominance": "Dominanz",
}
THERAPIST_COLUMNS = {
    "therapist_id": "Therapeut",
    "training": "Ausbildungsstufe",
    "years": "Berufsjahre",
    "cases": "Fälle",
    "attachment_anxiety": "Bindungsangst",
    "attachment_avoidance": "Bindungsvermeidung",
    "affiliation": "Affiliation",
    "dominance": "Dominanz",
    "introject": "Introjekt",
}


def sheets(tables: Tables) -> list[Sheet]:
    """Return the files of the site."""
    clients = tables.clients.assign(gender=tables.clients["gender"].map(GENDER), treatment=tables.clients["treatment"].map(TREATMENT))
    therapists = text_frame(tables.therapists, decimal=",").rename(columns=THERAPIST_COLUMNS)
    events, responses = (_coded(frame) for frame in (tables.events, tables.responses))
    endings = tables.termination.assign(reason=tables.termination["reason"].map(REASON))
    return [
        sheet_of("patienten.csv", text_frame(clients, "", ",", DATE).rename(columns=CLIENT_COLUMNS)),
        sheet_of("therapeuten.csv", therapists),
        _course(tables),
        _before_after(tables),
        sheet_of("ereignisse.csv", events),
        sheet_of("vermeidung.csv", responses),
        sheet_of("abschluss.csv", text_frame(endings).set_axis(["Patient-Nr", "Letzte Sitzung", "Beendigung", "Urteil von"], axis=1)),
    ]


def render(found: list[Sheet]) -> dict[str, bytes]:
    """Return the bytes of every file."""
    return {sheet.file: csv_bytes(sheet, ";", "cp1252", "\r\n") for sheet in found}


def _coded(events: pd.DataFrame) -> pd.DataFrame:
    coded = events.assign(code=events["code"].map(CODE), target=events["target"].map(TARGET))
    return text_frame(coded, decimal=",").set_axis(["Patient-Nr", "Sitzung", "Kode", "Anzahl", "Stärke", "Bezug", "Minuten"], axis=1)


def _course(tables: Tables) -> Sheet:
    """Return one row a client with the columns of session 1, then 2, ..."""
    r = {name: one_rater(frame) for name, frame in tables.ratings.items()}
    homework = r["homework_adherence_therapist"]
    r["homework_adherence_therapist"] = homework.assign(total=homework["total"] / 10)
    clients = tables.clients["client_id"]
    parts = [pd.DataFrame({"Patient-Nr": clients.to_numpy(dtype=object)})]
    forms = [
        ("wai_sr_client", "WAI_"),
        ("core_10_client", "CORE_"),
        ("haq_2_client", "HAQ_"),
        ("care_client", "CARE_"),
        ("wai_s_therapist", "TWAI_"),
    ]
    scales = {
        "blri_os64_client": {"regard": "Wertschätzung", "unconditionality": "Unbedingtheit", "congruence": "Echtheit"},
        "calpas_p_client": {
            "patient_commitment": "CALPAS_PC",
            "patient_working_capacity": "CALPAS_PWC",
            "therapist_understanding": "CALPAS_TUI",
            "working_strategy_consensus": "CALPAS_WSC",
        },
        "vtas_observer": {"therapist_contribution": "VTAS_T", "patient_contribution": "VTAS_P", "interaction": "VTAS_I"},
        "homework_adherence_therapist": {"total": "Hausaufgaben"},
    }
    for session in sorted(tables.sessions["session"].unique()):
        keys = pd.MultiIndex.from_product([clients, [session]], names=["client_id", "session"])
        held = text_frame(tables.sessions[["date", "attended"]], date_format=DATE)
        held.index = pd.MultiIndex.from_frame(tables.sessions[["client_id", "session"]])
        held = held.reindex(keys).fillna("").set_axis([f"S{session}_Datum", f"S{session}_anwesend"], axis=1)
        parts.append(held.reset_index(drop=True))
        for name, stem in forms:
            frame = at(r[name], "session")
            if (frame["session"] == session).any():
                cells = form_cells(frame, keys, numbered(f"S{session}_{stem}", frame), SKIPPED)
                parts.append(cells.reset_index(drop=True))
        for name, names in scales.items():
            if (r[name]["session"] == session).any():
                cells = form_cells(r[name], keys, {ours: f"S{session}_{theirs}" for ours, theirs in names.items()}, decimal=",")
                parts.append(cells.reset_index(drop=True))
    return sheet_of("verlauf.csv", pd.concat(parts, axis=1))


def _before_after(tables: Tables) -> Sheet:
    r = tables.ratings
    clients = tables.clients["client_id"]
    parts = [pd.DataFrame({"Patient-Nr": clients.to_numpy(dtype=object)})]
    for timepoint, prefix in (("intake", "Prä"), ("post", "Post"), ("follow_up", "Kat")):
        keys = pd.MultiIndex.from_product([clients, [timepoint]], names=["client_id", "timepoint"])
        core = at(r["core_10_client"], timepoint)
        parts.append(form_cells(core, keys, numbered(f"{prefix}_CORE_", core), SKIPPED).reset_index(drop=True))
        for rater, letter in RATER.items():
            for instrument, short in (("target_complaints", "TC"), ("scl_90_r", "GSI")):
                frame = at(r[f"{instrument}_{rater}"], timepoint)
                if len(frame):
                    names = {answers(frame)[0]: f"{prefix}_{short}_{letter}"}
                    parts.append(form_cells(frame, keys, names, decimal=",").reset_index(drop=True))
    return sheet_of("vor_nach.csv", pd.concat(parts, axis=1))
