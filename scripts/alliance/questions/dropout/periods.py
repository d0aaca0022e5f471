"""Who came to which session and how each treatment ended: clients, their ratings, and person-periods under every definition of dropout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions.alliance_outcome.levels import session_scores
from alliance.questions.correlations import therapists_of
from alliance.questions.site_data import SiteData
from alliance.variables.checks import INTAKE_SEVERITY
from alliance.variables.client import attended_sessions, factor_definition, measure

DROPOUT, OTHER, CENSORED, NOT_JUDGED = 1, 2, 0, -1
# Endings that nobody decided on: whether the client would have come again is not known.
BROKEN_OFF = ("administrative", "ongoing", "")
FIRST, CHANGE, SEVERITY, FIRST_BY_SESSION = "alliance_first", "alliance_change", "intake_severity", "alliance_first_by_session"
FAILED = "failed"
SESSION = "session_doubled"
CLIENT, THERAPIST, BOTH = "client_trait", "therapist_trait", "client_by_therapist"
THIRDS = ("low", "middle", "high")
PERIODS = ["site", "client", "therapist", "session", "dropout", "other_ending"]


@dataclass(frozen=True)
class Course:
    """The treatments of one site.

    Attributes
    ----------
    site : str
        Site id.
    clients : DataFrame
        One row a client who came at least once, index ``client_no``: ``therapist`` (NaN: not known), ``sessions`` (attended), ``reason``
        (empty: not known), ``planned``, ``alliance_first`` (in SD of the site's first sessions), ``intake_severity`` (in SD of the site),
        ``outcome``, ``intake`` (higher is better), ``phase_one`` (mean alliance of phase 1, same unit), ``failed`` (1: phase 1 has
        failed), and for every combination ``client:<name>`` and ``therapist:<name>`` in SD.
    ratings : DataFrame
        ``client, session, alliance``: the alliance at the attended sessions, numbered 1.. in their order, in the unit of
        ``alliance_first``.
    lacking : dict of str to str
        Why a column has no values, in words.
    judges : tuple of str
        Who judged the reasons of termination; ``unknown`` where it is not said.
    facts : dict
        Measures and numbers for reports.
    """

    site: str
    clients: pd.DataFrame
    ratings: pd.DataFrame
    lacking: dict[str, str]
    judges: tuple[str, ...]
    facts: dict[str, Any]


def course(site: SiteData, options: Mapping[str, Any]) -> Course:
    """Return the treatments of one site; clients who never came are counted in ``facts``."""
    question = options["questions"]["dropout"]
    attended = attended_sessions(site)
    sessions = attended.groupby("client_no").size()
    known = pd.Index(sorted(set(site.clients["client_no"].dropna().astype("int64")) if len(site.clients) else set()), dtype="int64")
    clients = pd.DataFrame({"sessions": sessions.astype("int64")}).sort_index()
    clients.index = pd.Index(clients.index.astype("int64"), name="client_no")
    lacking: dict[str, str] = {}
    clients["therapist"] = therapists_of(clients.index, site.clients, site.scores).to_numpy(dtype=float)
    clients["reason"], judges = _reasons(site, clients.index)
    if not clients["reason"].ne("").any():
        lacking["reason"] = "reasons of termination"
    for column, definition in {
        "planned": factor_definition("planned_sessions"),
        SEVERITY: {"construct": INTAKE_SEVERITY},
        "outcome": {"construct": "outcome"},
        "intake": {"construct": "intake"},
    }.items():
        found = measure(site, definition, options)
        clients[column] = found.values.reindex(clients.index).to_numpy(dtype=float)
        if found.reason:
            lacking[column] = found.reason
    clients[SEVERITY] = _standardised(clients[SEVERITY])
    first = measure(site, {"construct": "alliance", "window": question["window"]}, options)
    values = first.values.reindex(clients.index)
    mean, spread = float(values.mean()), float(values.std())
    usable = spread > 0
    clients[FIRST] = ((values - mean) / spread).to_numpy() if usable else np.nan
    if first.reason or not usable:
        lacking[FIRST] = first.reason or "first-session alliance that differs between clients"
    ratings = _ratings(site, first, attended, options)
    ratings["alliance"] = (ratings["alliance"] - mean) / spread if usable else np.nan
    clients = _phase_one(clients, ratings, question["phase_one"], lacking)
    for name, pair in question["combinations"].items():
        for role, column in (("client", pair["client"]), ("therapist", pair["therapist"])):
            clients[f"{role}:{name}"], reason = _of_pair(site, clients, role, column, options)
            if reason:
                lacking[f"{role}:{name}"] = reason
    facts = {
        "alliance": "" if first.reason else first.source,
        "severity": "" if SEVERITY in lacking else measure(site, {"construct": INTAKE_SEVERITY}, options).source,
        "never_came": len(known.difference(clients.index)),
        "ending_not_known": int(clients["reason"].eq("").sum()),
        "broken_off": int(clients["reason"].isin(BROKEN_OFF[:2]).sum()),
    }
    return Course(site.site, clients, ratings, lacking, judges, facts)


def _reasons(site: SiteData, clients: pd.Index) -> tuple[np.ndarray, tuple[str, ...]]:
    ended = site.termination
    if ended.empty or "reason" not in ended:
        return np.full(len(clients), "", dtype=object), ()
    ended = ended.dropna(subset=["reason"]).drop_duplicates("client_no", keep="last").set_index("client_no")
    ended = ended.reindex(ended.index.intersection(clients))
    judges = ended["judged_by"] if "judged_by" in ended else pd.Series(dtype="str")
    named = sorted(set(judges.dropna()) - {""}) + (["unknown"] if judges.isna().any() or not len(judges) else [])
    return ended["reason"].astype(object).reindex(clients).fillna("").to_numpy(), tuple(named)


def _standardised(values: pd.Series) -> pd.Series:
    spread = values.std()
    return (values - values.mean()) / (spread if spread > 0 else np.nan)


def _ratings(site: SiteData, first: Any, attended: pd.DataFrame, options: Mapping[str, Any]) -> pd.DataFrame:
    """Return the alliance at every attended session, by the measure of the first session."""
    empty = pd.DataFrame({"client": pd.Series(dtype="int64"), "session": pd.Series(dtype="int64"), "alliance": pd.Series(dtype="float64")})
    if first.reason:
        return empty
    chosen = {"construct": "alliance", "instrument": first.instrument, "scale": first.scale, "rater": first.rater}
    scores, _ = session_scores(site, chosen, options)
    if scores.empty:
        return empty
    placed = scores.merge(attended.rename(columns={"client_no": "client"})[["client", "session", "position"]], on=["client", "session"])
    placed = placed.assign(session=placed["position"], alliance=placed["value"])
    return placed[["client", "session", "alliance"]].sort_values(["client", "session"]).reset_index(drop=True)


def _phase_one(clients: pd.DataFrame, ratings: pd.DataFrame, settings: Mapping[str, Any], lacking: dict[str, str]) -> pd.DataFrame:
    """Return clients with the mean alliance of phase 1, and whether phase 1 has failed by the rule of the configuration."""
    begin, end = settings["sessions"]
    inside = ratings[ratings["session"].between(begin, end)]
    clients = clients.assign(phase_one=inside.groupby("client")["alliance"].mean().reindex(clients.index).to_numpy(dtype=float))
    # Only those who came beyond phase 1 can be compared: others ended inside it.
    values = clients["phase_one"].where(clients["sessions"] > end)
    if settings["rule"] == "lowest_third":
        limit = values.quantile(1 / 3)
        failed = values <= limit
    elif settings["rule"] == "below_mean_by":
        failed = values <= values.mean() - settings["amount"] * values.std()
    else:
        values = values.where(clients[FIRST].notna())
        failed = values - clients[FIRST] <= -settings["amount"]
    clients[FAILED] = failed.astype(float).where(values.notna())
    if values.notna().sum() == 0:
        lacking[FAILED] = f"the alliance in sessions {begin} to {end} of clients who came beyond session {end}"
    elif clients[FAILED].nunique() < 2:
        lacking[FAILED] = "clients whose phase 1 failed and clients whose phase 1 did not"
    return clients


def _of_pair(site: SiteData, clients: pd.DataFrame, role: str, column: str, options: Mapping[str, Any]) -> tuple[np.ndarray, str]:
    """Return a column of clients, or of their therapists, in SD of the site's clients or therapists."""
    nothing = np.full(len(clients), np.nan)
    if role == "client":
        found = measure(site, factor_definition(column), options)
        return _standardised(found.values.reindex(clients.index)).to_numpy(dtype=float), found.reason
    table = site.therapists
    if column not in table:
        return nothing, f"the therapists table has no column {column}"
    if not pd.api.types.is_numeric_dtype(table[column]):
        return nothing, f"the column {column} of the therapists table holds no numbers"
    own = table.dropna(subset=["therapist_no", column]).drop_duplicates("therapist_no").set_index("therapist_no")[column].astype("float64")
    own = own.reindex(own.index.intersection(clients["therapist"].dropna().unique()))
    if own.empty:
        return nothing, f"the column {column} of the therapists table is empty"
    return clients["therapist"].map(_standardised(own)).to_numpy(dtype=float), ""


@dataclass(frozen=True)
class Endings:
    """How treatments ended by one definition.

    Attributes
    ----------
    status : ndarray of int, shape (clients,)
        ``DROPOUT``, ``OTHER`` (ended, no dropout by the definition), ``CENSORED`` (broken off, going on or not known) or ``NOT_JUDGED``.
    limit : ndarray, shape (clients,)
        Last session after which leaving is a dropout by the definition; infinite where every session is.
    reason : str
        Why nobody can be judged; empty where some can.
    """

    status: np.ndarray
    limit: np.ndarray
    reason: str


def endings(found: Course, definition: Mapping[str, Any]) -> Endings:
    """Return how each treatment ended by a definition of ``dropout.definitions``."""
    clients = found.clients
    reason, sessions = clients["reason"], clients["sessions"].to_numpy()
    limit = np.full(len(clients), np.inf)
    if "reason" in found.lacking or clients.empty:
        return Endings(np.full(len(clients), NOT_JUDGED), limit, f"needs {found.lacking.get('reason', 'clients who came to a session')}")
    if definition.get("reasons") is not None:
        status = np.where(reason.isin(definition["reasons"]), DROPOUT, np.where(reason.isin(BROKEN_OFF), CENSORED, OTHER))
        return Endings(status, limit, "")
    ended = ~reason.isin(BROKEN_OFF).to_numpy()
    if definition.get("sessions_below") is not None:
        limit = np.full(len(clients), definition["sessions_below"] - 1.0)
        known = np.ones(len(clients), dtype=bool)
    else:
        planned = clients["planned"].to_numpy(dtype=float)
        known = np.isfinite(planned) & (planned > 0)
        share = definition["share_of_planned_below"]
        limit = np.where(known, np.ceil(share * np.where(known, planned, 1.0) - 1e-9) - 1, 0.0)
    status = np.where(~known, NOT_JUDGED, np.where(~ended, CENSORED, np.where(sessions <= limit, DROPOUT, OTHER)))
    lacks = "" if known.any() else f"needs {found.lacking.get('planned', 'clients with planned sessions')}"
    return Endings(status, limit, lacks)


def same_rater(found: Course, definition: Mapping[str, Any], rater: str) -> str:
    """Return whether the person who rated the alliance also judged the ending."""
    if definition.get("reasons") is None:
        return "no"
    if not found.judges or found.judges == ("unknown",):
        return "unknown"
    return "no" if rater not in found.judges else "yes" if found.judges == (rater,) else "mixed"


def judged(found: Course, ends: Endings) -> np.ndarray:
    """Return which clients are known to have dropped out or not; those whose treatment was broken off before the limit are not."""
    beyond = found.clients["sessions"].to_numpy() > ends.limit
    return np.isin(ends.status, (DROPOUT, OTHER)) | ((ends.status == CENSORED) & beyond)


def at_risk_until(found: Course, ends: Endings) -> tuple[np.ndarray, np.ndarray]:
    """Return each client's last session at risk, and how he or she ended there (``DROPOUT``, ``OTHER`` or ``CENSORED``).

    After the last session of a treatment that was broken off it is not known whether the client would have come again. Who came to more
    sessions than the definition's limit is out of its reach: another ending there.
    """
    sessions = found.clients["sessions"].to_numpy()
    last = np.where(np.isin(ends.status, (DROPOUT, OTHER)), sessions, sessions - 1)
    ending = np.where(ends.status == NOT_JUDGED, CENSORED, ends.status)
    beyond = sessions > ends.limit
    last = np.where(beyond, np.minimum(last, ends.limit), last).astype(int)
    return np.where(ends.status == NOT_JUDGED, 0, last), np.where(beyond & (last >= ends.limit), OTHER, ending)


def periods(found: Course, ends: Endings) -> pd.DataFrame:
    """Return one row a client and session at risk, columns :data:`PERIODS`.

    ``session`` counts attended sessions. ``dropout`` and ``other_ending`` tell whether the treatment ended so after the session; who
    came beyond the definition's limit has no other ending in it.
    """
    clients = found.clients
    last, ending = at_risk_until(found, ends)
    beyond = clients["sessions"].to_numpy() > ends.limit
    position = np.repeat(np.arange(len(clients)), last)
    session = np.concatenate([np.arange(1, count + 1) for count in last]) if len(last) else np.zeros(0, dtype=int)
    at_end = session == last[position]
    return pd.DataFrame(
        {
            "site": found.site,
            "client": clients.index.to_numpy()[position],
            "therapist": clients["therapist"].to_numpy()[position],
            "session": session.astype(int),
            "dropout": (at_end & (ending[position] == DROPOUT)).astype(float),
            "other_ending": (at_end & (ending[position] == OTHER) & ~beyond[position]).astype(float),
        }
    )


def with_predictors(rows: pd.DataFrame, found: Course, wanted: Sequence[str], question: Mapping[str, Any], pair: str = "") -> pd.DataFrame:
    """Return person-periods with the predictors of a model, missing where they are not known.

    Parameters
    ----------
    rows : DataFrame
        From :func:`periods`.
    found : Course
    wanted : sequence of str
        Names of predictors.
    question : mapping
        Section ``questions.dropout`` of the configuration.
    pair : str
        Name of the combination of client and therapist, where the model has one.
    """
    made = {SESSION: np.log2(rows["session"].to_numpy(dtype=float))}
    of_client = found.clients.reindex(rows["client"])
    for name in wanted:
        if name in (FIRST, SEVERITY, FAILED):
            made[name] = of_client[name].to_numpy(dtype=float)
        elif name == FIRST_BY_SESSION:
            made[name] = of_client[FIRST].to_numpy(dtype=float) * made[SESSION]
        elif name == CHANGE:
            made[name] = _change(rows, found, question)
        elif name == CLIENT:
            made[name] = of_client[f"client:{pair}"].to_numpy(dtype=float)
        elif name == THERAPIST:
            made[name] = of_client[f"therapist:{pair}"].to_numpy(dtype=float)
        else:
            made[name] = (of_client[f"client:{pair}"] * of_client[f"therapist:{pair}"]).to_numpy(dtype=float)
    return rows.reset_index(drop=True).assign(**made)


def _change(rows: pd.DataFrame, found: Course, question: Mapping[str, Any]) -> np.ndarray:
    """Return the change of the alliance since the first session, by the last rating at least ``lag - 1`` sessions before each session."""
    ratings = found.ratings[found.ratings["alliance"].notna()]
    if ratings.empty or rows.empty:
        return np.full(len(rows), np.nan)
    asked = pd.DataFrame({"client": rows["client"].to_numpy(), "session": rows["session"].to_numpy() - (question["lag"] - 1)})
    asked = asked.assign(order=np.arange(len(asked))).sort_values(["session", "order"], kind="stable")
    rated = ratings.sort_values(["session", "client"], kind="stable")
    joined = pd.merge_asof(asked, rated, on="session", by="client", direction="backward", tolerance=question["carry"])
    latest = joined.sort_values("order", kind="stable")["alliance"].to_numpy()
    return latest - found.clients[FIRST].reindex(rows["client"]).to_numpy(dtype=float)


def counts_by_session(rows: pd.DataFrame, sessions: int) -> dict[str, list[int]]:
    """Return clients at risk at each session, dropouts and other endings after it."""
    at = rows["session"].to_numpy()
    size = sessions + 1
    return {
        "at_risk": np.bincount(at, minlength=size)[1:size].tolist(),
        "dropout": np.bincount(at, rows["dropout"], minlength=size)[1:size].astype(int).tolist(),
        "other_ending": np.bincount(at, rows["other_ending"], minlength=size)[1:size].astype(int).tolist(),
    }


def thirds(found: Course) -> pd.Series:
    """Return each client's third of the site's first-session alliance: low, middle or high; missing without a rating."""
    values = found.clients[FIRST]
    lower, upper = values.quantile(1 / 3), values.quantile(2 / 3)
    placed = np.select([values <= lower, values <= upper], list(THIRDS[:2]), THIRDS[2])
    return pd.Series(np.where(values.notna(), placed, ""), index=values.index)
