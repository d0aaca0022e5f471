"""Profiles of disclosure control: the limits that everything published must keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from alliance.configuration.publishing import PROFILES, Limits, weaker

INTERNAL = "internal"


@dataclass(frozen=True, kw_only=True)
class Profile(Limits):
    """The limits that a bundle keeps, with its profile's name and who answers for them.

    Parameters
    ----------
    name : str
        internal, share or public.
    extremes : bool
        Whether the smallest and the largest value of clients may be shown.
    accepted_by : str
        Who answers for limits below those of the profile; empty: none is.
    """

    name: str
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
    return Profile(name=name, extremes=name == INTERNAL, accepted_by=accepted if lowered else "", **limits)
