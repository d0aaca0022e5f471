"""Coded events and the alliance of sessions, side by side: what every part of the question on interventions looks at."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions.path_models.mediation import Sessions, out_of_order
from alliance.questions.site_data import SiteData
from alliance.variables.checks import EVENTS_PREFIX
from alliance.variables.client import attended_sessions, event_counts, event_intensities, event_rates, in_window

QUESTION = "interventions"
SUMMARIES_ONLY = "needs events and ratings session by session; the site published summaries only"
KEYS = ["client", "session"]
RATE, INTENSITY, COUNT = "rate", "intensity", "count"
_READ = {RATE: event_rates, INTENSITY: event_intensities, COUNT: event_counts}


class CodedSessions:
    """The coded sessions of one site, read once.

    Parameters
    ----------
    site : SiteData
    options : mapping
        Configuration; sections ``questions.interventions``, ``alliance`` and ``symptoms``.
    """

    def __init__(self, site: SiteData, options: Mapping[str, Any]) -> None:
        self.site, self.options = site, options
        self.section = options["questions"][QUESTION]
        self.sessions = Sessions(site, options)
        self.alliance = cache(self._alliance)
        self.event = cache(self._event)
        self.lagged = cache(self._lagged)
        self.attended = cache(lambda: attended_sessions(site))

    @property
    def therapists(self) -> pd.Series | None:
        """Code of every client's therapist; None where therapists are not known."""
        return self.sessions.therapists

    @property
    def level(self) -> float:
        """Confidence level."""
        return self.options["pooling"]["level"]

    @property
    def min_clients(self) -> int:
        """Fewest clients behind an estimate."""
        return self.options["pooling"]["min_clients"]

    def therapist_of(self, clients: np.ndarray | pd.Series) -> np.ndarray | None:
        """Return the therapist of every row; None where therapists are not known."""
        return None if self.therapists is None else pd.Series(np.asarray(clients)).map(self.therapists).to_numpy()

    def _alliance(self, rater: str, scale: str = "") -> tuple[pd.DataFrame, str]:
        """Return ``client, session, alliance`` of a rater, and why there is none."""
        if self.site.published is not None:
            return pd.DataFrame(columns=[*KEYS, "alliance"]), SUMMARIES_ONLY
        definition = {"construct": "alliance", "rater": rater, **({"scale": scale} if scale else {})}
        frame, measured = self.sessions.scores(definition)
        return frame.rename(columns={"value": "alliance"}), f"alliance ({rater}): {measured.reason}" if measured.reason else ""

    def symptoms(self) -> tuple[pd.DataFrame, str]:
        """Return ``client, session, symptoms`` (higher is better), and why there are none."""
        frame, measured = self.sessions.scores({"construct": "symptoms"})
        return frame.rename(columns={"value": "symptoms"}), f"symptoms: {measured.reason}" if measured.reason else ""

    def _event(self, name: str, value: str = RATE) -> tuple[pd.DataFrame, str]:
        """Return ``client, session, event``: an event of the configuration in every coded session, and why there is nothing."""
        if self.site.published is not None:
            return pd.DataFrame(columns=[*KEYS, "event"]), SUMMARIES_ONLY
        content = self.section["events"][name]
        frame, reason = _READ[value](self.site, f"{EVENTS_PREFIX}{content['code']}", content["target"] or "")
        return frame.rename(columns={"client_no": "client", "score": "event"}).sort_values(KEYS, ignore_index=True), reason

    def _lagged(self, name: str, rater: str) -> tuple[pd.DataFrame, str]:
        """Return sessions with an event and the alliance, and both ``lag`` sessions later, and why there are none.

        ``client, session, event, alliance, next_alliance, next_event``; one of the last two may be missing. Sessions whose dates contradict
        their numbers are left out.
        """
        event, reason = self.event(name)
        alliance, other = self.alliance(rater)
        columns = [*KEYS, "event", "alliance", "next_alliance", "next_event"]
        if reason or other:
            return pd.DataFrame(columns=columns), reason or other
        frame = event.merge(alliance, on=KEYS, how="inner")
        for source, column in ((alliance, "alliance"), (event, "event")):
            later = source.assign(session=source["session"] - self.section["lag"]).rename(columns={column: f"next_{column}"})
            frame = frame.merge(later[[*KEYS, f"next_{column}"]], on=KEYS, how="left")
        frame = frame[frame[["next_alliance", "next_event"]].notna().any(axis=1)]
        frame = frame[~out_of_order(frame, [0, self.section["lag"]], self.sessions.dates)]
        return frame.sort_values(KEYS, ignore_index=True)[columns], ""

    def inside(self, frame: pd.DataFrame, window: str) -> pd.DataFrame:
        """Return the rows of sessions of a window of ``alliance.windows``."""
        keys = frame[KEYS].rename(columns={"client": "client_no"})
        chosen = in_window(keys, self.options["alliance"]["windows"][window], self.attended())
        return frame[np.asarray(chosen, dtype=bool)]

    def treatments(self) -> dict[str, set[int]]:
        """Return the clients of every treatment that the site names."""
        clients = self.site.clients
        if clients.empty or "treatment" not in clients:
            return {}
        known = clients[clients["treatment"].fillna("").astype(str).ne("") & clients["client_no"].notna()]
        return {
            str(name): set(rows["client_no"].astype("int64")) for name, rows in known.groupby(known["treatment"].astype(str), sort=True)
        }

    def same_rater(self, name: str, rater: str) -> str:
        """Return whether the rater of the alliance coded the event: yes, no, mixed, or unknown."""
        rows = self.site.events
        if rows.empty or "rater" not in rows:
            return "unknown"
        code = self.section["events"][name]["code"]
        coders = set(rows.loc[rows["code"].eq(code) | rows["code"].str.startswith(f"{code}_"), "rater"].fillna("").astype(str))
        if not coders - {""}:
            return "unknown"
        return "no" if rater not in coders else "yes" if coders == {rater} else "mixed"


def enough(frame: pd.DataFrame, fewest_sessions: int, minimum: int, what: str) -> str:
    """Return why the rows are too few, empty where they are not: ``minimum`` clients with so many sessions each."""
    counted = int((frame.groupby("client").size() >= fewest_sessions).sum()) if len(frame) else 0
    if counted >= minimum:
        return ""
    times = "" if fewest_sessions == 1 else f"{fewest_sessions} times "
    return f"needs at least {minimum} clients with {times}{what}; has {counted}"


def counts(frame: pd.DataFrame, therapists: pd.Series | None, fewest_sessions: int = 1) -> dict[str, Any]:
    """Return sessions, clients and therapists behind rows, of clients with at least so many."""
    size = frame.groupby("client")["session"].transform("size") if len(frame) else pd.Series(dtype=int)
    kept = frame[size.to_numpy() >= fewest_sessions] if len(frame) else frame
    clients = kept["client"].unique()
    return {
        "n_sessions": len(kept),
        "n_clients": len(clients),
        "n_therapists": None if therapists is None else int(therapists.reindex(clients).nunique()),
    }


def within_sd(values: pd.Series, clients: pd.Series) -> float:
    """Return the standard deviation of values about the means of their clients; NaN where nothing differs."""
    around = values - values.groupby(clients).transform("mean")
    df = len(values) - clients.nunique()
    spread = float(np.sqrt((around**2).sum() / df)) if df > 0 else float("nan")
    return spread if spread > 0 else float("nan")


def rupture_windows(alliance: pd.DataFrame, rule: Mapping[str, Any], shared: Mapping[str, Any]) -> pd.DataFrame:
    """Return the sessions of ruptures after which the alliance could be regained in the next one, by a rule for ratings.

    Parameters
    ----------
    alliance : DataFrame
        ``client, session, alliance``.
    rule : mapping
        A criterion of ``questions.ruptures.criteria``.
    shared : mapping
        What all criteria share: further arguments of :func:`alliance.statistics.ruptures.ruptures`.

    Returns
    -------
    DataFrame
        ``client, session, alliance, before`` (level before the fall), ``depth`` (how far below it), ``next_alliance`` and ``repaired``
        (1: the rupture is repaired in the next session, 0: it is not). Only sessions whose next one is rated and still in the time
        for repair.
    """
    from alliance.statistics.ruptures import onsets, ruptures, scale, series

    columns = [*KEYS, "alliance", "before", "depth", "next_alliance", "repaired"]
    rows: list[tuple[Any, ...]] = []
    found = series(*(alliance[name].to_numpy() for name in (*KEYS, "alliance")))
    sd = scale(found)
    if not sd.within > 0:
        return pd.DataFrame(columns=columns)
    seen, began = ruptures(rule, found, sd, **shared), onsets(rule, found, sd, shared["largest_gap"])
    for start, client in np.argwhere(seen.starts):
        before, repaired_at = began.before[start, client], seen.repairs_at[start, client]
        last = repaired_at or began.begins[start, client] + seen.length[start, client] - 1
        for at in range(start, len(found.values) - 1):
            session, following = found.sessions[at, client], found.sessions[at + 1, client]
            if not found.rated[at + 1, client] or following > last:
                break
            if following == session + 1:
                level = found.values[at, client]
                outcome = found.values[at + 1, client], float(following == repaired_at)
                rows.append((found.clients[client], session, level, before, before - level, *outcome))
    return pd.DataFrame(rows, columns=columns).sort_values(KEYS, ignore_index=True)
