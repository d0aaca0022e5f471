"""What a bundle hides and by which rules, as a text, as a table and for machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pandas as pd

from alliance.files import csv_text
from alliance.publishing.profiles import Profile

if TYPE_CHECKING:
    from alliance.publishing.disclosure import Decision

WHAT = {
    "internal": "Everything is shown as it was computed. This bundle is for the study's own people and may not be given away.",
    "share": "For partners who have agreed to keep it to themselves.",
    "public": "For everybody.",
}
LIMITS = {
    "min_clients": "clients behind a number, in a share and in its rest: at least",
    "min_therapists": "therapists behind a number: at least",
    "round_counts_to": "counts are rounded to multiples of",
    "min_df": "residual degrees of freedom of a model: at least",
    "max_therapist_share": "share (0-1) of clients of a site, number or side of a share that one therapist may have, where known: at most",
    "min_site_clients": "clients of a site that is shown by itself: at least",
}
NEVER = "Values, ids and curves of single clients or therapists, free text, exact dates and the sites’ files are never in a bundle."
OF_INTERNAL = "Nothing is hidden: numbers may rest on single clients, and texts may hold dates. Ids and the sites’ files are not in it."


def statement(profile: Profile, decisions: Mapping[str, Sequence[Decision]]) -> str:
    """Return ``DISCLOSURE.md``: profile, limits, who accepted weaker ones, and what was hidden by which rule.

    Parameters
    ----------
    profile : Profile
    decisions : mapping
        What was hidden, by scenario; no value stands in it.
    """
    for_whom = f"Profile: **{profile.name}**. {WHAT.get(profile.name, '')}".rstrip()
    lines = ["# Disclosure control", "", for_whom, "", OF_INTERNAL if profile.hides_nothing else NEVER, ""]
    if not profile.hides_nothing:
        lines += ["## Limits", "", *(f"- {meaning} {getattr(profile, name):g}" for name, meaning in LIMITS.items())]
        lines += ["- smallest and largest values of clients: " + ("shown" if profile.extremes else "not shown"), ""]
    if profile.accepted_by:
        lines += [f"**Limits weaker than the profile's own were accepted by {profile.accepted_by}.**", ""]
    lines += ["## What was hidden", ""]
    for scenario, made in decisions.items():
        lines += [f"### Scenario {scenario}", ""] if len(decisions) > 1 else []
        lines += _table(made)
    lines += ["Every decision stands in `disclosure.csv`; no hidden value stands in either."]
    return "\n".join(lines) + "\n"


def _table(made: Sequence[Decision]) -> list[str]:
    if not made:
        return ["Nothing.", ""]
    groups: dict[tuple[str, str, str], int] = {}
    for one in made:
        key = (one.rule, one.output, one.why)
        groups[key] = groups.get(key, 0) + one.n_cells
    rows = [f"| {rule} | {output} | {amount} | {why} |".replace("\n", " ") for (rule, output, why), amount in sorted(groups.items())]
    return ["| rule | output | cells | why |", "| --- | --- | --- | --- |", *rows, ""]


def decision_table(decisions: Mapping[str, Sequence[Decision]]) -> str:
    """Return ``disclosure.csv``: one row a decision."""
    columns = ["scenario", "output", "site", "rule", "n_cells", "why"]
    pairs = [(scenario, one) for scenario, made in decisions.items() for one in made]
    rows = [{"scenario": scenario, **{name: getattr(one, name) for name in columns[1:]}} for scenario, one in pairs]
    return csv_text(pd.DataFrame(rows, columns=columns))


def for_machines(profile: Profile, decisions: Mapping[str, Sequence[Decision]], not_leaks: Sequence[str]) -> dict[str, Any]:
    """Return ``disclosure.json``, which the check of a bundle reads: profile, limits, and what is no leak although it looks like one."""
    limits = {name: value for name, value in asdict(profile).items() if name not in ("name", "accepted_by")}
    return {
        "profile": profile.name,
        "limits": limits,
        "accepted_by": profile.accepted_by,
        "n_decisions": {scenario: len(made) for scenario, made in decisions.items()},
        "not_leaks": sorted(set(not_leaks)),
    }
