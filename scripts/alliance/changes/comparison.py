"""Two states of a study beside each other: what is new, gone or different."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from alliance.changes.state import Snapshot
from alliance.files import canonical_json, digest
from alliance.questions.contract import COUNT, NUMBER, TEXT, typed
from alliance.reports.inputs import EXCLUDED

ALIKE = 1e-9
"""Relative difference up to which two numbers count as the same: processors may round the last digits in another way."""

_VALUES = {"estimate": NUMBER, "ci_low": NUMBER, "ci_high": NUMBER, "n_clients": COUNT, "n_sites": COUNT, "status": TEXT, "reason": TEXT}
_SAID = ("label", "question", "table", "claim", "estimate_type", "scale")
HEADLINES = {
    "scenario": TEXT,
    "headline": TEXT,
    **dict.fromkeys(_SAID, TEXT),
    **{f"old_{name}": kind for name, kind in _VALUES.items()},
    **{f"new_{name}": kind for name, kind in _VALUES.items()},
    "difference": NUMBER,
    "changed": TEXT,
}
INPUTS = {"scenarios": TEXT, "site": TEXT, "file": TEXT, "what": TEXT, "rows_before": COUNT, "rows_after": COUNT}
SITES = {
    "scenarios": TEXT,
    "site": TEXT,
    "label": TEXT,
    "what": TEXT,
    **{f"{counted}_{when}": COUNT for counted in ("clients", "sessions") for when in ("before", "after")},
    "reason": TEXT,
}
CONFIGURATION = {"scenario": TEXT, "key": TEXT, "old": TEXT, "new": TEXT}
VERSIONS = {"scenario": TEXT, "what": TEXT, "old": TEXT, "new": TEXT}
DESCRIBED: dict[str, tuple[str, dict[str, str]]] = {
    "results/changes/headlines.csv": (
        "Headline numbers of the scenarios of the last run, before and now. Like all of `results/changes/`, relative to the run before.",
        {
            "scenario": "scenario; each is compared with its own last run",
            "headline": "key of the headline number in `workflow/headlines.yaml`",
            "label": "what the number is, in words",
            "question": "question of the configuration",
            "table": "table of that question in which its row stands",
            "claim": "claim of the review that it speaks to",
            "estimate_type": "what the number is (closed list above)",
            "scale": "scale on which it was pooled",
            "old_...": "`estimate`, `ci_low`, `ci_high`, `n_clients`, `n_sites`, `status`, `reason` before; empty: no such number",
            "new_...": "the same now",
            "difference": "new minus old estimate",
            "changed": "yes, no (all but the reason is the same), new (was no headline number before) or gone",
        },
    ),
    "results/changes/inputs.csv": (
        "Files of sites that differ.",
        {
            "scenarios": "scenarios since whose last run the file differs",
            "site": "site",
            "file": "file of the site; `withdrawn.csv`: its clients who withdrew",
            "what": "added, removed or changed",
            "rows_before": "rows received before; empty: not known, or the file was not there",
            "rows_after": "rows received now",
        },
    ),
    "results/changes/sites.csv": (
        "Sites that differ.",
        {
            "scenarios": "scenarios since whose last run the site differs",
            "site": "site",
            "label": "its label",
            "what": "added; added, left out; removed; left out; left out as before; back; or changed",
            "clients_before, clients_after, sessions_before, sessions_after": "counts after cleaning; empty: not known",
            "reason": "why it is left out",
        },
    ),
    "results/changes/configuration.csv": (
        "Keys of the resolved configuration that differ.",
        {"scenario": "scenario", "key": "dotted key", "old": "value before, as JSON; empty: there was no such key", "new": "value now"},
    ),
    "results/changes/versions.csv": (
        "Parts of the program that differ.",
        {"scenario": "scenario", "what": "program, packages or instruments", "old": "digest before", "new": "digest now"},
    ),
}
"""What the files of ``results/changes/`` hold, by path: a sentence, and columns with their meanings."""

_PARTS = {"program": "code_digest", "packages": "lock_digest", "instruments": "instruments_digest"}


@dataclass(frozen=True)
class Comparison:
    """What changed since each scenario was last run.

    Parameters
    ----------
    now : dict
        The scenarios of this run.
    compared, first, waiting, removed : tuple of str
        Scenarios that were run before, that were run for the first time, that have results and were not run this time, and that have
        none any more.
    headlines, inputs, sites, configuration, versions : DataFrame
        With the columns of the constants of this module. ``changed`` is yes, no, new (was not there before) or gone.
    causes : dict
        For each compared scenario what changed of what its numbers rest on.
    """

    now: Mapping[str, Snapshot]
    compared: tuple[str, ...]
    first: tuple[str, ...]
    waiting: tuple[str, ...]
    removed: tuple[str, ...]
    headlines: pd.DataFrame
    inputs: pd.DataFrame
    sites: pd.DataFrame
    configuration: pd.DataFrame
    versions: pd.DataFrame
    causes: Mapping[str, tuple[str, ...]]


def compare(before: Mapping[str, Snapshot], now: Mapping[str, Snapshot], known: Sequence[str]) -> Comparison:
    """Return what changed.

    Parameters
    ----------
    before : mapping
        What is kept of earlier runs, by scenario.
    now : mapping
        The scenarios of this run.
    known : sequence of str
        All scenarios that have results.
    """
    compared = tuple(name for name in now if name in before)
    numbers = [row for name, one in now.items() for row in headline_rows(name, before[name].headlines if name in before else (), one)]
    inputs, sites = [], []
    for names in _alike({name: before[name].inputs for name in compared}):
        old, new, together = before[names[0]].inputs, now[names[0]].inputs, " ".join(names)
        inputs += [{"scenarios": together, **row} for row in input_rows(old, new)]
        sites += [{"scenarios": together, **row} for row in site_rows(old, new)]
    keys = [
        {"scenario": name, **row} for name in compared for row in configuration_rows(before[name].configuration, now[name].configuration)
    ]
    versions = [{"scenario": name, **row} for name in compared for row in version_rows(before[name].digests, now[name].digests)]
    return Comparison(
        now=now,
        compared=compared,
        first=tuple(name for name in now if name not in before),
        waiting=tuple(name for name in known if name in before and name not in now),
        removed=tuple(name for name in before if name not in known),
        headlines=_frame(numbers, HEADLINES),
        inputs=_frame(inputs, INPUTS),
        sites=_frame(sites, SITES),
        configuration=_frame(keys, CONFIGURATION),
        versions=_frame(versions, VERSIONS),
        causes={name: causes(before[name], now[name]) for name in compared},
    )


def _frame(rows: list[dict[str, Any]], columns: dict[str, str]) -> pd.DataFrame:
    return typed(pd.DataFrame(rows, columns=list(columns)), columns)


def _alike(values: Mapping[str, Any]) -> list[list[str]]:
    """Return names that share a value, in the order in which they first stand."""
    groups: dict[str, list[str]] = {}
    for name, value in values.items():
        groups.setdefault(digest(value), []).append(name)
    return list(groups.values())


def causes(before: Snapshot, now: Snapshot) -> tuple[str, ...]:
    """Return what changed of all that headline numbers rest on, in words."""
    found = {
        "the data": before.inputs != now.inputs,
        "the configuration": before.configuration != now.configuration,
        **{f"the {part}": before.digests[name] != now.digests[name] for part, name in _PARTS.items()},
        "the list of headline numbers": before.listed != now.listed,
    }
    return tuple(name for name, changed in found.items() if changed)


def headline_rows(scenario: str, before: Sequence[Mapping[str, Any]], now: Snapshot) -> list[dict[str, Any]]:
    """Return one row a headline number: before, now, difference (now minus before, on the scale of the estimate)."""
    old = {row["headline"]: row for row in before}
    new = {row["headline"]: row for row in now.headlines}
    rows = []
    for key in [*new, *(key for key in old if key not in new)]:
        said = new.get(key) or old[key]
        row = {"scenario": scenario, "headline": key, **{name: said[name] for name in _SAID}}
        row |= {f"old_{name}": old[key][name] if key in old else None for name in _VALUES}
        row |= {f"new_{name}": new[key][name] if key in new else None for name in _VALUES}
        both = row["old_estimate"] is not None and row["new_estimate"] is not None
        row["difference"] = row["new_estimate"] - row["old_estimate"] if both else None
        same = all(_same(row[f"old_{name}"], row[f"new_{name}"]) for name in _VALUES if name != "reason")
        row["changed"] = "new" if key not in old else "gone" if key not in new else "no" if same else "yes"
        rows.append(row)
    return rows


def _same(old: Any, new: Any) -> bool:
    if isinstance(old, int | float) and isinstance(new, int | float):
        return math.isclose(old, new, rel_tol=ALIKE, abs_tol=1e-12)
    return old == new


def input_rows(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return every file that was added, removed or changed, with its rows as received."""
    rows = []
    for site in sorted({*before, *now}):
        old, new = (state.get(site, {}).get("files", {}) for state in (before, now))
        for file in sorted({*old, *new}):
            if old.get(file, {}).get("sha256") == new.get(file, {}).get("sha256"):
                continue
            what = "added" if file not in old else "removed" if file not in new else "changed"
            counted = {"rows_before": old.get(file, {}).get("rows"), "rows_after": new.get(file, {}).get("rows")}
            rows.append({"site": site, "file": file, "what": what, **counted})
    return rows


def site_rows(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return every site that is new, gone, newly left out or back, or that changed its files, its numbers or how it stands."""
    rows = []
    for site in sorted({*before, *now}):
        old, new = before.get(site), now.get(site)
        if old == new:
            continue
        row = {"site": site, "label": (new or old or {})["label"], "reason": (new or {}).get("reason", "")}
        for when, state in (("before", old), ("after", new)):
            row |= {f"{name}_{when}": amount for name, amount in (state or {}).get("counts", {}).items()}
        left_out = [state is not None and state["status"] == EXCLUDED for state in (old, new)]
        if old is None:
            what = "added, left out" if left_out[1] else "added"
        elif new is None:
            what = "removed"
        elif left_out[0] != left_out[1]:
            what = "left out" if left_out[1] else "back"
        else:
            what = "left out as before" if left_out[1] else "changed"
        rows.append({**row, "what": what})
    return rows


def configuration_rows(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return every key whose value differs, dotted, with both values as JSON; empty where the key was not or is no longer there."""
    old, new = flat(before), flat(now)
    return [
        {"key": key, "old": old.get(key, ""), "new": new.get(key, "")}
        for key in sorted({*old, *new})
        if old.get(key, "") != new.get(key, "")
    ]


def flat(configuration: Mapping[str, Any], above: str = "") -> dict[str, str]:
    """Return dotted keys with their values as JSON; lists are values."""
    found: dict[str, str] = {}
    for key, value in configuration.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{above}{key}.")
        else:
            found[f"{above}{key}"] = canonical_json(value)
    return found


def version_rows(before: Mapping[str, str], now: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the parts of the program whose digest differs."""
    return [{"what": part, "old": before[name], "new": now[name]} for part, name in _PARTS.items() if before[name] != now[name]]
