"""Clients who begin low: does something help them, beyond the return to the mean that noise alone brings?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from alliance.statistics.correlation import MIN_CLUSTERS
from alliance.statistics.jackknife import Jackknifed, jackknife
from alliance.statistics.normal_equations import solved

EFFECTS = (
    "slope_low",
    "slope_high",
    "interaction",
    "interaction_uncorrected",
    "gain_low",
    "gain_low_from_noise",
    "gain_low_beyond_noise",
    "reliability",
)
FEWEST = 12


@dataclass(frozen=True)
class InitialLevel:
    """What follows an initial level, given how much of something clients got.

    Attributes
    ----------
    found : Jackknifed
        Estimates in the order of :data:`EFFECTS`.
    reason : str
        Why there are none.
    """

    found: Jackknifed | None
    reason: str


def attention_by_initial_level(
    initial: ArrayLike,
    initial_sessions: ArrayLike,
    initial_variance: ArrayLike,
    attention: ArrayLike,
    later: ArrayLike,
    therapists: ArrayLike | None = None,
    *,
    min_clients: int = FEWEST,
    min_clusters: int = MIN_CLUSTERS,
) -> InitialLevel:
    """Return how a later level depends on attention, for clients whose true initial level is low and high.

    A mean of few sessions is low partly by chance; chance does not last, so such clients rise whatever is done (regression to the mean).
    How much is measured: variance within clients over the initial sessions is error of the initial level, what remains of the variance of
    initial means is true. Observed means are replaced by what is expected of the true level given mean and attention (regression
    calibration; Carroll, Ruppert, Stefanski & Crainiceanu, 2006), which makes the slopes on the true level and on its product with
    attention consistent. Slopes of attention: at true levels a standard deviation below and above the mean, in standard deviations of the
    later level per standard deviation of attention; the interaction is per standard deviation of the true level;
    ``interaction_uncorrected`` takes the observed level for the true one. Gains: clients in the lowest third of the observed initial level,
    later minus initial less the same of all clients, in standard deviations of the initial level; from noise alone ``(1 - reliability)``
    times their distance from the mean; and the difference. Standard errors leave out each therapist in turn, with all variances estimated
    again.

    Parameters
    ----------
    initial, initial_sessions, initial_variance : array_like, shape (n,)
        One row a client: mean of the initial sessions, their number, and their variance (divisor sessions - 1; NaN with one).
    attention, later : array_like, shape (n,)
        Amount after the initial sessions, and level after that.
    therapists : array_like, shape (n,), optional
    min_clients, min_clusters : int
        Fewest clients; fewer therapists: clients are taken as independent.
    """
    w, m, s2 = (np.asarray(values, dtype=float) for values in (initial, initial_sessions, initial_variance))
    f, y = np.asarray(attention, dtype=float), np.asarray(later, dtype=float)
    n = len(w)
    if n < min_clients:
        return InitialLevel(
            None, f"needs at least {min_clients} clients with an initial level, attention after it and a later level; has {n}"
        )
    repeated = (m > 1) & np.isfinite(s2)
    if repeated.sum() < min(min_clients, FEWEST):
        return InitialLevel(
            None, f"needs at least {FEWEST} clients with several initial sessions, to tell how far chance reaches; has {repeated.sum()}"
        )
    squares = np.where(repeated, np.nan_to_num(s2) * (m - 1), 0.0)
    df = np.where(repeated, m - 1, 0.0)
    # The lowest third is fixed by the whole sample, so that leaving out a therapist changes numbers, not who is meant.
    lowest = w <= np.quantile(w, 1 / 3)

    def values(weights: np.ndarray) -> np.ndarray:
        found = np.full((len(weights), len(EFFECTS)), np.nan)
        for place, kept in enumerate(weights > 0.5):
            found[place] = _effects(w[kept], m[kept], squares[kept].sum() / df[kept].sum(), f[kept], y[kept], lowest[kept])
        return found

    found = jackknife(np.eye(n), values, len(EFFECTS), therapists, min_clusters=min_clusters, min_rows=min_clients)
    if found.reason:
        return InitialLevel(None, "needs initial levels that differ by more than chance, and attention and later levels that differ")
    return InitialLevel(found, "")


def _effects(w: np.ndarray, m: np.ndarray, error: float, f: np.ndarray, y: np.ndarray, lowest: np.ndarray) -> np.ndarray:
    n = len(w)
    nothing = np.full(len(EFFECTS), np.nan)
    if f.std() == 0 or y.std() == 0 or lowest.all() or not lowest.any():
        return nothing
    f = (f - f.mean()) / f.std(ddof=1)
    noise = error / m
    # Line of the initial level on attention; what is left of its variance beyond noise is true.
    centred = w - w.mean()
    slope = float(f @ centred / (f @ f))
    residual = centred - slope * f
    left = float(residual @ residual / (n - 2))
    true_left = left - float(noise.mean())
    total = float(centred @ centred / (n - 1))
    true = total - float(noise.mean())
    if true_left <= 0 or true <= 0:
        return nothing
    expected = slope * f + true_left / (true_left + noise) * residual
    spread_true, spread_y = np.sqrt(true), y.std(ddof=1)
    one = _coefficients(expected / spread_true, f, y / spread_y)
    plain = _coefficients(centred / np.sqrt(total), f, y / spread_y)
    reliability = true / total
    gain = (y - w)[lowest].mean() - (y - w).mean()
    from_noise = -(1 - reliability) * centred[lowest].mean()
    per_sd = np.sqrt(total)
    return np.array(
        [
            one[1] - one[2],
            one[1] + one[2],
            one[2],
            plain[2],
            gain / per_sd,
            from_noise / per_sd,
            (gain - from_noise) / per_sd,
            reliability,
        ]
    )


def _coefficients(level: np.ndarray, attention: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return slopes of the level, of attention at level 0, and of their product."""
    data = np.column_stack([level, attention, level * attention, np.ones(len(y))])
    return solved(data.T @ data, data.T @ y)[:3]
