"""Faults, statistics of scales, provenance: what stands beside the result tables."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from alliance.issues import Issue, Severity
from alliance.publishing import personal, wording
from alliance.publishing.counts import rounded, rounded_counts, rounded_results
from alliance.publishing.decisions import DisclosureError, Ledger
from alliance.publishing.profiles import Profile
from alliance.publishing.sites import Shown

FEW = Issue(
    "",
    Severity.WARN,
    "Kinds of faults that concern few rows or values each, at one site or several.",
    "They are listed in the study's own report.",
)
UNSAID = "A fault whose words hold personal details."
MOMENTS = {
    **dict.fromkeys(("n_clients", "n_rows"), "count"),
    **dict.fromkeys(("mean", "sd_within_client", "sd_between_client", "alpha"), "result"),
    # What a form allows, not what clients answered.
    **dict.fromkeys(("minimum_possible", "maximum_possible"), "safe"),
}


def issues(found: Sequence[Issue], shown: Shown, profile: Profile, rename: Callable[[str], str], ledger: Ledger) -> list[Issue]:
    """Return faults by site and kind, without files, rows, columns and values; kinds of few rows as one."""
    files = {name for issue in found for name in (issue.file, issue.sheet)}
    groups: dict[tuple[str, str, str, str], int] = {}
    for issue in found:
        site = "" if issue.site in shown.hidden else issue.site
        ledger.add("faults", site, "detail")
        said = _said(issue, files)
        key = (site, issue.code, issue.severity.value, rename(said) if issue.severity is not Severity.SITE else "The site was left out.")
        groups[key] = groups.get(key, 0) + issue.n_affected
    kinds: dict[tuple[str, str, str], list[tuple[str, int]]] = {}
    for (site, code, severity, said), number in groups.items():
        kinds.setdefault((site, code, severity), []).append((said, number))
    made, few = [], 0
    for (site, code, severity), members in sorted(kinds.items()):
        number = sum(amount for _, amount in members)
        if number < profile.min_clients:
            few += number
            ledger.add("faults", site, "count")
            continue
        made.append(
            Issue(code, Severity(severity), sorted(members)[0][0], "", site=site, n_affected=rounded(number, profile.round_counts_to))
        )
    if few >= profile.min_clients:
        made.append(replace(FEW, n_affected=rounded(few, profile.round_counts_to)))
    return made


def _said(issue: Issue, files: Collection[str]) -> str:
    """Return the message of a fault without places, names, values and counts; in general words where it still holds personal details."""
    message = issue.message
    for part in sorted({issue.column, issue.value_shown, *files} - {""}, key=lambda name: (-len(name), name)):
        message = re.sub(rf"(?<!\w){re.escape(part)}(?!\w)", "…", message)
    said = wording.without_details(message)
    return UNSAID if personal.found(said) else wording.without_counts(said)


def scale_moments(moments: pd.DataFrame, shown: Shown, profile: Profile, ledger: Ledger) -> pd.DataFrame:
    """Return statistics of scales of the sites shown, each of enough clients and therapists.

    Raises
    ------
    DisclosureError
        Where a number column is not declared.
    """
    if not len(moments):
        return moments
    numbers = [name for name in moments if pd.api.types.is_numeric_dtype(moments[name])]
    unknown = [name for name in numbers if name not in MOMENTS]
    if unknown:
        raise DisclosureError(
            f"statistics of scales: column {name} is not declared (scripts/alliance/publishing/details.py)" for name in unknown
        )
    at = moments["site"]
    clients = moments["n_clients"].to_numpy(dtype=float)
    least = at.map(shown.therapists).to_numpy(dtype=float) - np.fmax(at.map(shown.clients).to_numpy(dtype=float) - clients, 0)
    safe = (clients >= profile.min_clients) & ((least >= profile.min_therapists) | at.isin(shown.published).to_numpy())
    alone = at.isin(shown.alone).to_numpy()
    ledger.add("statistics of scales", "", "clients", int((alone & ~safe).sum()))
    ledger.add("statistics of scales", "", "site", int((~alone).sum()))
    kept = moments[alone & safe].reset_index(drop=True)
    if profile.round_counts_to > 1:
        for name in numbers:
            if MOMENTS[name] == "count":
                kept[name] = rounded_counts(kept[name], profile.round_counts_to)
            elif MOMENTS[name] == "result":
                kept[name] = rounded_results(kept[name])
    return kept


def provenance(given: Mapping[str, Any], ledger: Ledger) -> dict[str, Any]:
    """Return provenance without names and hashes of single files: names tell dates and persons, hashes of short files their content."""
    ledger.add("provenance", "", "detail", len(given.get("inputs", [])))
    return {**given, "inputs": []}
