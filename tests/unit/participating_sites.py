"""Invented sites that tell who took part, and the table of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from alliance.questions import effects
from alliance.questions.client_factors import participants
from alliance.questions.contract import finish
from alliance.questions.part import summary_fields
from alliance.questions.site_data import SiteData
from alliance.questions.summary import SiteSummary

POOLING = {"pooling": {"min_sites": 2, "min_clients": 10}}


def taking_part(name: str, clients: int, seed: int, genders: Mapping[str, int] | None = None, without: tuple[str, ...] = ()) -> SiteData:
    """Return a site of some clients, six a therapist; genders by their number of clients, the rest not known."""
    random = np.random.default_rng(seed)
    numbers = np.arange(1, clients + 1)
    told = {"female": clients * 6 // 10, "male": clients - clients * 6 // 10} if genders is None else genders
    words = [word for word, amount in told.items() for _ in range(amount)]
    frame = pd.DataFrame(
        {
            "client_no": numbers,
            "therapist_no": (numbers - 1) // 6 + 1,
            "age": np.rint(38 + 11 * random.standard_normal(clients)),
            "gender": pd.Series([*words, *[None] * (clients - len(words))], dtype="str"),
            "treatment": random.choice(["cognitive", "psychodynamic"], clients),
            "planned_sessions": random.integers(8, 20, clients).astype(float),
        }
    ).drop(columns=list(without))
    staff = np.arange(1, (clients - 1) // 6 + 2)
    therapists = pd.DataFrame(
        {"therapist_no": staff, "years": random.integers(1, 25, len(staff)), "training": random.choice(["1", "2"], len(staff))}
    )
    whole = {"client_no": "Int64", "therapist_no": "Int64"}
    return SiteData(site=name, clients=frame.astype(whole), therapists=therapists.astype({"therapist_no": "Int64"}))


def summary(site: SiteData) -> SiteSummary:
    """Return what a site sends of who took part."""
    return SiteSummary(site=site.site, question="client_factors", **summary_fields({participants.NAME: participants.estimate(site)}))


def table(sites: list[SiteData], *further: SiteSummary, pooling: Mapping[str, Any] = POOLING) -> pd.DataFrame:
    """Return the table of participants of some sites."""
    summaries = [*(summary(one) for one in sites), *further]
    return finish(participants.pool(effects.gather(summaries), summaries, pooling), "client_factors", participants.NAME).assign(
        scenario="base"
    )
