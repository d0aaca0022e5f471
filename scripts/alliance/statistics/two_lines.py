"""Is more of it better up to a point, and worse beyond? Quadratic regression and the two-lines test, within clients and between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from alliance.statistics.correlation import MIN_CLUSTERS
from alliance.statistics.covariance import cluster_sums
from alliance.statistics.dyads import Ratio, ratio
from alliance.statistics.jackknife import Jackknifed, jackknife
from alliance.statistics.normal_equations import solved
from alliance.statistics.session_effects import client_means, whole_sessions

WITHIN, BETWEEN = "within", "between"
# Shares of the data beyond which no bend is looked for (Simonsohn, 2018).
MIDDLE = (0.1, 0.9)
# Fewest sessions (within) or clients (between) on either side of the bend.
SIDE = 10
VALUES = 5
KNOTS = (0.1, 0.5, 0.9)


@dataclass(frozen=True)
class Quadratic:
    """A quadratic regression on an amount.

    Attributes
    ----------
    found : Jackknifed
        Slope at the mean amount, and curvature, both in standard deviations (of the amount, of the outcome; taken as known).
    turning_point : Ratio
        The amount at which the curve turns, in units of the amount, with Fieller's interval.
    low, high : float
        5th and 95th percentile of the amount.
    """

    found: Jackknifed
    turning_point: Ratio
    low: float
    high: float


@dataclass(frozen=True)
class TwoLines:
    """Two regression lines that meet at no particular height.

    Attributes
    ----------
    found : Jackknifed
        Slope below the bend and slope above it, in standard deviations.
    bend : float
        In units of the amount; NaN where there is none.
    verdict : str
        ``inverted_u``, ``u`` or ``not_shown``: both slopes differ from zero and have opposite signs, or not.
    reason : str
        Why there are no lines.
    """

    found: Jackknifed | None
    bend: float
    verdict: str
    reason: str


@dataclass(frozen=True)
class _Units:
    """What is regressed: sessions about their clients' means, or clients' means with an intercept."""

    amount: np.ndarray
    outcome: np.ndarray
    held: np.ndarray
    client: np.ndarray
    therapist: np.ndarray | None
    level: str

    @classmethod
    def of(
        cls, amount: ArrayLike, outcome: ArrayLike, clients: ArrayLike, therapists: ArrayLike | None, held: ArrayLike | None, level: str
    ):
        if level not in (WITHIN, BETWEEN):
            raise ValueError(f"level is {WITHIN} or {BETWEEN}, not {level}")
        x = np.asarray(amount, dtype=float)
        constant = np.empty((len(x), 0)) if held is None else np.asarray(held, dtype=float).reshape(len(x), -1)
        rows, client, therapist = whole_sessions(
            np.column_stack([x, constant, np.asarray(outcome, dtype=float)]), clients, therapists, 2 if level == WITHIN else 1
        )
        if level == BETWEEN and len(rows):
            rows = client_means(rows, client)
            client = np.arange(len(rows))
        return cls(rows[:, 0], rows[:, -1], rows[:, 1:-1], client, therapist, level)

    @property
    def n_clients(self) -> int:
        return int(self.client[-1]) + 1 if len(self.client) else 0

    def design(self, columns: np.ndarray) -> np.ndarray:
        """Return columns, what is held and the outcome as they enter the regression."""
        whole = np.column_stack([columns, self.held, self.outcome])
        if self.level == WITHIN:
            return whole - client_means(whole, self.client)[self.client]
        return np.column_stack([columns, self.held, np.ones(len(columns)), self.outcome])

    def spread(self) -> tuple[float, float]:
        """Return standard deviations of amount and outcome: within clients, or between their means."""
        pair = np.column_stack([self.amount, self.outcome])
        around = pair - (client_means(pair, self.client)[self.client] if self.level == WITHIN else pair.mean(axis=0))
        df = len(pair) - (self.n_clients if self.level == WITHIN else 1)
        sx, sy = np.sqrt((around**2).sum(axis=0) / max(df, 1))
        return float(sx), float(sy)

    def fitted(self, columns: np.ndarray, wanted: int, min_clients: int, min_clusters: int) -> Jackknifed:
        """Return the first coefficients of a regression on columns, in the units of the data."""
        data = self.design(columns)
        sums = cluster_sums(data[:, :, None] * data[:, None, :], self.client, self.n_clients)

        def slopes(total: np.ndarray) -> np.ndarray:
            return solved(total[:, :-1, :-1], total[:, :-1, -1])[:, :wanted]

        return jackknife(sums, slopes, wanted, self.therapist, min_clusters=min_clusters, min_rows=min_clients)


def quadratic(
    amount: ArrayLike,
    outcome: ArrayLike,
    clients: ArrayLike,
    therapists: ArrayLike | None = None,
    *,
    held: ArrayLike | None = None,
    level: str = WITHIN,
    confidence: float = 0.95,
    min_clients: int = 10,
    min_clusters: int = MIN_CLUSTERS,
) -> Quadratic:
    """Return a quadratic regression of an outcome on an amount.

    ``within``: sessions, with an intercept for every client; the curve is one in the amount itself, so it says whether the same client
    does better after a session with more of it, at little and at much. ``between``: means of clients.

    Parameters
    ----------
    amount, outcome, clients : array_like, shape (n,)
        One row a session; NaN where missing.
    therapists : array_like, shape (n,), optional
    held : array_like, shape (n, r), optional
        Held constant; between clients their means.
    level : str
        ``within`` or ``between``.
    confidence : float
        Confidence level of the turning point's interval.
    min_clients, min_clusters : int
        Fewest clients; fewer therapists: clients are taken as independent.

    Raises
    ------
    ValueError
        An unknown level, or a client with several therapists.
    """
    units = _Units.of(amount, outcome, clients, therapists, held, level)
    nothing = Ratio(np.nan, np.nan, np.nan, np.nan, "")
    if not len(units.amount):
        return Quadratic(units.fitted(np.zeros((0, 2)), 2, max(min_clients, 1), min_clusters), nothing, np.nan, np.nan)
    middle = float(units.amount.mean())
    x = units.amount - middle
    raw = units.fitted(np.column_stack([x, x**2]), 2, min_clients, min_clusters)
    low, high = (float(value) for value in np.quantile(units.amount, (0.05, 0.95)))
    if raw.reason:
        return Quadratic(raw, nothing, low, high)
    sx, sy = units.spread()
    scale = np.array([sx / sy, sx**2 / sy])
    found = Jackknifed(
        raw.estimate * scale, raw.vcov * np.outer(scale, scale), raw.df, raw.n, raw.n_clusters, raw.method, raw.reason, raw.caution
    )
    turn = np.diag([-1.0, 2.0])
    one = ratio(-raw.estimate[0], 2 * raw.estimate[1], turn @ raw.vcov @ turn, raw.df, confidence)
    moved = Ratio(one.estimate + middle, one.std_error, one.ci_low + middle, one.ci_high + middle, one.reason)
    return Quadratic(found, moved, low, high)


def two_lines(
    amount: ArrayLike,
    outcome: ArrayLike,
    clients: ArrayLike,
    therapists: ArrayLike | None = None,
    *,
    held: ArrayLike | None = None,
    level: str = WITHIN,
    confidence: float = 0.95,
    min_clients: int = 10,
    min_clusters: int = MIN_CLUSTERS,
) -> TwoLines:
    """Return the two-lines test (Simonsohn, 2018): a curve turns only where a line below some amount and one above it have opposite signs.

    The bend is set by the Robin Hood algorithm: a smooth curve (here a natural cubic spline with knots at the 10th, 50th and 90th
    percentile, where the author uses a penalised one) is fitted; its most extreme point between these percentiles, and all points whose
    curve comes within one standard error of it, make a flat region; a first pair of lines bends at its median, and the final one at the
    quantile of the region that the sizes of the two statistics say, which gives more data to the weaker line. A quadratic's sign says
    whether the extreme is a top or a bottom. Each line's slope is taken from the regression in which the bend belongs to it.

    Parameters
    ----------
    amount, outcome, clients, therapists, held, level, confidence, min_clients, min_clusters
        As in :func:`quadratic`.
    """
    units = _Units.of(amount, outcome, clients, therapists, held, level)
    if units.n_clients < min_clients:
        return TwoLines(None, np.nan, "", f"needs at least {min_clients} clients with all scores; has {units.n_clients}")
    if len(np.unique(units.amount)) < VALUES:
        return TwoLines(None, np.nan, "", f"needs at least {VALUES} different amounts; has {len(np.unique(units.amount))}")
    x = units.amount
    flat, reason = _flat_region(units, min_clients, min_clusters)
    if reason:
        return TwoLines(None, np.nan, "", reason)
    first = _lines(units, float(np.median(flat)), min_clients, min_clusters)
    if first.reason:
        return TwoLines(None, np.nan, "", first.reason)
    size = np.abs(first.estimate / first.std_error)
    # A stronger lower line moves the bend up its own side, so that the weaker one gets more data.
    bend = float(np.quantile(flat, size[1] / size.sum()))
    below, above = int((x < bend).sum()), int((x > bend).sum())
    if min(below, above) < SIDE:
        unit = "sessions" if level == WITHIN else "clients"
        return TwoLines(None, bend, "", f"needs at least {SIDE} {unit} on either side of the bend; has {below} and {above}")
    found = _lines(units, bend, min_clients, min_clusters)
    if found.reason:
        return TwoLines(None, bend, "", found.reason)
    low, high = found.interval(confidence)
    sx, sy = units.spread()
    scaled = Jackknifed(
        found.estimate * sx / sy, found.vcov * (sx / sy) ** 2, found.df, found.n, found.n_clusters, found.method, "", found.caution
    )
    up, down = low > 0, high < 0
    verdict = "inverted_u" if up[0] and down[1] else "u" if down[0] and up[1] else "not_shown"
    return TwoLines(scaled, bend, verdict, "")


def _flat_region(units: _Units, min_clients: int, min_clusters: int) -> tuple[np.ndarray, str]:
    """Return the amounts at which the smooth curve is as good as extreme."""
    x = units.amount
    knots = np.quantile(x, KNOTS)
    if len(np.unique(knots)) < len(KNOTS):
        return x[:0], "needs amounts that differ more (too many are alike to draw a curve)"
    about = x - x.mean()
    curved = units.fitted(np.column_stack([about, about**2]), 2, min_clients, min_clusters)
    basis = natural_spline(x, knots)
    basis = basis - basis.mean(axis=0)
    smooth = units.fitted(basis, basis.shape[1], min_clients, min_clusters)
    if curved.reason or smooth.reason:
        return x[:0], curved.reason or smooth.reason
    sign = 1.0 if curved.estimate[1] <= 0 else -1.0
    height = sign * (basis @ smooth.estimate)
    error = np.sqrt(np.einsum("ij,jk,ik->i", basis, smooth.vcov, basis))
    low, high = np.quantile(x, MIDDLE)
    middle = (x > low) & (x < high)
    if not middle.any():
        return x[:0], "needs amounts between the 10th and the 90th percentile"
    near = middle & (height + error > height[middle].max())
    return x[near | (middle & (height == height[middle].max()))], ""


def natural_spline(x: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Return the basis of a natural cubic spline without intercept, linear beyond the outer knots: x, and one column an inner knot.

    Parameters
    ----------
    x : ndarray, shape (n,)
    knots : ndarray, shape (m,)
        Ascending; m - 1 columns.
    """
    last, before = knots[-1], knots[-2]
    cube = np.maximum(x[:, None] - knots, 0.0) ** 3
    part = (cube[:, :-1] - cube[:, -1:]) / (last - knots[:-1])
    return np.column_stack([x, part[:, :-1] - part[:, -1:]]) if last > before else x[:, None]


def _lines(units: _Units, bend: float, min_clients: int, min_clusters: int) -> Jackknifed:
    """Return the slope below a bend, from the regression whose lower line holds it, and above, from the other; in units of the data.

    Both regressions are sums over the same clients, so that one jackknife gives their covariance.
    """
    x = units.amount
    parts = []
    for upper in (x > bend, x >= bend):
        columns = np.column_stack([np.where(upper, 0.0, x - bend), np.where(upper, x - bend, 0.0), upper.astype(float)])
        data = units.design(columns)
        parts.append(cluster_sums(data[:, :, None] * data[:, None, :], units.client, units.n_clients))
    sums = np.stack(parts, axis=1)

    def slopes(total: np.ndarray) -> np.ndarray:
        found = solved(total[..., :-1, :-1], total[..., :-1, -1])
        return np.column_stack([found[:, 0, 0], found[:, 1, 1]])

    return jackknife(sums, slopes, 2, units.therapist, min_clusters=min_clusters, min_rows=min_clients)
