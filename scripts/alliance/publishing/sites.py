"""Which sites are shown by themselves, and what stands for the others."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from alliance.publishing.decisions import DisclosureError, Ledger
from alliance.publishing.profiles import Profile

EXCLUDED = "excluded"
OTHERS = "other-sites"
ANOTHER = "another site"
SUMMARY_FILE = "summary.json"


@dataclass(frozen=True)
class Shown:
    """Which sites are shown.

    Parameters
    ----------
    alone : tuple of str
        Sites shown by themselves.
    hidden : tuple of str
        Sites shown together, in the order of their ids.
    published : frozenset of str
        Sites whose numbers were published elsewhere, so that the rule of therapists asks nothing of them.
    clients, therapists : dict of str to int
        Counts of the sites in the results, those that are not known as 0.
    caseloads : dict of str to float
        At most so many clients of each of these sites have the same therapist; nan: not known.
    """

    alone: tuple[str, ...]
    hidden: tuple[str, ...]
    published: frozenset[str]
    clients: dict[str, int]
    therapists: dict[str, int]
    caseloads: dict[str, float]


def is_published(status: Mapping[str, Any]) -> bool:
    """Tell whether a site sent nothing but a matrix or effects that were published elsewhere."""
    names = [str(file.get("file", "")) for file in status.get("files", ())]
    return status.get("data") == "summary" and bool(names) and not any(name.split("/")[-1] == SUMMARY_FILE for name in names)


def shown_sites(statuses: Sequence[Mapping[str, Any]], profile: Profile, ledger: Ledger) -> Shown:
    """Return which sites are shown by themselves.

    Parameters
    ----------
    statuses : sequence of mapping
        Every site's ``status.json``. Sites that cleaning left out have no numbers, and stay as they are.
    profile : Profile
    ledger : Ledger
        Takes the sites that are not shown.

    Raises
    ------
    DisclosureError
        Where all sites together are too small.
    """
    included = {status["site"]: status for status in statuses if status["status"] != EXCLUDED}
    clients = {site: int(status.get("counts", {}).get("clients") or 0) for site, status in included.items()}
    therapists = {site: int(status.get("counts", {}).get("therapists") or 0) for site, status in included.items()}
    caseloads = {site: _largest_caseload(status.get("largest_caseload_share"), clients[site]) for site, status in included.items()}
    published = frozenset(site for site, status in included.items() if is_published(status))
    reasons = {site: reason for site in included if (reason := _too_small(included[site], site in published, profile))}
    hidden = sorted(reasons)
    rest = sorted((site for site in included if site not in reasons), key=lambda site: (clients[site], site))
    counts = Shown((), (), published, clients, therapists, caseloads)
    while hidden and not enough(hidden, counts, profile):
        if not rest:
            raise DisclosureError([f"all sites together have fewer than {profile.min_site_clients} clients or too few therapists"])
        hidden.append(rest.pop(0))
    for rule, number in sorted(Counter(reasons.get(site, "complement") for site in hidden).items()):
        ledger.add("sites", "", rule, number)
    chosen = set(hidden)
    alone = tuple(site for site in included if site not in chosen)
    return replace(counts, alone=alone, hidden=tuple(sorted(chosen)))


def _largest_caseload(share: float | None, clients: int) -> float:
    """Return at most how many clients of a site one therapist has, from a share that is rounded to two decimals."""
    return math.nan if share is None else float(math.floor((share + 0.005) * clients + 1e-9))


def _too_small(status: Mapping[str, Any], published: bool, profile: Profile) -> str:
    """Return the rule by which a site is not shown by itself; empty where it is."""
    counts = status.get("counts", {})
    if int(counts.get("clients") or 0) < profile.min_site_clients:
        return "site"
    if not published and int(counts.get("therapists") or 0) < profile.min_therapists:
        return "therapists"
    share = status.get("largest_caseload_share")
    return "dominance" if share is not None and share > profile.max_therapist_share else ""


def enough(sites: Sequence[str], shown: Shown, profile: Profile) -> bool:
    """Tell whether sites shown together tell of none of them, and of none of their therapists."""
    behind = sum(max(shown.therapists[site], 1) if site in shown.published else shown.therapists[site] for site in sites)
    clients = sum(shown.clients[site] for site in sites)
    # A comparison with nan is False: caseloads that are not known are not judged.
    dominated = any(shown.caseloads[site] > profile.max_therapist_share * clients + 1e-9 for site in sites)
    return len(sites) > 1 and clients >= profile.min_site_clients and behind >= profile.min_therapists and not dominated
