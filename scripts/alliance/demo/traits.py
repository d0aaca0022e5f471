"""Traits of clients and therapists, drawn given the alliance so that no other value of a study depends on them."""

from __future__ import annotations

import math

import numpy as np

from alliance.demo.truth import Parameters

LIKENESS = {"affiliation": 1.0, "dominance": -1.0}
"""Scales of the interpersonal circumplex; 1 where alike fits best, -1 where opposite does."""
GRID = np.round(np.arange(-30, 31) / 10, 1)
SEEN = np.round(np.arange(-120, 121) / 20, 2)


def client_attachment(p: Parameters, client: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return attachment anxiety and avoidance of the clients, variance 1.

    Parameters
    ----------
    p : Parameters
        Named correlations with the client-level alliance.
    client : ndarray of shape (n_clients,)
        Client-level alliance, variance 1.
    rng : Generator
        Stream of its own.
    """
    return {
        "attachment_anxiety": _with(client, p.client_anxiety_alliance, rng),
        "attachment_avoidance": _with(client, p.client_avoidance_alliance, rng),
    }


def therapist_traits(p: Parameters, therapist: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return introject (variance 1, higher: friendlier towards oneself) and training in the alliance (0, 1) of the therapists.

    Parameters
    ----------
    p : Parameters
        Named correlations with the therapist-level alliance; that of training is biserial.
    therapist : ndarray of shape (n_therapists,)
        Therapist-level alliance, variance 1.
    rng : Generator
        Stream of its own.
    """
    introject = _with(therapist, p.introject_alliance, rng)
    return {"introject": introject, "alliance_training": (_with(therapist, p.alliance_training_alliance, rng) > 0).astype(int)}


def fit(client: np.ndarray, therapist: np.ndarray, sign: float) -> np.ndarray:
    """Return how well two positions on a scale of the circumplex fit, mean 0 and variance 1 over independent standard normal positions.

    Parameters
    ----------
    client, therapist : ndarray
        Positions, broadcast against each other.
    sign : float
        1: alike fits best; -1: opposite fits best.
    """
    return (1 - (client - sign * therapist) ** 2 / 2) / math.sqrt(2)


def circumplex(
    p: Parameters, client: np.ndarray, therapist: np.ndarray, n_therapists: int, rng: np.random.Generator
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return affiliation and dominance of clients and of therapists, about standard normal in steps of .1.

    Positions are drawn from their distribution given the client-level alliance: first the therapist's given all of the therapist's
    clients, then every client's given the therapist's. Over clients the alliance then rises by ``complementarity_affiliation`` (and
    ``complementarity_dominance``) per SD of fit.

    Parameters
    ----------
    p : Parameters
        Named effects.
    client : ndarray of shape (n_clients,)
        Client-level alliance, variance 1.
    therapist : ndarray of shape (n_clients,)
        Position of the client's therapist.
    n_therapists : int
        Number of therapists.
    rng : Generator
        Stream of its own.
    """
    effects = {"affiliation": p.complementarity_affiliation, "dominance": p.complementarity_dominance}
    of_clients, of_therapists = {}, {}
    prior = np.exp(-(GRID**2) / 2)
    seen = np.clip(np.rint((client - SEEN[0]) / (SEEN[1] - SEEN[0])).astype(int), 0, len(SEEN) - 1)
    for name, sign in LIKENESS.items():
        rest = SEEN[:, None, None] - effects[name] * fit(GRID[None, None, :], GRID[None, :, None], sign)
        joint = prior * np.exp(-(rest**2) / (2 * (1 - effects[name] ** 2)))
        log_odds = np.zeros((n_therapists, len(GRID)))
        np.add.at(log_odds, therapist, np.log(joint.sum(axis=2))[seen])
        log_odds += np.log(prior)
        position = _drawn(np.exp(log_odds - log_odds.max(axis=1, keepdims=True)), rng)
        of_therapists[name] = GRID[position]
        of_clients[name] = GRID[_drawn(joint[seen, position[therapist]], rng)]
    return of_clients, of_therapists


def _with(values: np.ndarray, r: float, rng: np.random.Generator) -> np.ndarray:
    return r * values + math.sqrt(1 - r**2) * rng.standard_normal(len(values))


def _drawn(weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return one column number a row, drawn in proportion to the weights."""
    reached = np.cumsum(weights, axis=1)
    return (reached < rng.random((len(weights), 1)) * reached[:, -1:]).sum(axis=1)
