"""Short series of scores, one a client: how much they vary, how long deviations last, and whether they go up and down in cycles.

Sessions may be missing. Only sessions that follow each other by number are neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

LIMIT = 0.95
"""Largest autocorrelation looked for."""
AT_ONCE = 200
"""Clients whose surrogates stand in memory together."""


@dataclass(frozen=True)
class Pattern:
    """Clients with scores at the same sessions.

    Attributes
    ----------
    sessions : ndarray of int, shape (t,)
    clients : ndarray, shape (n,)
        Labels, sorted.
    scores : ndarray, shape (n, t)
    """

    sessions: np.ndarray
    clients: np.ndarray
    scores: np.ndarray


def patterns(rows: pd.DataFrame, least: int) -> list[Pattern]:
    """Return clients with at least ``least`` sessions, those with the same sessions together, in the order of sessions.

    Parameters
    ----------
    rows : DataFrame
        ``client, session, score``, one row a client and session, complete.
    least : int
    """
    ordered = rows.sort_values(["client", "session"], kind="stable")
    groups: dict[tuple[int, ...], list[tuple[object, np.ndarray]]] = {}
    for client, own in ordered.groupby("client", sort=True):
        if len(own) >= least:
            groups.setdefault(tuple(own["session"].astype(int)), []).append((client, own["score"].to_numpy(dtype=float)))
    return [
        Pattern(np.array(sessions), np.array([one for one, _ in members]), np.array([values for _, values in members]))
        for sessions, members in sorted(groups.items())
    ]


def without_line(sessions: np.ndarray) -> np.ndarray:
    """Return the matrix that takes a straight line over sessions from a series, shape (t, t)."""
    x = np.column_stack([np.ones(len(sessions)), sessions - sessions.mean()])
    return np.eye(len(sessions)) - x @ np.linalg.solve(x.T @ x, x.T)


def _neighbours(sessions: np.ndarray) -> np.ndarray:
    """Return 1/2 where two sessions follow each other, so that r'Nr is the sum of products of neighbours."""
    return (np.abs(sessions[:, None] - sessions) == 1) / 2


def variability_sums(groups: list[Pattern]) -> pd.DataFrame:
    """Return what measures of variability need of each client, as sums that add up over clients.

    Returns
    -------
    DataFrame
        Indexed by client: ``squares`` of deviations from the client's line and their degrees of freedom ``df``; ``steps``, squared
        differences of neighbours, and their ``pairs``; ``products`` of neighbours' deviations; ``n0``, ``n1``, ... and ``d0``, ``d1``, ...:
        what products and squares are expected to be, as coefficients of the powers of an autocorrelation.
    """
    longest = max((int(one.sessions[-1] - one.sessions[0]) for one in groups), default=0)
    names = [
        "squares",
        "df",
        "steps",
        "pairs",
        "products",
        *(f"n{lag}" for lag in range(longest + 1)),
        *(f"d{lag}" for lag in range(longest + 1)),
    ]
    frames = []
    for one in groups:
        taken, near = without_line(one.sessions), _neighbours(one.sessions)
        deviations = one.scores @ taken
        following = np.flatnonzero(np.diff(one.sessions) == 1)
        steps = (np.diff(one.scores, axis=1)[:, following] ** 2).sum(axis=1)
        lags = np.abs(one.sessions[:, None] - one.sessions).ravel()
        numerator = np.bincount(lags, (taken @ near @ taken).ravel(), longest + 1)
        denominator = np.bincount(lags, taken.ravel(), longest + 1)
        own = np.column_stack(
            [
                (deviations**2).sum(axis=1),
                np.full(len(deviations), len(one.sessions) - 2),
                steps,
                np.full(len(deviations), len(following)),
                np.einsum("nt,ts,ns->n", deviations, near, deviations),
                np.tile(numerator, (len(deviations), 1)),
                np.tile(denominator, (len(deviations), 1)),
            ]
        )
        frames.append(pd.DataFrame(own, index=one.clients, columns=names))
    return pd.concat(frames).sort_index() if frames else pd.DataFrame(columns=names, dtype=float)


def autocorrelation(sums: np.ndarray) -> np.ndarray:
    """Return the autocorrelation of neighbouring sessions that sums of :func:`variability_sums` tell.

    The ratio of products to squares of deviations from fitted lines is far below the autocorrelation in short series (Marriott & Pope,
    1954). The autocorrelation returned is that of first-order series whose expected products and squares have the observed ratio.

    Parameters
    ----------
    sums : ndarray, shape (b, 5 + 2 lags)
        In the columns of :func:`variability_sums`.

    Returns
    -------
    ndarray, shape (b,)
        NaN where no value from -.95 to .95 has this ratio.
    """
    sums = np.asarray(sums, dtype=float)
    size = (sums.shape[1] - 5) // 2
    observed, numerator, denominator = sums[:, 4] / sums[:, 0], sums[:, 5 : 5 + size], sums[:, 5 + size :]
    powers = np.arange(size)

    def excess(phi: np.ndarray) -> np.ndarray:
        power = phi[:, None] ** powers
        return (numerator * power).sum(axis=1) / (denominator * power).sum(axis=1) - observed

    low, high = np.full(len(sums), -LIMIT), np.full(len(sums), LIMIT)
    found = (excess(low) <= 0) & (excess(high) >= 0)
    for _ in range(50):
        middle = (low + high) / 2
        above = excess(middle) > 0
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return np.where(found, (low + high) / 2, np.nan)


@dataclass(frozen=True)
class Cycles:
    """How far clients' series go up and down in cycles.

    Attributes
    ----------
    clients : ndarray, shape (n,)
    period : ndarray, shape (n,)
        Period (sessions) that takes most of a client's variance around the own line.
    power : ndarray, shape (n,)
        Share of this variance that it takes.
    p_value : dict of str to ndarray, shape (n,)
        By kind of surrogate: share of surrogates with as much power in any period.
    expected : dict of str to ndarray, shape (n,)
        Mean power of the surrogates.
    phase : ndarray of complex, shape (n, periods)
        Direction of each period's peak, of length 1; NaN where a series is too short for the period.
    period_power : ndarray, shape (n, periods)
        Power of each period; NaN likewise.
    """

    clients: np.ndarray
    period: np.ndarray
    power: np.ndarray
    p_value: dict[str, np.ndarray]
    expected: dict[str, np.ndarray]
    phase: np.ndarray
    period_power: np.ndarray


def _waves(sessions: np.ndarray, periods: np.ndarray, taken: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return orthonormal waves beside a line, shape (periods, t, 2), and what turns their coefficients to those of cosine and sine."""
    angle = 2 * np.pi * sessions[None, :] / periods[:, None]
    beside = np.einsum("ts,psk->ptk", taken, np.stack([np.cos(angle), np.sin(angle)], axis=-1))
    return np.linalg.qr(beside)


def cycles(
    groups: list[Pattern], periods: ArrayLike, autocorrelations: dict[str, float], surrogates: int, random: np.random.Generator
) -> Cycles:
    """Compare each client's strongest cycle with that of series without cycles, at the same sessions.

    A cycle's power is what cosine and sine of its period take of the variance around the client's line (least-squares spectrum, which
    needs no even spacing; Lomb, 1976). A series is judged by periods up to half of its length. Surrogates are normal first-order series
    (Theiler et al., 1992).

    Parameters
    ----------
    groups : list of Pattern
    periods : array_like, shape (p,)
        Sessions, from 3 on.
    autocorrelations : dict of str to float
        By kind of surrogate: 0 for white noise.
    surrogates : int
        Of each kind and client.
    random : numpy.random.Generator
    """
    periods = np.asarray(periods, dtype=float)
    parts = [_pattern_cycles(one, periods, autocorrelations, surrogates, random) for one in groups]
    parts = [part for part in parts if part is not None]
    if not parts:
        none, wide = np.empty(0), np.empty((0, len(periods)))
        named = dict.fromkeys(autocorrelations, none)
        return Cycles(none, none, none, dict(named), dict(named), wide.astype(complex), wide)
    order = np.argsort(np.concatenate([part.clients for part in parts]), kind="stable")

    def joined(values: list[np.ndarray]) -> np.ndarray:
        return np.concatenate(values)[order]

    return Cycles(
        joined([part.clients for part in parts]),
        joined([part.period for part in parts]),
        joined([part.power for part in parts]),
        {name: joined([part.p_value[name] for part in parts]) for name in autocorrelations},
        {name: joined([part.expected[name] for part in parts]) for name in autocorrelations},
        joined([part.phase for part in parts]),
        joined([part.period_power for part in parts]),
    )


def _pattern_cycles(
    one: Pattern, periods: np.ndarray, autocorrelations: dict[str, float], surrogates: int, random: np.random.Generator
) -> Cycles | None:
    fitting = np.flatnonzero(periods <= (one.sessions[-1] - one.sessions[0] + 1) / 2)
    taken = without_line(one.sessions)
    deviations = one.scores @ taken
    squares = (deviations**2).sum(axis=1)
    varying = squares > 1e-12 * np.maximum((one.scores**2).sum(axis=1), 1e-300)
    if not len(fitting) or not varying.any():
        return None
    waves, turned = _waves(one.sessions, periods[fitting], taken)
    deviations, squares, clients = deviations[varying], squares[varying], one.clients[varying]
    coefficients = np.einsum("nt,ptk->npk", deviations, waves)
    power = (coefficients**2).sum(axis=-1) / squares[:, None]
    strongest = power.max(axis=1)
    n, size = len(clients), len(one.sessions)
    lags = np.abs(one.sessions[:, None] - one.sessions)
    p_value, expected = {}, {}
    for name, phi in autocorrelations.items():
        root = np.linalg.cholesky(np.where(lags == 0, 1.0, float(phi) ** lags)).T @ taken
        p_value[name], expected[name] = np.empty(n), np.empty(n)
        for start in range(0, n, AT_ONCE):
            some = slice(start, min(start + AT_ONCE, n))
            made = random.standard_normal(((some.stop - some.start) * surrogates, size)) @ root
            shares = (np.einsum("bt,ptk->bpk", made, waves, optimize=True) ** 2).sum(axis=-1).max(axis=1) / (made**2).sum(axis=1)
            shares = shares.reshape(-1, surrogates)
            p_value[name][some] = (1 + (shares >= strongest[some, None]).sum(axis=1)) / (surrogates + 1)
            expected[name][some] = shares.mean(axis=1)
    waved = np.linalg.solve(turned[None], coefficients[..., None])[..., 0]
    direction = waved[..., 0] + 1j * waved[..., 1]
    phase = np.full((n, len(periods)), np.nan, dtype=complex)
    phase[:, fitting] = direction / np.maximum(np.abs(direction), 1e-300)
    every = np.full((n, len(periods)), np.nan)
    every[:, fitting] = power
    return Cycles(clients, periods[fitting][power.argmax(axis=1)], strongest, p_value, expected, phase, every)


def in_step(directions: ArrayLike) -> tuple[float, float]:
    """Return the length of the mean direction, and the p value of the test that directions are spread evenly (Rayleigh).

    ``p = exp(sqrt(1 + 4 n + 4 (n² - (n R)²)) - (1 + 2 n))`` (Zar, 1999), close to exact from ten directions on.

    Parameters
    ----------
    directions : array_like of complex, shape (n,)
        Of length 1.
    """
    directions = np.asarray(directions)
    n = len(directions)
    length = float(np.abs(directions.mean()))
    return length, float(np.exp(np.sqrt(1 + 4 * n + 4 * (n**2 - (n * length) ** 2)) - (1 + 2 * n)))
