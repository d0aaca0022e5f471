"""Every specification of the study's effects: at one site, and pooled over sites.

Sites answer each different request once (``site_key``) and send estimates, their variances, and how their score of "no effect" changes when
the signs of whole therapists are flipped at random; pooling multiplies the requests by the choices of how sites are combined.

In a summary, ``draws.csv`` holds the flipped scores (model ``flips``; ``shuffles``: those of shuffled clients) in ten-thousandths of
``score_sd``; ``parameter`` is the row of ``estimates.csv``, from 1, which keeps the file small.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from alliance.files import canonical_json
from alliance.questions.alliance_outcome.measures import clients_of
from alliance.questions.correlations import therapist_codes
from alliance.questions.site_data import SiteData
from alliance.questions.summary import SiteSummary
from alliance.sensitivity.site_effect import SiteEffect
from alliance.sensitivity.specifications import SCORING, Multiverse, multiverses
from alliance.statistics.resampling import generator
from alliance.statistics.sign_flips import SMALLEST_UNIT, Flipped, flip_units, flipped, shuffled

QUESTION = "multiverse"
FLIPS, SHUFFLES = "flips", "shuffles"


def estimate(sites: Mapping[str, SiteData], options: Mapping[str, Any]) -> SiteSummary:
    """Return what one site says of every specification.

    Parameters
    ----------
    sites : mapping of str to SiteData
        The site as scored under every section ``scoring`` that a specification asks for, by its canonical JSON.
    options : mapping
        From :func:`alliance.sensitivity.specifications.options_of`, with ``seed``.
    """
    base = sites[canonical_json(options[SCORING])]
    clients = clients_of(base)
    codes, _ = therapist_codes(clients, base.clients, base.scores)
    units = pd.Series(flip_units(codes), index=clients, dtype="int64")
    rows: list[dict[str, Any]] = []
    variances: list[dict[str, Any]] = []
    draws: list[pd.DataFrame] = []
    names = (base.site, _fingerprint(base))
    for one in multiverses(options):
        effects = _site_effects(one, sites, options)
        flips = _flips(one, effects, units, options, names)
        row_of = {}
        for key, effect in effects.items():
            number = {"estimate": None} if effect.fields["status"] == "not_estimable" else {}
            row = {**effect.fields, **number, "model": one.target.name, "parameter": key, "level": "client"}
            place, found = flips.get(FLIPS, ({}, None))
            if found is not None and key in place:
                own = {"score": found.observed, "score_sd": found.norm}
                row |= {name: float(values[place[key]]) for name, values in own.items()}
                row["n_scores"] = int(effect.scores.notna().sum())
            rows.append(row)
            row_of[key] = len(rows)
            if np.isfinite(effect.variance):
                variances.append({"model": one.target.name, "parameter1": key, "parameter2": key, "cov": effect.variance})
        draws += [_long(kind, [row_of[key] for key in place], found.draws) for kind, (place, found) in flips.items()]
    counts = pd.DataFrame(rows)
    largest = {
        name: int(counts[f"n_{name}"].max()) if f"n_{name}" in counts and counts[f"n_{name}"].notna().any() else None
        for name in ("clients", "therapists", "sessions")
    }
    return SiteSummary(
        site=base.site,
        label=base.label,
        question=QUESTION,
        n=largest,
        facts={"units": int(units.max()) + 1 if len(units) and base.published is None else 0},
        estimates=counts,
        vcov=pd.DataFrame(variances, columns=["model", "parameter1", "parameter2", "cov"]),
        draws=pd.concat(draws, ignore_index=True) if draws else pd.DataFrame(),
    )


def _site_effects(one: Multiverse, sites: Mapping[str, SiteData], options: Mapping[str, Any]) -> dict[str, SiteEffect]:
    """Return the effect of every request, in the order of the requests."""
    evaluate = importlib.import_module(f"alliance.sensitivity.{one.target.module}").site_effects
    by_scoring: dict[str, list[str]] = {}
    for key, request in one.requests.items():
        by_scoring.setdefault(canonical_json(request[SCORING]), []).append(key)
    found: dict[str, SiteEffect] = {}
    seed = {"seed": options["seed"]}
    for scoring, keys in by_scoring.items():
        every = [one.requests[key]["options"] | seed for key in keys]
        found |= dict(zip(keys, evaluate(sites[scoring], every, {**options, **seed})))
    return {key: found[key] for key in one.requests}


def _flips(
    one: Multiverse, effects: Mapping[str, SiteEffect], units: pd.Series, options: Mapping[str, Any], names: Sequence[str]
) -> dict[str, tuple[dict[str, int], Flipped]]:
    """Return the flipped scores of the requests that have any, with the place of each; beside them the shuffled ones if asked for.

    All multiverses of a site flip the same signs.
    """
    section = options["multiverse"]
    found: dict[str, tuple[dict[str, int], Flipped]] = {}
    with_scores = [key for key, effect in effects.items() if _tells_enough(effect.scores)]
    if with_scores:
        scores = np.column_stack([effects[key].scores.reindex(units.index).to_numpy(dtype=float) for key in with_scores])
        random = generator(options["seed"], QUESTION, *names)
        found[FLIPS] = (_places(with_scores), flipped(scores, units.to_numpy(), section["flips"], random))
    pairs = [key for key in with_scores if effects[key].predictor is not None]
    if section["shuffles"] and pairs:
        x, y = (
            np.column_stack([getattr(effects[key], name).reindex(units.index).to_numpy(dtype=float) for key in pairs])
            for name in ("predictor", "outcome")
        )
        random = generator(options["seed"], QUESTION, *names, SHUFFLES)
        found[SHUFFLES] = (_places(pairs), shuffled(x, y, section["flips"], random))
    return found


def _tells_enough(scores: pd.Series | None) -> bool:
    """Return whether scores vary and are those of so many clients that their flipped sums may leave the site."""
    return scores is not None and int(scores.notna().sum()) >= SMALLEST_UNIT and float(scores.abs().sum()) > 0


def _long(kind: str, rows: Sequence[int], draws: np.ndarray) -> pd.DataFrame:
    """Return flipped scores, shape (flips, requests), as rows of ``draws.csv``."""
    flips, count = draws.shape
    return pd.DataFrame(
        {
            "model": kind,
            "parameter": np.repeat([str(row) for row in rows], flips),
            "draw": np.tile(np.arange(1, flips + 1), count),
            "value": draws.T.ravel().astype(float),
        }
    )


def _fingerprint(site: SiteData) -> str:
    """Return a digest of the scores that does not depend on the order of rows or the key behind client ids.

    Signs and shuffles that only the site's own data can bring about again keep readers of a summary from solving flipped sums for those
    of single units, or of clients.
    """
    columns = ["client_no", "timepoint", "session", "rater", "instrument", "scale", "score"]
    rows = pd.util.hash_pandas_object(site.scores[columns], index=False).to_numpy()
    return hashlib.sha256(np.sort(rows).astype("<u8").tobytes()).hexdigest()


def _places(keys: Sequence[str]) -> dict[str, int]:
    return {key: place for place, key in enumerate(keys)}
