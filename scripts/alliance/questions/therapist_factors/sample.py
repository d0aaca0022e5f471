"""Clients, sessions and therapists of a site as the question of therapist factors looks at them.

All scores and traits are in SD of the site, so that rows of several sites can stand below each other: scores over clients (or sessions),
clients' traits over clients, therapists' traits over therapists.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions.alliance_outcome.levels import UNKNOWN_THERAPISTS, session_scores
from alliance.questions.correlations import therapists_of
from alliance.questions.site_data import SiteData
from alliance.statistics.therapist_effects import composite
from alliance.variables.client import factor_definition, measure

UNITS = ["site", "therapist", "client"]
COMPOSITE = "all client factors"
COURSE = "number of the session"
SESSIONS_PER_UNIT = 10.0
SUMMARIES_ONLY = "needs scores of single clients; the site published summaries only"


@dataclass(frozen=True)
class Sample:
    """Rows of one site, or of several below each other.

    Parameters
    ----------
    clients : dict of str to DataFrame
        By window, one row a client with a known therapist: ``site, therapist, client, n_sessions``, one column a scale of the alliance,
        and the traits of :func:`of_therapist` and :func:`of_client`.
    sessions : DataFrame
        One row a client and session: ``site, therapist, client, session``, :data:`COURSE` (tens of sessions since the first),
        ``alliance``, ``after`` (the therapist was trained before: 0, 1), and the same traits.
    reasons : dict of str to str
        Why a column is not there, by its name; ``alliance``, ``after`` and ``therapist`` among them.
    case_mix : tuple of str
        Columns of the client factors that are there.
    everybody : dict of str to int
        Clients of every site, also those who lack everything.
    """

    clients: dict[str, pd.DataFrame]
    sessions: pd.DataFrame
    reasons: dict[str, str] = field(default_factory=dict)
    case_mix: tuple[str, ...] = ()
    everybody: dict[str, int] = field(default_factory=dict)


def of_therapist(factor: str) -> str:
    """Return the column of a trait of therapists."""
    return f"therapist: {factor}"


def of_client(trait: str) -> str:
    """Return the column of a trait of clients."""
    return f"client: {trait}"


def scales(options: Mapping[str, Any]) -> list[str]:
    """Return the scales of the alliance: the whole, then those of the contrast."""
    contrast = options["questions"]["therapist_factors"]["contrast"]
    return list(dict.fromkeys([options["alliance"]["scale"], *contrast["mean_of"], contrast["against"]]))


def sample(site: SiteData, options: Mapping[str, Any]) -> Sample:
    """Return the rows of one site.

    Parameters
    ----------
    site : SiteData
    options : mapping
        ``alliance``, ``outcome``, ``questions.therapist_factors`` and ``questions.client_factors.factors``.
    """
    question = options["questions"]["therapist_factors"]
    reasons: dict[str, str] = {}
    frames = {window: _scored(site, window, options, reasons) for window in question["windows"]}
    sessions = _session_rows(site, options, reasons)
    clients = pd.Index(sorted({*sessions["client"], *(one for frame in frames.values() for one in frame["client"])}), dtype="int64")
    therapists = therapists_of(clients, site.clients, site.scores)
    if therapists.isna().all():
        reasons["therapist"] = SUMMARIES_ONLY if site.published is not None else reasons.get("alliance") or UNKNOWN_THERAPISTS
    known = clients[therapists.notna().to_numpy()]
    traits, case_mix = _client_traits(site, known, options, reasons)
    of_therapists = _therapist_traits(site, therapists.dropna(), options, reasons)
    columns = pd.concat([pd.DataFrame({"therapist": therapists.dropna()}), traits, of_therapists], axis=1)

    def joined(frame: pd.DataFrame) -> pd.DataFrame:
        rows = frame[frame["client"].isin(known)].reset_index(drop=True)
        return pd.concat([rows.assign(site=site.site), columns.loc[rows["client"]].reset_index(drop=True)], axis=1)

    everybody = len(set(clients) | set(site.clients["client_no"].dropna().astype("int64") if len(site.clients) else ()))
    return Sample({window: joined(frame) for window, frame in frames.items()}, joined(sessions), reasons, case_mix, {site.site: everybody})


def together(samples: list[Sample]) -> Sample:
    """Return the rows of several sites below each other, units named across sites."""
    windows = list(dict.fromkeys(window for one in samples for window in one.clients))
    clients = {window: _labelled([one.clients[window] for one in samples if window in one.clients]) for window in windows}
    mix = dict.fromkeys(name for one in samples for name in one.case_mix)
    everybody = {site: n for one in samples for site, n in one.everybody.items()}
    return Sample(clients, _labelled([one.sessions for one in samples]), {}, tuple(mix), everybody)


def _labelled(frames: list[pd.DataFrame]) -> pd.DataFrame:
    filled = [frame for frame in frames if len(frame)]
    if not filled:
        return pd.DataFrame(columns=UNITS)
    rows = pd.concat(filled, ignore_index=True)
    site = rows["site"].astype(str)
    return rows.assign(**{name: site + " " + rows[name].astype("int64").astype(str) for name in ("therapist", "client")})


def _scored(site: SiteData, window: str, options: Mapping[str, Any], reasons: dict[str, str]) -> pd.DataFrame:
    """Return ``client, n_sessions`` and one standardised column a scale, all of one instrument, over the clients who have them."""
    wanted = scales(options)
    rater = options["alliance"]["rater"]
    found = {}
    for scale in wanted[1:]:
        one = measure(site, {"construct": "alliance", "scale": scale, "window": window, "rater": rater}, options)
        if one.reason:
            reasons[scale] = f"needs the scale {scale} of the alliance, rated by the {rater} in window {window}: {one.reason}"
        else:
            found[scale] = one
    instruments = {one.instrument for one in found.values()}
    if len(found) < len(wanted) - 1 or len(instruments) > 1:
        for scale in wanted[1:]:
            reasons.setdefault(scale, f"needs the scales {', '.join(wanted[1:])} of one instrument")
        found = {}
    chosen = {"instrument": next(iter(instruments))} if found else {}
    total = measure(site, {"construct": "alliance", "scale": wanted[0], "window": window, "rater": rater, **chosen}, options)
    if total.reason and not found:
        reasons["alliance"] = total.reason
        return pd.DataFrame({"client": pd.Series(dtype="int64"), "n_sessions": pd.Series(dtype="float64")})
    if total.reason:
        reasons[wanted[0]] = f"needs the scale {wanted[0]} of the alliance: {total.reason}"
    else:
        found = {wanted[0]: total, **found}
    values = pd.DataFrame({scale: one.values for scale, one in found.items()}).dropna()
    sessions = next(iter(found.values())).times["n_sessions"].reindex(values.index)
    frame = pd.DataFrame({scale: _standardised(column) for scale, column in values.items()})
    return frame.assign(client=frame.index.astype("int64"), n_sessions=sessions).reset_index(drop=True)


def _session_rows(site: SiteData, options: Mapping[str, Any], reasons: dict[str, str]) -> pd.DataFrame:
    rater = options["alliance"]["rater"]
    rows, one = session_scores(site, {"construct": "alliance", "rater": rater, "scale": options["alliance"]["scale"]}, options)
    if one.reason or rows.empty:
        reasons["sessions"] = f"needs the alliance session by session, rated by the {rater}: {one.reason or 'there are no session scores'}"
    rows = rows.assign(alliance=_standardised(rows["value"]), **{COURSE: (rows["session"] - 1) / SESSIONS_PER_UNIT}).drop(columns="value")
    column = options["questions"]["therapist_factors"]["after_training"]
    reasons["after"] = f"needs the column {column} of the sessions table (0 before, 1 after the training)" if column else "not asked for"
    if column and len(site.sessions) and column in site.sessions:
        told = site.sessions.dropna(subset=["session", column]).drop_duplicates(["client_no", "session"])
        keys = pd.MultiIndex.from_frame(told[["client_no", "session"]].astype("int64"))
        after = pd.Series(told[column].astype("float64").to_numpy(), index=keys)
        values = after.reindex(pd.MultiIndex.from_frame(rows[["client", "session"]].astype("int64"))).to_numpy()
        if np.isin(values[np.isfinite(values)], (0.0, 1.0)).all():
            del reasons["after"]
            return rows.assign(after=values)
        reasons["after"] = f"needs {column} of the sessions table as 0 and 1"
    return rows.assign(after=np.nan)


def _client_traits(
    site: SiteData, clients: pd.Index, options: Mapping[str, Any], reasons: dict[str, str]
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return the traits of clients in SD of the site, and which of them are client factors that make the case mix."""
    question = options["questions"]["therapist_factors"]
    factors = options["questions"]["client_factors"]["factors"]
    wanted = dict.fromkeys([*question["variance"]["traits"], *(pair["client"] for pair in question["pairs"]), *sorted(factors)])
    columns, turned = {}, {}
    for trait in wanted:
        name = of_client(trait)
        found = measure(site, factor_definition(trait), options)
        values = _standardised(found.values.reindex(clients))
        if found.reason or values.isna().all():
            reasons[name] = f"needs {trait} of clients" + (f": {found.reason}" if found.reason else " who differ in it")
        columns[name] = values
        if trait in factors and values.notna().any():
            turned[name] = -values if factors[trait]["reversed"] else values
    columns[of_client(COMPOSITE)] = pd.Series(composite(turned) if turned else np.nan, index=clients)
    if not turned:
        reasons[of_client(COMPOSITE)] = "needs a client factor of the configuration (questions.client_factors.factors)"
    return pd.DataFrame(columns, index=clients), tuple(turned)


def _therapist_traits(site: SiteData, therapists: pd.Series, options: Mapping[str, Any], reasons: dict[str, str]) -> pd.DataFrame:
    """Return the traits of every client's therapist, in SD over the therapists of the site's clients."""
    question = options["questions"]["therapist_factors"]
    wanted = dict.fromkeys([*question["factors"], *(pair["therapist"] for pair in question["pairs"])])
    table = site.therapists
    columns = {}
    for trait in wanted:
        name = of_therapist(trait)
        known = pd.Series(dtype="float64")
        if len(table) and trait in table:
            rows = table.dropna(subset=["therapist_no"]).drop_duplicates("therapist_no")
            known = pd.to_numeric(rows.set_index(rows["therapist_no"].astype("int64"))[trait], errors="coerce").astype("float64")
        values = _standardised(known.reindex(sorted(therapists.unique())))
        if values.isna().all():
            there = known.notna().any()
            reasons[name] = f"needs therapists who differ in {trait}" if there else f"needs the column {trait} of the therapists table"
        columns[name] = pd.Series(values.reindex(therapists).to_numpy(), index=therapists.index)
    return pd.DataFrame(columns, index=therapists.index)


def _standardised(values: pd.Series) -> pd.Series:
    values = values.astype("float64")
    spread = values.std()
    return (values - values.mean()) / (spread if spread > 1e-12 * max(1.0, abs(values.mean())) else np.nan)
