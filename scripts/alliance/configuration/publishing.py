"""Section ``publish`` of ``config.yaml``: how much a published bundle hides, and who answers for less."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from alliance.configuration.validation import StrictModel, calendar_day

PUBLISH = "publish"
FEWEST = 5
"""No cell of fewer clients is published unless a person named in the configuration accepts the risk."""


@dataclass(frozen=True)
class Limits:
    """What a profile asks of everything that is published.

    Parameters
    ----------
    min_clients : int
        Clients behind a number, and clients in the numerator and the rest of a share.
    min_therapists : int
        Therapists behind a number.
    round_counts_to : int
        Counts are rounded to multiples of this; 1: as they are.
    min_df : int
        Residual degrees of freedom of a model.
    max_therapist_share : float
        Largest share (0-1) of the clients of a site, a number or a side of a share that one therapist may have, where it is known.
    min_site_clients : int
        Clients of a site that is shown by itself.
    """

    min_clients: int
    min_therapists: int
    round_counts_to: int
    min_df: int
    max_therapist_share: float
    min_site_clients: int


PROFILES = {
    "internal": Limits(0, 0, 1, 0, 1.0, 0),
    "share": Limits(5, 2, 1, 5, 0.9, 10),
    "public": Limits(10, 3, 5, 10, 0.7, 20),
}


def weaker(name: str, value: float, standard: float) -> bool:
    """Tell whether a limit protects less than another value of it: a larger share of one therapist, or less of anything else."""
    return value > standard if name == "max_therapist_share" else value < standard


Licence = Literal["CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0", "CC0-1.0", "ODC-By-1.0", "ODbL-1.0", "PDDL-1.0"]


class Publish(StrictModel):
    """What ``publish:`` may hold; a limit that is null is the profile's own."""

    profile: Literal["internal", "share", "public"] = "public"
    # Stands before the limits, whose checks ask for it.
    i_accept_disclosure_risk: Annotated[str, Field(pattern=r"[^\W\d_].*[^\W\d_]")] | None = None
    min_clients: Annotated[int, Field(ge=0, le=1000)] | None = None
    min_therapists: Annotated[int, Field(ge=0, le=100)] | None = None
    round_counts_to: Annotated[int, Field(ge=1, le=100)] | None = None
    min_df: Annotated[int, Field(ge=0, le=1000)] | None = None
    max_therapist_share: Annotated[float, Field(gt=0, le=1)] | None = None
    min_site_clients: Annotated[int, Field(ge=0, le=10_000)] | None = None
    released: Annotated[str, AfterValidator(calendar_day)] | None = None
    licence: Licence | None = None
    doi: Annotated[str, Field(pattern=r"^10\.\d{4,9}/\S+$")] | None = None
    description: str | None = None
    keywords: list[str] = Field(default_factory=list)
    last_bundle: Annotated[str, Field(min_length=1)] | None = None
    not_leaks: list[Annotated[str, Field(min_length=1)]] = Field(default_factory=list)

    @field_validator(*Limits.__dataclass_fields__)
    @classmethod
    def accepted_where_weaker(cls, value: float | None, info: ValidationInfo) -> float | None:
        """Refuse a limit that protects less than the profile, or fewer than five clients, without a named person who accepts that."""
        name, chosen = str(info.field_name), info.data.get("profile")
        # Where one of these is wrong itself, that is the fault to tell.
        if value is None or chosen is None or "i_accept_disclosure_risk" not in info.data or info.data["i_accept_disclosure_risk"]:
            return value
        standard = getattr(PROFILES[chosen], name)
        below = name == "min_clients" and chosen != "internal" and value < FEWEST
        if below or weaker(name, value, standard):
            raise ValueError(
                f"{value} protects less than the profile '{chosen}' ({standard}); keep {standard} or stricter, or name who answers for it: "
                'i_accept_disclosure_risk: "Given and family name" (the bundle says so on every page)'
            )
        return value
