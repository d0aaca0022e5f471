"""Profiles of disclosure control: the limits that everything published must keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from alliance.configuration.publishing import PROFILES, Limits, weaker

INTERNAL = "internal"


@dataclass(frozen=True)
class Profile:
    """The limits that a bundle keeps.

    Parameters
    ----------
    name : str
        internal, share or public.
    min_clients : int
        Clients behind every number, in the numerator of a share and in its rest.
    min_therapists : int
        Therapists behind every number.
    round_to : int
        Counts are rounded to multiples of this; 1: as they are.
    min_df : int
        Residual degrees of freedom of a model.
    max_therapist_share : float
        Largest share (0-1) of a site's clients that one therapist may have, where it is known.
    min_site_clients : int
        Clients of a site that is shown by itself.
    extremes : bool
        Whether the smallest and the largest value of clients may be shown.
    accepted_by : str
        Who answers for limits below those of the profile; empty: none is.
    """

    name: str
    min_clients: int
    min_therapists: int
    round_to: int
    min_df: int
    max_therapist_share: float
    min_site_clients: int
    extremes: bool
    accepted_by: str = ""

    @property
    def hides_nothing(self) -> bool:
        """Whether everything is shown as it is."""
        return self.name == INTERNAL

    @property
    def under(self) -> str:
        """What stands in place of a number of clients that is not shown."""
        return f"under {self.min_clients}"


def profile(options: Mapping[str, Any]) -> Profile:
    """Return the limits that a configuration's section ``publish`` sets.

    Parameters
    ----------
    options : mapping
        The section with defaults filled in (``Study.publish``); keys that are missing or None are the profile's own.

    Raises
    ------
    KeyError
        Where no profile has the name.
    ValueError
        Where a limit is weaker than the profile's and nobody accepts that.
    """
    name = options.get("profile") or "public"
    own = PROFILES[name]
    chosen = {one.name: options.get(one.name) for one in fields(Limits)}
    limits = {key: getattr(own, key) if value is None else value for key, value in chosen.items()}
    lowered = [key for key, value in limits.items() if weaker(key, value, getattr(own, key))]
    accepted = (options.get("i_accept_disclosure_risk") or "").strip()
    if lowered and not accepted:
        raise ValueError(f"{', '.join(lowered)}: weaker than the profile '{name}' without i_accept_disclosure_risk")
    return Profile(
        name=name,
        min_clients=limits["min_clients"],
        min_therapists=limits["min_therapists"],
        round_to=limits["round_counts_to"],
        min_df=limits["min_df"],
        max_therapist_share=limits["max_therapist_share"],
        min_site_clients=limits["min_site_clients"],
        extremes=name == INTERNAL,
        accepted_by=accepted if lowered else "",
    )
