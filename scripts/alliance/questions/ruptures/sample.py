"""What one site knows of ruptures: rated sessions, what every criterion sees in them, and the clients' outcome and what goes before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions.alliance_outcome.measures import clients_of
from alliance.questions.correlations import therapist_codes
from alliance.questions.item_answers import SESSION, item_answers
from alliance.questions.site_data import SiteData
from alliance.statistics import ruptures as rules
from alliance.variables.client import measure

SELF_REPORT, OBSERVED = "self_report", "observed"
SEEN = ("client", "session", "rupture", "repaired", "followed", "depth", "length", "repairs_at")
NONE, REPAIRED, UNREPAIRED = "none", "repaired", "unrepaired"
LEFT_OUT = "left_out"


@dataclass(frozen=True)
class Seen:
    """What one criterion sees at a site.

    Attributes
    ----------
    name, rule : str
        Criterion of the configuration and its rule.
    rater : str
        Who gave the ratings or codes it rests on.
    unit : str
        Unit of ``depth``.
    sessions : DataFrame
        One row a session that could be judged, columns :data:`SEEN`; ``rupture`` marks the session in which a rupture is first seen,
        ``repaired, followed, depth, length, repairs_at`` are those of the rupture that begins there.
    reason : str
        Why nothing could be judged.
    """

    name: str
    rule: str
    rater: str
    unit: str
    sessions: pd.DataFrame
    reason: str = ""

    def pattern(self, at_the_end: str) -> pd.Series:
        """Return each judged client's pattern: no rupture, all repaired, or one that was not; index ``client``.

        ``at_the_end``: what a rupture counts as that was not followed to the end of the time for its repair; ``left_out`` leaves out
        clients whose pattern depends on it.
        """
        rows = self.sessions
        seen = rows[rows["rupture"]]
        known = seen if at_the_end != LEFT_OUT else seen[seen["followed"]]
        every = pd.Index(sorted(rows["client"].unique()), dtype="int64")
        pattern = pd.Series(NONE, index=every, dtype=object)
        pattern[pattern.index.isin(known["client"])] = REPAIRED
        pattern[pattern.index.isin(known.loc[~known["repaired"], "client"])] = UNREPAIRED
        if at_the_end == LEFT_OUT:
            open_ones = seen.loc[~seen["followed"], "client"]
            pattern = pattern[~(pattern.index.isin(open_ones) & pattern.ne(UNREPAIRED))]
        return pattern


@dataclass(frozen=True)
class Sample:
    """One site.

    Attributes
    ----------
    site : str
        Site id.
    clients : Index
        All clients.
    therapists : ndarray or None
        Code of each client's therapist; None where no therapist is known.
    series : Series
        The rated sessions of the preferred alliance measure, higher is better.
    ceiling : Series
        Share of the range of answers that each rating reaches (0-1), index (client, session); empty where the range is not known.
    sd : Scale
        Standard deviations within and between clients, and reliability within.
    criteria : list of Seen
        In the order of the configuration.
    moved : dict of str to (Seen, Seen)
        What a criterion sees with the SD of its threshold one step up and one down, where it depends on one.
    columns : DataFrame
        One row a client: ``outcome, intake, early`` (symptoms at the end of the early-gain window), higher is better.
    lacking : dict of str to str
        Why a column has no values.
    facts : dict
        For reports: measure, SDs, reliability, autocorrelation.
    """

    site: str
    clients: pd.Index
    therapists: np.ndarray | None
    series: rules.Series
    ceiling: pd.Series
    sd: rules.Scale
    criteria: list[Seen]
    moved: dict[str, tuple[Seen, Seen]]
    columns: pd.DataFrame
    lacking: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def codes(self, clients: Sequence[int] | np.ndarray | pd.Index) -> np.ndarray | None:
        """Return the codes of these clients' therapists; None where therapists are not known."""
        return None if self.therapists is None else self.therapists[self.clients.get_indexer(pd.Index(clients))]


def sample(site: SiteData, options: Mapping[str, Any]) -> Sample:
    """Return what one site knows of ruptures.

    Parameters
    ----------
    site : SiteData
    options : mapping
        The keys that ``alliance.questions.ruptures.question`` reads.
    """
    question = options["questions"]["ruptures"]
    clients = clients_of(site)
    codes, known = therapist_codes(clients, site.clients, site.scores)
    rated, instrument = rated_sessions(site, options)
    found = rules.series(rated["client"], rated["session"], rated["score"])
    asked = any(rule["rule"] == "reliable_drop" for rule in question["criteria"].values())
    reliability, source = _reliability(site, instrument, options) if asked else (np.nan, "")
    sd = rules.scale(found, reliability)
    columns, lacking = client_columns(site, clients, options)
    ceiling = rated.set_index(["client", "session"])["reached"] if rated["reached"].notna().any() else pd.Series(dtype="float64")
    facts = {
        "instrument": instrument,
        "sd_within": _plain(sd.within),
        "sd_between": _plain(sd.between),
        "reliability_within": _plain(sd.reliability),
        "reliability_from": source,
        "autocorrelation": _plain(rules.autocorrelation(found, question["largest_gap"])) if len(found.clients) else None,
    }
    criteria = [criterion(name, rule, site, found, sd, instrument, options) for name, rule in question["criteria"].items()]
    moved = {
        one.name: tuple(
            criterion(one.name, question["criteria"][one.name], site, found, rules.changed(sd, one.rule, step), instrument, options)
            for step in (rules.STEP, -rules.STEP)
        )
        for one in criteria
        if one.rule in rules.MOVED_BY and not one.reason
    }
    return Sample(site.site, clients, codes if known else None, found, ceiling, sd, criteria, moved, columns, lacking, facts)


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def rated_sessions(site: SiteData, options: Mapping[str, Any]) -> tuple[pd.DataFrame, str]:
    """Return the session scores of the first alliance instrument of the configuration that a site has from the rater, and its name.

    Returns
    -------
    DataFrame
        ``client, session, score`` (higher is better) and ``reached``: the share of the range of answers that the score reaches.
    str
        The instrument; empty where there is none.
    """
    alliance, scores = options["alliance"], site.scores
    for instrument in alliance["instruments"]:
        chosen = (
            scores["instrument"].eq(instrument)
            & scores["scale"].eq(alliance["scale"])
            & scores["rater"].eq(alliance["rater"])
            & scores["timepoint"].eq("session")
            & scores["score"].notna()
            & scores["session"].notna()
        )
        if not chosen.any():
            continue
        rows = scores.loc[chosen, ["client_no", "session", "score", "score_mean", "unit"]]
        column = "score_mean" if rows["unit"].nunique() > 1 else "score"
        rows = rows.astype({"client_no": "int64", "session": "int64", "score": "float64", "score_mean": "float64"})
        grouped = rows.groupby(["client_no", "session"])[[column, "score_mean"]].mean()
        sign = -1.0 if str(getattr(site.instruments.get(instrument), "direction", "")) == "higher_is_worse" else 1.0
        low, high = site.ranges.get(instrument, {}).get(alliance["rater"], (np.nan, np.nan))
        reached = (grouped["score_mean"] - low) / (high - low) if high > low else grouped["score_mean"] * np.nan
        return pd.DataFrame(
            {
                "client": grouped.index.get_level_values(0).to_numpy(),
                "session": grouped.index.get_level_values(1).to_numpy(),
                "score": sign * grouped[column].to_numpy(),
                "reached": (reached if sign > 0 else 1 - reached).to_numpy(),
            }
        ), instrument
    nothing = pd.DataFrame({"client": np.array([], dtype="int64"), "session": np.array([], dtype="int64")})
    return nothing.assign(score=np.array([], dtype=float), reached=np.array([], dtype=float)), ""


def _reliability(site: SiteData, instrument: str, options: Mapping[str, Any]) -> tuple[float, str]:
    """Return the reliability of differences between sessions, and where it is from.

    Where the configuration gives none: omega of one factor of the items' covariances around the clients' means.
    """
    given = options["questions"]["ruptures"]["reliability_within"]
    if given is not None:
        return float(given), "configuration"
    alliance = options["alliance"]
    for answers in item_answers(site):
        if answers.instrument.key != instrument or answers.rater != alliance["rater"] or answers.derived_from:
            continue
        if alliance["scale"] not in answers.scales:
            break
        rated = answers.timepoint(SESSION)
        items = rated.scale(alliance["scale"])
        complete = np.isfinite(items).all(axis=1)
        client = pd.Series(rated.forms["client_no"].to_numpy(dtype="int64")[complete])
        values = pd.DataFrame(items[complete])
        centred = (values - values.groupby(client.to_numpy()).transform("mean")).to_numpy()
        freedom = len(values) - client.nunique()
        if freedom <= 2 * items.shape[1]:
            break
        from alliance.statistics.reliability import omega_total

        covariance = centred.T @ centred / freedom
        if not (np.diagonal(covariance) > 0).all():
            break
        return float(omega_total(covariance)), "items"
    return np.nan, ""


def client_columns(site: SiteData, clients: pd.Index, options: Mapping[str, Any]) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return outcome, intake level and symptoms at the end of the early-gain window of every client, and why one is lacking."""
    last = options["early_gain"]["window"][1]
    windows = {**options["alliance"]["windows"], "(end of early gain)": {"sessions": [last, last]}}
    raw = {**options, "outcome": {**options["outcome"], "form": "ancova"}, "alliance": {**options["alliance"], "windows": windows}}
    definitions = {
        "outcome": {"construct": "outcome"},
        "intake": {"construct": "intake"},
        "early": {"construct": "symptoms", "window": "(end of early gain)"},
    }
    columns, lacking = pd.DataFrame(index=clients), {}
    for name, definition in definitions.items():
        found = measure(site, definition, raw)
        columns[name] = found.values.reindex(clients).to_numpy(dtype=float)
        if found.reason:
            lacking[name] = found.reason
    return columns, lacking


def needs_of(rule: Mapping[str, Any], sd: rules.Scale, rated: bool, options: Mapping[str, Any]) -> str:
    """Return what a criterion of ratings lacks at a site; empty where it lacks nothing."""
    if not rated:
        alliance = options["alliance"]
        return f"needs {alliance['rater']}-rated alliance ({', '.join(alliance['instruments'])}) session by session"
    if rule["rule"] == "reliable_drop" and not np.isfinite(sd.reliability):
        return "needs answers to items session by session, or questions.ruptures.reliability_within"
    if not sd.within > 0:
        return "needs ratings that differ within clients"
    return ""


def settings(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what all rules for ratings share."""
    question = options["questions"]["ruptures"]
    return {
        "largest_gap": question["largest_gap"],
        "min_sessions": question["min_sessions"],
        "repair_share": question["repair"]["share"],
        "repair_within": question["repair"]["within"],
    }


def criterion(
    name: str, rule: Mapping[str, Any], site: SiteData, found: rules.Series, sd: rules.Scale, instrument: str, options: Mapping[str, Any]
) -> Seen:
    """Return what one criterion sees at a site."""
    if rule["rule"] == SELF_REPORT:
        return _self_reported(name, rule, site, options)
    if rule["rule"] == OBSERVED:
        return _observed(name, rule, site, options)
    rater = options["alliance"]["rater"]
    reason = needs_of(rule, sd, bool(instrument), options)
    if reason:
        return Seen(name, rule["rule"], rater, "", _no_sessions(), reason)
    one = rules.ruptures(rule, found, sd, **settings(options))
    row, column = np.nonzero(one.judged | one.starts)
    sessions = pd.DataFrame(
        {
            "client": found.clients[column].astype("int64"),
            "session": found.sessions[row, column],
            "rupture": one.starts[row, column],
            "repaired": one.repaired[row, column],
            "followed": one.followed[row, column],
            "depth": one.depth[row, column] / sd.within,
            "length": one.length[row, column],
            "repairs_at": one.repairs_at[row, column],
        }
    )
    lacks = "" if len(sessions) else f"needs clients with at least {options['questions']['ruptures']['min_sessions']} sessions in a row"
    return Seen(name, rule["rule"], rater, "SD within clients", sessions.sort_values(["client", "session"], ignore_index=True), lacks)


def _no_sessions() -> pd.DataFrame:
    kinds = {"client": "int64", "session": "int64", "rupture": bool, "repaired": bool, "followed": bool, "repairs_at": "int64"}
    return pd.DataFrame({name: pd.Series(dtype=kinds.get(name, "float64")) for name in SEEN})


def _self_reported(name: str, rule: Mapping[str, Any], site: SiteData, options: Mapping[str, Any]) -> Seen:
    scores, instrument = site.scores, rule["instrument"]
    chosen = scores["instrument"].eq(instrument) & scores["rater"].eq(rule["rater"]) & scores["timepoint"].eq("session")
    rows = scores[chosen & scores["session"].notna() & scores["score"].notna()]
    rows = rows.astype({"client_no": "int64", "session": "int64", "score": "float64"})
    wide = rows.pivot_table(index=["client_no", "session"], columns="scale", values="score", aggfunc="max", observed=True)
    told = [scale for scale in ("occurred", "intensity") if scale in wide]
    wide = wide[wide[told].notna().any(axis=1)] if told else wide.iloc[:0]
    if wide.empty:
        reason = f"needs {rule['rater']}s' reports of ruptures ({instrument}) session by session"
        return Seen(name, SELF_REPORT, rule["rater"], "", _no_sessions(), reason)
    intensity = wide["intensity"] if "intensity" in wide else pd.Series(np.nan, index=wide.index)
    occurred = wide["occurred"] if "occurred" in wide else pd.Series(np.nan, index=wide.index)
    rupture = (occurred >= 1) | (occurred.isna() & (intensity >= rule["least_intensity"]))
    resolved = wide["resolution"].ge(rule["least_resolution"]) if "resolution" in wide else pd.Series(False, index=wide.index)
    known = wide["resolution"].notna() if "resolution" in wide else resolved
    session = wide.index.get_level_values(1).to_numpy()
    sessions = pd.DataFrame(
        {
            "client": wide.index.get_level_values(0).to_numpy(),
            "session": session,
            "rupture": rupture.to_numpy(),
            "repaired": (rupture & resolved).to_numpy(),
            "followed": (rupture & known).to_numpy(),
            "depth": np.where(rupture, intensity, 0.0),
            "length": rupture.to_numpy(dtype=float),
            "repairs_at": np.where(rupture & resolved, session, 0),
        }
    )
    return _of_enough_sessions(Seen(name, SELF_REPORT, rule["rater"], "intensity", sessions), options)


def _observed(name: str, rule: Mapping[str, Any], site: SiteData, options: Mapping[str, Any]) -> Seen:
    """Return ruptures that observers coded. A session counts as coded where it has any code, also one that did not occur (count 0)."""
    events, within = site.events, options["questions"]["ruptures"]["repair"]["within"]
    rows = events[events["session"].notna()] if len(events) else events
    if len(rows) and "rater" in rows:
        rows = rows[rows["rater"].isna() | rows["rater"].eq("observer")]
    codes = rows["code"].astype("str") if len(rows) else pd.Series(dtype="str")
    of_rupture = codes.str.startswith(tuple(rule["codes"]))
    if not len(rows) or not of_rupture.any():
        reason = f"needs coded events of ruptures ({', '.join(rule['codes'])}) by session"
        return Seen(name, OBSERVED, "observer", "", _no_sessions(), reason)
    count = rows["count"].astype("float64") if "count" in rows else pd.Series(1.0, index=rows.index)
    intensity = rows["intensity"].astype("float64") if "intensity" in rows else pd.Series(np.nan, index=rows.index)
    happened = count.fillna(1.0) > 0
    severe = intensity.ge(rule["least_intensity"]) if rule["least_intensity"] is not None else True
    table = pd.DataFrame(
        {
            "client": rows["client_no"].astype("int64"),
            "session": rows["session"].astype("int64"),
            "rupture": of_rupture & happened & severe,
            "repair": codes.str.startswith(tuple(rule["repair_codes"])) & happened,
            "depth": intensity.where(of_rupture & happened),
        }
    )
    by_session = table.groupby(["client", "session"]).agg(rupture=("rupture", "any"), repair=("repair", "any"), depth=("depth", "max"))
    by_session = by_session.reset_index().sort_values(["client", "session"], ignore_index=True)
    last = by_session.groupby("client")["session"].transform("max").to_numpy()
    session, rupture = by_session["session"].to_numpy(), by_session["rupture"].to_numpy(dtype=bool)
    repairs = by_session.loc[by_session["repair"], ["client", "session"]].assign(repairs_at=lambda frame: frame["session"])
    repairs = repairs.sort_values("session", kind="stable")
    asked = by_session[["client", "session"]].assign(order=np.arange(len(by_session))).sort_values("session", kind="stable")
    next_one = pd.merge_asof(asked, repairs, on="session", by="client", direction="forward", tolerance=within).sort_values("order")
    at = next_one["repairs_at"].to_numpy(dtype=float)
    repaired = rupture & np.isfinite(at)
    at = np.where(repaired, at, 0)
    sessions = pd.DataFrame(
        {
            "client": by_session["client"].to_numpy(),
            "session": session,
            "rupture": rupture,
            "repaired": repaired,
            "followed": rupture & (repaired | (last >= session + within)),
            "depth": np.where(rupture, by_session["depth"], 0.0),
            "length": np.where(rupture, np.where(repaired, np.maximum(at - session, 1), np.minimum(last - session, within) + 1), 0),
            "repairs_at": at.astype(int),
        }
    )
    return _of_enough_sessions(Seen(name, OBSERVED, "observer", "intensity", sessions), options)


def _of_enough_sessions(seen: Seen, options: Mapping[str, Any]) -> Seen:
    least = options["questions"]["ruptures"]["min_sessions"]
    kept = seen.sessions[seen.sessions.groupby("client")["session"].transform("size") >= least].reset_index(drop=True)
    reason = "" if len(kept) else f"needs clients with at least {least} sessions that were judged"
    return Seen(seen.name, seen.rule, seen.rater, seen.unit, kept, reason)
