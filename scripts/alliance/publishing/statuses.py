"""What is told of the sites: counts, flow of clients, files, facts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from alliance.issues import counted
from alliance.publishing import personal, wording
from alliance.publishing.counts import rounded
from alliance.publishing.decisions import DisclosureError, Ledger
from alliance.publishing.profiles import Profile
from alliance.publishing.sites import EXCLUDED, OTHERS, Shown
from alliance.questions import pooled_sites

OUTPUT = "sites"
FACTS = ("country", "language", "setting", "design", "treatment_format")
"""Facts of a site that are published; contacts, menus of treatments and other free text are not."""
SAID = ("site", "data", "status", "n_sites")
COUNTS = ("clients", "therapists", "sessions", "ratings")
OF_INSTRUMENTS = ("level", "raters", "response", "timepoints")
STEPS = ("sent", "cleaned", "with_ratings", "with_session_ratings")
REMOVED = ("withdrawn", "test_records", "without_usable_rows")
ROWS = ("rows_in", "rows_used", "rows_quarantined", "rows_excluded_by_rule")


def published(
    statuses: Sequence[Mapping[str, Any]],
    options: Mapping[str, Any],
    shown: Shown,
    profile: Profile,
    rename: Callable[[str], str],
    ledger: Ledger,
) -> list[dict[str, Any]]:
    """Return the sites' statuses as they may be published, those of hidden sites as one.

    Parameters
    ----------
    statuses : sequence of mapping
    options : mapping
        Resolved configuration; says which sites are not pooled.
    shown : Shown
    profile : Profile
    rename : callable
        Puts other names in place of hidden sites.
    ledger : Ledger

    Raises
    ------
    DisclosureError
        Where the label of a site holds personal details.
    """
    why_not_pooled = pooled_sites.left_out(statuses, options["pooling"]["sites"])
    hidden = [status for status in statuses if status["site"] in shown.hidden]
    alone = [status for status in statuses if status["site"] not in shown.hidden]
    if hidden:
        alone = [*alone, _together(hidden, {status["site"] for status in alone})]
        ledger.add(OUTPUT, "", "site", len(hidden))
    steps = _steps_told(alone, profile, ledger)
    made = []
    hits = [f"the label of {status['site']} (site.yaml) holds {kind}" for status in alone for kind in personal.found(str(status["label"]))]
    if hits:
        raise DisclosureError(hits)
    for status in alone:
        why = why_not_pooled.get(status["site"], "")
        made.append(_one(status, steps, profile, rename, ledger) | {"left_out_of_pooling": wording.without_counts(rename(why))})
    return made


def _one(status: Mapping[str, Any], steps: Sequence[str], profile: Profile, rename: Callable[[str], str], ledger: Ledger) -> dict[str, Any]:
    site, out = status["site"], status["status"] == EXCLUDED
    facts = {name: value for name, value in status.get("site_facts", {}).items() if name in FACTS and not personal.found(str(value))}
    ledger.add(OUTPUT, site, "detail", len(status.get("site_facts", {})) - len(facts))
    counts = {} if out else {name: _count(amount, profile) for name, amount in status.get("counts", {}).items() if name in COUNTS}
    if out:
        counts = {"clients": 0}
    return {
        **{name: status[name] for name in SAID if name in status},
        "label": personal.generalised(str(status["label"])),
        "site_facts": {name: personal.generalised(str(value)) for name, value in facts.items()},
        "reasons": [_plain(rename(reason), status) for reason in status.get("reasons", ())],
        "counts": counts,
        "flow": {
            step: rounded(status["flow"][step], profile.round_counts_to) for step in steps if step in status.get("flow", {}) and not out
        },
        "files": [] if out else _files(status, profile, ledger),
        "instruments": {} if out else {key: _instrument(known, profile) for key, known in sorted(status.get("instruments", {}).items())},
        "missing_reasons": {},
    }


def _plain(reason: str, status: Mapping[str, Any]) -> str:
    """Return why a site was left out without names of files, counts and values."""
    for file in sorted({str(file.get("file", "")) for file in status.get("files", ())} - {""}, key=lambda name: (-len(name), name)):
        reason = reason.replace(f"{file}: ", "").replace(file, "a file")
    reason = wording.without_details(reason)
    return "the reason is not shown, since it holds personal details" if personal.found(reason) else wording.without_counts(reason)


def _count(amount: Any, profile: Profile) -> int | None:
    return None if amount is None else rounded(amount, profile.round_counts_to)


def _instrument(known: Mapping[str, Any], profile: Profile) -> dict[str, Any]:
    """Return what a site has of an instrument; of few forms not how many."""
    told = {name: known[name] for name in OF_INSTRUMENTS if name in known}
    n = known.get("n")
    return told if n is None or n < profile.min_clients else {**told, "n": rounded(n, profile.round_counts_to)}


def _files(status: Mapping[str, Any], profile: Profile, ledger: Ledger) -> list[dict[str, Any]]:
    """Return one account of the rows of all files: names of files tell dates, persons and programs, single files small counts."""
    files = status.get("files", ())
    if not files:
        return []
    ledger.add(OUTPUT, status["site"], "detail", len(files))
    account = {name: sum(int(file.get(name) or 0) for file in files) for name in ROWS[1:]}
    # A row is no client; still, few rows may be those of one.
    few = {name for name in account if account[name] < profile.min_clients}
    told = {name: rounded(amount, profile.round_counts_to) for name, amount in account.items() if name not in few}
    ledger.add(OUTPUT, status["site"], "count", sum(account[name] > 0 for name in few))
    # What was received is the sum of what is told, or the rest would follow from it.
    return [{"file": counted(len(files), "file"), "sheet": "", "rows_in": sum(told.values()), **dict.fromkeys(ROWS[1:]), **told}]


def totals(statuses: Sequence[Mapping[str, Any]], published: Sequence[Mapping[str, Any]], profile: Profile) -> dict[str, dict[str, int]]:
    """Return the counts over all sites in the results, each rounded by itself; empty where counts are not rounded.

    Parameters
    ----------
    statuses : sequence of mapping
        Before publishing.
    published : sequence of mapping
        From :func:`published`: a count is told where it is told of sites.
    profile : Profile
    """
    if profile.round_counts_to == 1:
        return {}
    included = [status for status in statuses if status["status"] != EXCLUDED]
    made = {}
    for part in ("counts", "flow"):
        told = list(dict.fromkeys(name for status in published if status["status"] != EXCLUDED for name in status[part]))
        sums = _sums([{name: status.get(part, {}).get(name) for name in told} for status in included if status.get(part)])
        made[part] = {name: rounded(amount, profile.round_counts_to) for name, amount in sums.items()}
    return made


def _steps_told(statuses: Sequence[Mapping[str, Any]], profile: Profile, ledger: Ledger) -> list[str]:
    """Return the steps of the flow between which no site loses few clients, and the removals of which no site has few.

    A step that would tell of few clients at one site is told of none, since the sums over sites would give it away.
    """
    flows = [status["flow"] for status in statuses if status.get("flow") and status["status"] != EXCLUDED]
    removed = [step for step in REMOVED if all(_told(flow.get(step), profile) for flow in flows)]
    told = ["cleaned"]
    for step in ("with_ratings", "with_session_ratings"):
        if all(_told(_lost(flow, told[-1], step), profile) for flow in flows):
            told.append(step)
    # What was sent is what is left and what was removed: with rounded counts it may stand where removals do not.
    if profile.round_counts_to > 1 or all(_told(_lost(flow, "sent", "cleaned"), profile) for flow in flows):
        told.insert(0, "sent")
    missing = [step for step in (*STEPS, *REMOVED) if step not in (*told, *removed) and any(step in flow for flow in flows)]
    ledger.add("flow of clients", "", "count", len(missing))
    return [*told, *removed]


def _lost(flow: Mapping[str, int], before: str, after: str) -> int | None:
    return flow[before] - flow[after] if before in flow and after in flow else None


def _told(amount: int | None, profile: Profile) -> bool:
    return amount is None or amount == 0 or amount >= profile.min_clients


def _together(hidden: Sequence[Mapping[str, Any]], taken: set[str]) -> dict[str, Any]:
    """Return one status for the sites that are not shown by themselves: the sums of their counts."""
    name = next(one for one in (OTHERS, *(f"{OTHERS}-{number}" for number in range(2, len(taken) + 3))) if one not in taken)
    instruments: dict[str, dict[str, Any]] = {}
    for status in hidden:
        for key, known in status.get("instruments", {}).items():
            before = instruments.get(key)
            instruments[key] = {**known, "n": (before["n"] if before else 0) + known.get("n", 0)}
    return {
        "site": name,
        "label": f"Other sites ({len(hidden)})",
        "data": hidden[0]["data"] if len({status["data"] for status in hidden}) == 1 else "rows and summaries",
        "status": "warnings" if any(status["status"] == "warnings" for status in hidden) else "ok",
        "reasons": [],
        "site_facts": {},
        "counts": _sums([status.get("counts", {}) for status in hidden]),
        "flow": _sums([status["flow"] for status in hidden if status.get("flow")]),
        "files": [file for status in hidden for file in status.get("files", ())],
        "instruments": instruments,
        "n_sites": len(hidden),
    }


def _sums(parts: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    names = list(dict.fromkeys(name for part in parts for name in part))
    return {name: sum(int(part.get(name) or 0) for part in parts) for name in names}
