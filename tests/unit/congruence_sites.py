"""Simulated sites whose clients and therapists rate the same sessions, with a known truth; options of the question."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pandas as pd
from alliance.questions.congruence import question as congruence
from alliance.questions.contract import finish
from alliance.questions.site_data import SiteData
from unit.simulated_site import OPTIONS, score_rows, site_of

BIAS, TRACKING_WITHIN, TRACKING_BETWEEN = -0.4, 0.5, 0.6
SCALES = {"task": 0.3, "bond": 0.5, "goal": 0.4}
SECTION = OPTIONS["questions"]["congruence"]


def options(**changes: Any) -> dict[str, Any]:
    """Return the options of the tests with changes to those of the question."""
    chosen = copy.deepcopy(OPTIONS)
    chosen["questions"]["congruence"] |= changes
    return chosen


def rows(clients: int = 120, therapists: int = 15, sessions: int = 8, seed: int = 1, missing: float = 0.15) -> dict[str, pd.DataFrame]:
    """Return ``sessions`` (one row a client, session), ``clients`` and ``therapists`` of a site.

    Ratings are about 5 with one unit of variance between and within clients. The therapist's follows the client's by ``TRACKING_WITHIN``
    and ``TRACKING_BETWEEN``, ``BIAS`` lower. The outcome is best where both agree; dropouts are those of a poor alliance.
    """
    random = np.random.default_rng(seed)
    therapist = np.sort(np.r_[np.arange(therapists), random.integers(0, therapists, clients - therapists)])
    n = np.arange(clients)
    mean = random.standard_normal(clients) + 0.3 * random.standard_normal(therapists)[therapist]
    own = 0.5 * random.standard_normal(clients) + 0.3 * random.standard_normal(therapists)[therapist]
    slope = TRACKING_WITHIN + 0.15 * random.standard_normal(clients)
    of, session = np.repeat(n, sessions), np.tile(np.arange(1, sessions + 1), clients)
    within = random.standard_normal(len(of))
    frame = pd.DataFrame({"client": of + 1, "therapist": therapist[of] + 1, "session": session})
    frame["first"] = 5 + mean[of] + within
    judged = TRACKING_BETWEEN * mean[of] + own[of] + slope[of] * within + 0.8 * random.standard_normal(len(of))
    frame["second"] = 5 + BIAS + judged
    for name, part in SCALES.items():
        noise = random.standard_normal(len(of))
        frame[f"first_{name}"] = frame["first"] + 0.5 * noise
        frame[f"second_{name}"] = frame["second"] + part * noise + 0.5 * random.standard_normal(len(of))
    frame["symptoms"] = 20 - 2 * np.r_[0.0, within[:-1]] - mean[of] + 2 * random.standard_normal(len(of))
    for name in ("first", "second"):
        lost = random.random(len(of)) < missing
        frame.loc[lost, [column for column in frame if column.startswith(name)]] = np.nan
    frame.loc[random.random(len(of)) < missing, "symptoms"] = np.nan
    people = frame.groupby("client")[["first", "second"]].mean()
    x, y = (people[name].to_numpy() - 5 for name in ("first", "second"))
    intake = random.standard_normal(clients)
    better = 0.4 * intake + 0.2 * x + 0.2 * y - 0.25 * (x - y) ** 2 + 0.7 * random.standard_normal(clients)
    person = pd.DataFrame({"client": n + 1, "therapist": therapist + 1, "intake": 20 - 5 * intake, "post": 15 - 5 * better})
    person.loc[random.random(clients) < 0.1, "post"] = np.nan
    person["dropout"] = (random.random(clients) < 1 / (1 + np.exp(1 + 0.5 * x + 0.3 * y))).astype(int)
    for name in ("affiliation", "dominance", "social_relations"):
        person[name] = random.standard_normal(clients)
    helper = pd.DataFrame({"therapist": np.arange(1, therapists + 1), "training": random.integers(1, 4, therapists).astype(str)})
    for name in ("affiliation", "dominance", "attachment_anxiety"):
        helper[name] = random.standard_normal(therapists)
    return {"sessions": frame, "clients": person, "therapists": helper}


def site_from(tables: dict[str, pd.DataFrame], site: str = "a", instrument: str = "wai_36", second: str | None = None) -> SiteData:
    """Return a site that holds these rows; ``second`` is the therapists' instrument, where it is another."""
    frame, person, helper = (tables[name] for name in ("sessions", "clients", "therapists"))
    scores = []
    for rater, prefix, name in (("client", "first", instrument), ("therapist", "second", second or instrument)):
        for scale in ("total", *SCALES):
            column = prefix if scale == "total" else f"{prefix}_{scale}"
            own = frame[frame[column].notna()]
            about = {"session": own["session"], "therapist_no": own["therapist"], "rater": rater, "scale": scale}
            scores.append(score_rows(own["client"], own[column], instrument=name, **about))
    own = frame[frame["symptoms"].notna()]
    scores.append(score_rows(own["client"], own["symptoms"], instrument="core_10", session=own["session"], therapist_no=own["therapist"]))
    for column in ("intake", "post"):
        own = person[person[column].notna()]
        scores.append(score_rows(own["client"], own[column], instrument="core_10", timepoint=column, therapist_no=own["therapist"]))
    numbers = {"client_no": person["client"].astype("Int64"), "therapist_no": person["therapist"].astype("Int64")}
    clients = pd.DataFrame({**numbers, **{name: person[name] for name in ("affiliation", "dominance", "social_relations")}})
    ended = pd.DataFrame({**numbers, "reason": np.where(person["dropout"].eq(1), "unilateral", "planned")})
    therapists = helper.rename(columns={"therapist": "therapist_no"}).astype({"therapist_no": "Int64"})
    return site_of(scores, site, clients=clients, therapists=therapists, termination=ended)


def simulated(site: str = "a", **sizes: Any) -> SiteData:
    """Return a site with rows of :func:`rows`."""
    return site_from(rows(**sizes), site)


def tables_of(sites: list[SiteData], chosen: dict[str, Any]) -> dict[str, pd.DataFrame]:
    """Return the finished tables of some sites."""
    summaries = [congruence.estimate(site, chosen, {}) for site in sites]
    joint = congruence.one_stage(iter(sites), [site.site for site in sites], chosen)
    found = congruence.pool(summaries, chosen, {"one_stage": joint})
    return {name: finish(table, "congruence", name) for name, table in found.items()}
