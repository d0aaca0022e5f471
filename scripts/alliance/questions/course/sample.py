"""The sessions of one site that questions on the course of the alliance rest on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions.alliance_outcome.levels import session_scores
from alliance.questions.correlations import therapist_codes
from alliance.questions.site_data import SiteData
from alliance.statistics.correlation import MIN_CLUSTERS
from alliance.variables.client import Measure, measure

TEN = 10.0
"""Sessions that a slope is told for."""
SMALLEST_CELL = 10
"""Clients behind a value of a curve; fewer are withheld."""


@dataclass(frozen=True)
class Course:
    """Session scores of one rater's alliance at one site.

    Attributes
    ----------
    site, rater : str
    rows : DataFrame
        ``client`` (code 0..), ``session``, ``score`` (in SD of the site's session scores, about their mean), ``time`` (tens of sessions
        since the first); one row a client and session, in this order.
    clients : ndarray
        ``client_no`` of each code.
    therapists : ndarray of int or None
        Code 0.. of each client's therapist; None: not known.
    outcome, intake : ndarray, shape (clients,)
        Higher is better; NaN where missing.
    reason, no_outcome : str
        What is lacking for the course, and for its relation with the outcome.
    """

    site: str
    rater: str
    rows: pd.DataFrame
    clients: np.ndarray
    therapists: np.ndarray | None
    outcome: np.ndarray
    intake: np.ndarray
    reason: str
    no_outcome: str

    @property
    def clustered(self) -> bool:
        """Whether therapists are known and enough to be left out in turn."""
        return self.therapists is not None and len(np.unique(self.therapists)) >= MIN_CLUSTERS

    def counts(self, clients: np.ndarray | None = None, sessions: int | None = None) -> dict[str, Any]:
        """Return the counts behind an estimate that rests on some clients (codes), by default on all."""
        who = np.arange(len(self.clients)) if clients is None else np.asarray(clients, dtype=int)
        return {
            "n_clients": len(who),
            "n_therapists": None if self.therapists is None else len(np.unique(self.therapists[who])),
            "n_sessions": int(self.rows["client"].isin(who).sum()) if sessions is None else int(sessions),
            "share_missing": 1 - len(who) / len(self.clients) if len(self.clients) else None,
        }

    def codes(self, clients: np.ndarray) -> np.ndarray | None:
        """Return the therapists of some clients, None where not known."""
        return None if self.therapists is None else self.therapists[np.asarray(clients, dtype=int)]


def site_course(site: SiteData, rater: str, options: Mapping[str, Any]) -> Course:
    """Return a site's session scores by one rater, in SD of the site.

    Parameters
    ----------
    site : SiteData
    rater : str
    options : mapping
        Sections ``alliance``, ``outcome`` and ``pooling``.
    """
    scores, found = session_scores(site, {"construct": "alliance", "rater": rater}, options)
    spread = scores["value"].std() if len(scores) > 1 else np.nan
    lacking = found.reason or ("" if spread > 0 else "session scores of the alliance that differ")
    frame = scores if not lacking else scores.iloc[:0]
    codes, clients = pd.factorize(frame["client"], sort=True)
    rows = pd.DataFrame(
        {
            "client": codes,
            "session": frame["session"].to_numpy(dtype=np.int64),
            "score": (frame["value"].to_numpy(dtype=float) - scores["value"].mean()) / spread,
        }
    ).assign(time=lambda own: (own["session"] - 1) / TEN)
    clients = np.asarray(clients, dtype=np.int64)
    therapists, known = therapist_codes(pd.Index(clients), site.clients, site.scores)
    raw = {**options, "outcome": {**options["outcome"], "form": "ancova"}}
    outcome, intake = measure(site, {"construct": "outcome"}, raw), measure(site, {"construct": "intake"}, raw)
    return Course(
        site.site,
        rater,
        rows,
        clients,
        np.unique(therapists, return_inverse=True)[1] if known and len(clients) else None,
        _of(outcome, clients),
        _of(intake, clients),
        f"needs {lacking}".replace("needs needs", "needs").replace("needs no ", "no ") if lacking else "",
        outcome.reason or intake.reason,
    )


def _of(found: Measure, clients: np.ndarray) -> np.ndarray:
    return np.full(len(clients), np.nan) if found.reason else found.values.reindex(clients).to_numpy(dtype=float)


def absent(keys: Mapping[str, Any], reason: str, counts: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return a row that is not estimable, with what it needs."""
    return {**keys, **(counts or {}), "status": "not_estimable", "reason": f"not estimable: {reason}", "method": "none"}
