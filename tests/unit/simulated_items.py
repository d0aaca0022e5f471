"""Small simulated sites whose clients answered items, with a known structure, for tests of the measurement question."""

from __future__ import annotations

import numpy as np
import pandas as pd
from alliance.instruments.registry import load_registry
from alliance.questions.site_data import SiteData
from support import PROJECT
from unit.simulated_site import score_rows

REGISTRY = load_registry([PROJECT / "workflow" / "instruments"])
GENERAL, OWN, ERROR = 0.7, 0.4, 0.6


def item_frame(instrument, values, *, session=3, rater="client", therapist_no=None, raw=True) -> pd.DataFrame:
    """Return a table of ratings as cleaning leaves it; ``values`` are turned answers, one row a client."""
    known = REGISTRY[instrument]
    n = len(values)
    answers = np.array(values, dtype=float)
    if raw:
        turn = np.isin(np.arange(1, known.n_items + 1), known.reverse)
        answers[:, turn] = known.response.min + known.response.max - answers[:, turn]
    frame = pd.DataFrame(answers, columns=[f"i{item}" for item in range(1, known.n_items + 1)])
    return frame.assign(
        client_no=pd.array(np.arange(1, n + 1), dtype="Int64"),
        therapist_no=pd.array([None] * n if therapist_no is None else therapist_no, dtype="Int64"),
        timepoint="session",
        session=pd.array([session] * n, dtype="Int64"),
        rater=rater,
        rater_no=pd.array([1] * n, dtype="Int64"),
    )


def bifactor_answers(instrument, n, random, *, steps=True) -> np.ndarray:
    """Return turned answers with a general factor, one factor a scale and errors, in the instrument's range."""
    known = REGISTRY[instrument]
    scales = [known.scale_items(name) for name in known.scales]
    values = GENERAL * random.standard_normal((n, 1)) + ERROR * random.standard_normal((n, known.n_items))
    for items in scales:
        values[:, np.array(items) - 1] += OWN * random.standard_normal((n, 1))
    low, high = known.response.min, known.response.max
    scaled = (low + high) / 2 + values * (high - low) / 6
    return np.clip(np.rint(scaled), low, high) if steps else scaled


def item_site(site, ratings, *, scores=(), n=None, therapist_no=None) -> SiteData:
    """Return a site with ratings by instrument."""
    n = n or max(int(frame["client_no"].max()) for frame in ratings.values())
    clients = pd.DataFrame(
        {
            "client_no": pd.array(np.arange(1, n + 1), dtype="Int64"),
            "therapist_no": pd.array([None] * n if therapist_no is None else therapist_no, dtype="Int64"),
        }
    )
    table = {"scores": pd.concat(scores, ignore_index=True)} if len(scores) else {}
    return SiteData(site, site.upper(), clients=clients, ratings=dict(ratings), instruments=REGISTRY, **table)


def wai_site(site, n=300, therapists=25, seed=1) -> SiteData:
    """Return a site with the WAI-S by clients in session 3, a general factor beside its scales."""
    random = np.random.default_rng(seed)
    therapist = random.integers(1, therapists + 1, n)
    values = bifactor_answers("wai_s", n, random)
    return item_site(site, {"wai_s": item_frame("wai_s", values, therapist_no=therapist)}, therapist_no=therapist)


def scale_scores(names, values, *, rater="client", session=3, therapist_no=None) -> list[pd.DataFrame]:
    """Return rows of scores for ``instrument.scale`` names, one column of values each."""
    client = np.arange(1, len(values) + 1)
    frames = []
    for name, column in zip(names, np.asarray(values).T):
        instrument, scale = name.split(".")
        common = {"instrument": instrument, "scale": scale, "rater": rater, "session": session, "therapist_no": therapist_no}
        frames.append(score_rows(client, column, **common))
    return frames


def raters_scores(n, random, *, trait=0.8, therapist=(0.5, 0.6), observer=None, error=0.5, therapist_no=None) -> list[pd.DataFrame]:
    """Return task, bond and goal of the WAI-S by client, therapist and observer: loadings on the client's view and on their own, error."""
    view = random.standard_normal((n, 1))
    names = ["wai_s.task", "wai_s.bond", "wai_s.goal"]

    def rated(shared: float, own: float) -> np.ndarray:
        return 5 + shared * view + own * random.standard_normal((n, 1)) + error * random.standard_normal((n, 3))

    frames = scale_scores(names, rated(trait, 0.0), therapist_no=therapist_no)
    frames += scale_scores(names, rated(*therapist), rater="therapist", therapist_no=therapist_no)
    if observer is not None:
        frames += scale_scores(names, rated(*observer), rater="observer", therapist_no=therapist_no)
    return frames


def raters_site(site, n=300, therapists=25, seed=1, **loadings) -> SiteData:
    """Return a site whose raters judged the same sessions."""
    random = np.random.default_rng(seed)
    therapist_no = random.integers(1, therapists + 1, n)
    scores = raters_scores(n, random, therapist_no=therapist_no, **loadings)
    return item_site(site, {}, scores=scores, n=n, therapist_no=therapist_no)
