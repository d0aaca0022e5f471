"""Lakeside: the raw export of a longitudinal REDCap project with repeating instruments, and a list of therapists."""

from __future__ import annotations

import pandas as pd

from alliance.demo.exports.sheet import Sheet, at, csv_bytes, numbered, one_rater, sheet_of, text_frame
from alliance.demo.measures import Tables

FILE = "LakesideAlliance_DATA.csv"
INTAKE, THERAPY, END, FOLLOW_UP = "intake_arm_1", "therapy_arm_1", "end_arm_1", "followup_arm_1"
GENDER = {"female": "1", "male": "2", "other": "3"}
TREATMENT = {"cognitive": "1", "psychodynamic": "2"}
REASON = {"planned": "1", "unilateral": "2", "administrative": "3", "ongoing": "4"}
LEAD = ["record_id", "redcap_event_name", "redcap_repeat_instrument", "redcap_repeat_instance"]
COMPLETE = "2"


def sheets(tables: Tables) -> list[Sheet]:
    """Return the project's export, one row a record and event or repeat, and the list of therapists."""
    r = {name: one_rater(frame) for name, frame in tables.ratings.items()}
    forms = [_intake(tables), *_single(tables)]
    keys = ["client_id", "session"]
    visits = tables.sessions.merge(r["homework_adherence_therapist"][[*keys, "total"]], on=keys, how="left")
    observed = r["vtas_observer"].merge(r["blri_empathy16_observer"][[*keys, "total"]], on=keys, how="left")
    repeats = [
        (
            "session_visit",
            visits,
            {"therapist_id": "visit_therapist", "date": "visit_date", "attended": "visit_attended", "total": "visit_homework"},
        ),
        ("wai_sr", r["wai_sr_client"], numbered("wai_sr_", r["wai_sr_client"])),
        ("haq_ii", r["haq_2_client"], numbered("haq_", r["haq_2_client"])),
        ("core_session", at(r["core_10_client"], "session"), numbered("cores_", r["core_10_client"])),
        ("relationship_empathy", r["blri_empathy16_client"], {"total": "blri_empathy"}),
        (
            "relationship_other",
            r["blri_os64_client"],
            {"regard": "blri_regard", "unconditionality": "blri_uncond", "congruence": "blri_congr"},
        ),
        ("wai_therapist", r["wai_s_therapist"], numbered("twai_", r["wai_s_therapist"])),
        (
            "vtas",
            observed,
            {
                "therapist_contribution": "vtas_tc",
                "patient_contribution": "vtas_pc",
                "interaction": "vtas_int",
                "total": "obs_empathy",
            },
        ),
        (
            "counselor_rating",
            r["crf_s_client"],
            {"expertness": "crf_expert", "trustworthiness": "crf_trust", "attractiveness": "crf_attract"},
        ),
    ]
    for form, frame, names in repeats:
        forms.append(_repeating(form, frame, frame["session"], names))
    events = tables.events
    instance = events.groupby("client_id", sort=False).cumcount() + 1
    names = {name: f"ev_{name}" for name in ("session", "code", "count", "intensity", "target", "exposure")}
    forms.append(_repeating("coded_event", events, instance, names))
    return [_assembled(tables, forms), sheet_of("therapists.csv", text_frame(tables.therapists))]


def render(found: list[Sheet]) -> dict[str, bytes]:
    """Return the bytes of every file."""
    return {sheet.file: csv_bytes(sheet) for sheet in found}


def _intake(tables: Tables) -> pd.DataFrame:
    clients = tables.clients
    facts = text_frame(clients.assign(gender=clients["gender"].map(GENDER), treatment=clients["treatment"].map(TREATMENT)))
    frame = _lead(clients["client_id"], INTAKE)
    for name in facts.columns.drop("client_id"):
        frame[name] = facts[name]
    return frame.assign(intake_form_complete=COMPLETE)


def _single(tables: Tables) -> list[pd.DataFrame]:
    """Return the forms that are filled in once an event."""
    events = {"intake": INTAKE, "post": END, "follow_up": FOLLOW_UP}
    core = at(tables.ratings["core_10_client"], *events)
    frames = [_form("core_outcome", core, core["timepoint"].map(events), numbered("core_", core) | {"date": "core_date"})]
    for rater, letter in (("client", "c"), ("therapist", "t"), ("observer", "o")):
        both = tables.ratings[f"target_complaints_{rater}"].merge(
            tables.ratings[f"scl_90_r_{rater}"][["client_id", "timepoint", "gsi"]], on=["client_id", "timepoint"], how="left"
        )
        both = at(both, "intake", "post")
        names = {"severity": f"tc_{letter}", "gsi": f"gsi_{letter}"}
        frames.append(_form(f"outcome_{letter}", both, both["timepoint"].map(events), names))
    endings = tables.termination.assign(reason=tables.termination["reason"].map(REASON))
    frames.append(_form("ending", endings, pd.Series(END, index=endings.index), {"last_session": "end_session", "reason": "end_reason"}))
    return frames


def _lead(client: pd.Series, event: str | pd.Series, form: str = "", instance: pd.Series | str = "") -> pd.DataFrame:
    frame = pd.DataFrame({"record_id": client.to_numpy(dtype=object)})
    frame["redcap_event_name"] = event if isinstance(event, str) else event.to_numpy(dtype=object)
    frame["redcap_repeat_instrument"] = form
    frame["redcap_repeat_instance"] = instance if isinstance(instance, str) else instance.astype(str).to_numpy(dtype=object)
    return frame


def _form(form: str, frame: pd.DataFrame, event: pd.Series, names: dict[str, str]) -> pd.DataFrame:
    cells = text_frame(frame[list(names)]).rename(columns=names).reset_index(drop=True)
    lead = _lead(frame["client_id"], event)
    return pd.concat([lead, cells], axis=1).assign(**{f"{form}_complete": COMPLETE})


def _repeating(form: str, frame: pd.DataFrame, instance: pd.Series, names: dict[str, str]) -> pd.DataFrame:
    cells = text_frame(frame[list(names)]).rename(columns=names).reset_index(drop=True)
    lead = _lead(frame["client_id"], THERAPY, form, instance)
    return pd.concat([lead, cells], axis=1).assign(**{f"{form}_complete": COMPLETE})


def _assembled(tables: Tables, forms: list[pd.DataFrame]) -> Sheet:
    """Return one table: forms filled in once share the row of their event, every repeat has a row of its own."""
    once = [frame for frame in forms if (frame["redcap_repeat_instrument"] == "").all()]
    repeats = [frame for frame in forms if (frame["redcap_repeat_instrument"] != "").all()]
    joined = once[0]
    for frame in once[1:]:
        joined = joined.merge(frame, on=LEAD, how="outer", sort=False)
    columns = [*LEAD, *(name for frame in forms for name in frame.columns if name not in LEAD)]
    table = pd.concat([joined, *repeats], ignore_index=True)[columns].fillna("")
    number = {client: i for i, client in enumerate(sorted(tables.clients["client_id"]))}
    event = {name: i for i, name in enumerate((INTAKE, THERAPY, END, FOLLOW_UP))}
    form = {frame["redcap_repeat_instrument"].iloc[0]: i for i, frame in enumerate(repeats)} | {"": -1}
    order = pd.DataFrame(
        {
            "client": table["record_id"].map(number),
            "event": table["redcap_event_name"].map(event),
            "form": table["redcap_repeat_instrument"].map(form),
            "instance": pd.to_numeric(table["redcap_repeat_instance"].replace("", "0")),
        }
    ).sort_values(["client", "event", "form", "instance"], kind="stable")
    return sheet_of(FILE, table.loc[order.index])
