"""How far clients keep their order from one rated session to the next, and whose ratings are the more stable (claim A3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import pandas as pd

from alliance.instruments.registry import TOTAL
from alliance.questions.alliance_outcome.measures import PREFERRED
from alliance.questions.correlations import therapist_codes
from alliance.questions.item_answers import ALL_SESSIONS, SESSION
from alliance.questions.part import Part
from alliance.questions.site_data import SiteData
from alliance.statistics.stability import stability, stability_contrast

COEFFICIENT = "next rated session"


def add_stability(part: Part, site: SiteData, options: Mapping[str, Any], raters: Sequence[str]) -> None:
    """Add the stability of every alliance instrument's total, and differences between raters of the same dyads and sessions.

    Parameters
    ----------
    part : Part
        Takes the rows.
    site : SiteData
    options : mapping
        As for :func:`alliance.questions.measurement.question.estimate`.
    raters : sequence of str
        Raters, in the order of their contrasts (first minus second).
    """
    level, minimum = options["pooling"]["level"], options["pooling"]["min_clients"]
    tables = _tables(site, options["alliance"]["instruments"])
    chosen: dict[str, tuple[str, pd.DataFrame]] = {}
    for (instrument, rater), table in tables.items():
        chosen.setdefault(rater, (instrument, table))
        form = site.instruments[instrument].forms.get(rater, "") if instrument in site.instruments else ""
        identity = _identity(instrument, site, table) | {"rater": rater, "form": form}
        found = stability(table.to_numpy(dtype=float), _therapists(site, table.index), level=level, min_clients=minimum)
        _add(part, identity, "correlation", found, found.estimate, found.std_error_z * (1 - found.estimate**2))
    for first, second in combinations(raters, 2):
        if first not in chosen or second not in chosen:
            continue
        (one, left), (two, right) = chosen[first], chosen[second]
        clients, sessions = left.index.intersection(right.index), left.columns.intersection(right.columns)
        left, right = (table.reindex(index=clients, columns=sessions) for table in (left, right))
        identity = _identity(PREFERRED, site, left.where(right.notna())) | {"contrast": f"{first} minus {second}"}
        found = stability_contrast(
            left.to_numpy(dtype=float), right.to_numpy(dtype=float), _therapists(site, clients), level=level, min_clients=minimum
        )
        note = "" if one == two else f"the raters used different instruments ({one} and {two})"
        _add(part, identity, "correlation_contrast", found, found.difference, found.std_error, note)


def _tables(site: SiteData, instruments: Sequence[str]) -> dict[tuple[str, str], pd.DataFrame]:
    """Return session scores, one row a client and one column a rated session, by instrument and rater in the order of preference."""
    scores = site.scores
    if scores.empty:
        return {}
    derived = scores["derived_from"].fillna("").ne("") if "derived_from" in scores else pd.Series(False, index=scores.index)
    usable = scores["timepoint"].eq(SESSION) & scores["scale"].eq(TOTAL) & scores["score"].notna() & scores["session"].notna() & ~derived
    rows = scores[usable.to_numpy(dtype=bool)]
    found = {}
    for instrument in instruments:
        for rater, own in rows[rows["instrument"].eq(instrument).to_numpy()].groupby("rater", sort=True, observed=True):
            table = own.pivot_table(index="client_no", columns="session", values="score", aggfunc="mean")
            if table.shape[1] > 1:
                found[instrument, str(rater)] = table.sort_index(axis=1)
    return found


def _therapists(site: SiteData, clients: pd.Index) -> Any:
    codes, known = therapist_codes(pd.Index(clients), site.clients, site.scores)
    return codes if known else None


def _identity(instrument: str, site: SiteData, table: pd.DataFrame) -> dict[str, Any]:
    return {
        "instrument": instrument,
        "window": ALL_SESSIONS,
        "instrument_scale": TOTAL,
        "level": "client",
        "headline": "no",
        "coefficient": COEFFICIENT,
        "n_sessions": int(table.notna().to_numpy().sum()),
    }


def _add(part: Part, identity: Mapping[str, Any], kind: str, found: Any, estimate: float, error: float, note: str = "") -> None:
    names = ("instrument", "rater", "contrast")
    parameter = ".".join(["stability", *(str(identity[name]) for name in names if identity.get(name))])
    row = {
        **identity,
        "parameter": parameter,
        "estimate_type": kind,
        "n_clients": found.n_clients,
        "n_therapists": found.n_clusters or None,
    }
    if found.status == "not_estimable":
        reason = f"not estimable: {found.reason}"
        part.add({**row, "method": "none", "status": "not_estimable", "reason": reason})
        return
    reason = "; ".join(text for text in (found.reason, note) if text)
    fields = {"estimate": estimate, "ci_low": found.ci_low, "ci_high": found.ci_high, "method": found.method}
    part.add({**row, **fields, "status": "flagged" if reason else "estimated", "reason": reason}, error**2)
