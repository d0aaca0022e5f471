"""Which sites the configuration leaves out of pooling, at the one place where every question's pooling takes its sites."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from alliance.questions.summary import SiteSummary

LEFT_OUT = "left_out"
DECIDED = "left_out_of_pooling"
"""Key under which a status with rounded counts says why its site is not pooled; empty: it is."""


def left_out(statuses: Sequence[Mapping[str, Any]], rule: Mapping[str, Any]) -> dict[str, str]:
    """Return the sites that are not pooled, and why, in words.

    Parameters
    ----------
    statuses : sequence of mapping
        Every site's ``status.json``; its count of clients is the same for all questions. Sites that cleaning left out are not counted.
    rule : mapping
        Section ``pooling.sites`` of the configuration. Sites named and sites below ``min_clients`` go first; the largest are those of the
        sites that are left, the first by name where several are equally large.

    Returns
    -------
    dict of str to str
        Reason by site, in the order of the sites.
    """
    if any(DECIDED in one for one in statuses):
        return {one["site"]: one[DECIDED] for one in sorted(statuses, key=lambda one: one["site"]) if one.get(DECIDED)}
    clients = {one["site"]: int(one["counts"]["clients"]) for one in statuses if one["status"] != "excluded"}
    reasons = {}
    for site, n in clients.items():
        if site in rule["leave_out"]:
            reasons[site] = "named in pooling.sites.leave_out"
        elif n < rule["min_clients"]:
            reasons[site] = f"{n} clients, fewer than the {rule['min_clients']} of pooling.sites.min_clients"
    ranked = sorted((site for site in clients if site not in reasons), key=lambda site: (-clients[site], site))
    for site in ranked[: rule["leave_out_largest"]]:
        reasons[site] = f"among the {rule['leave_out_largest']} largest sites" if rule["leave_out_largest"] > 1 else "the largest site"
    return {site: reasons[site] for site in sorted(reasons)}


def without(summaries: Sequence[SiteSummary], reasons: Mapping[str, str]) -> list[SiteSummary]:
    """Return the summaries with those of sites that are not pooled emptied, so that their rows tell the reason.

    Parameters
    ----------
    summaries : sequence of SiteSummary
    reasons : mapping of str to str
        From :func:`left_out`.
    """
    nothing = {"facts": {}, "n": {}, **{name: pd.DataFrame() for name in ("moments", "estimates", "vcov", "draws")}}
    return [
        replace(one, status=LEFT_OUT, reason=reasons[one.site], **nothing) if one.site in reasons and one.status == "ok" else one
        for one in summaries
    ]
