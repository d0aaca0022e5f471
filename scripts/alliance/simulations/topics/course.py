"""Course of the alliance at one site: where the mean curve bends, autocorrelation in short series, and cycles against surrogates.

Clients come to 8 to 16 sessions and miss one in ten. Without cycles the share of clients with one is the share of false alarms (.05 is
meant); with cycles it is how many are found.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from alliance.simulations.framework import LEVEL, SINGLE_SITE, Condition, Intervals
from alliance.statistics.distributions import critical_value
from alliance.statistics.growth_effects import Working
from alliance.statistics.jackknife import jackknife
from alliance.statistics.knots import best_knot, knot_profile
from alliance.statistics.session_series import autocorrelation, cycles, patterns, variability_sums

RUNS = 500
# Likelihoods are compared on a grid; a tie may fall either way.
TOLERANCE = 1e-6
N_CLIENTS, N_THERAPISTS = 120, 20
LEAST, LONGEST, MISSED = 8, 16, 0.1
BEND, TURN = 3.0, 1.5
KNOTS = np.round(np.arange(2, 6.05, 0.1), 6)
PERIODS = np.arange(3.0, 9.0)
PERIOD, SURROGATES = 5.0, 100
ALARM = 0.05
# Share of clients whose cycle is found, from 141,033 clients drawn as here with another seed (Monte Carlo error .0014).
SENSITIVITY = {"white noise": 0.520, "autoregressive": 0.414}


def conditions() -> list[Condition]:
    """Return autocorrelations, and amplitudes of cycles in SD of sessions around the client's line."""
    return [
        Condition(f"autocorrelation{phi:g}_cycle{amplitude:g}", {"n_clients": N_CLIENTS, "autocorrelation": phi, "cycle": amplitude})
        for phi, amplitude in ((0.0, 0.0), (0.3, 0.0), (0.6, 0.0), (0.3, 1.0))
    ]


def simulate(condition: Condition, random: np.random.Generator, runs: int) -> list[Intervals]:
    """Return knots, autocorrelations, and shares of clients with a cycle against both kinds of surrogates."""
    phi, amplitude = float(condition.parameters["autocorrelation"]), float(condition.parameters["cycle"])
    found = [_run(phi, amplitude, random) for _ in range(runs)]
    knot, correlation, white, first_order = np.array(found).transpose(1, 0, 2)
    told = [_intervals("knot", "the session at which the mean curve bends", "session_number", "profile_likelihood", "profile", BEND, knot)]
    if not amplitude:
        what = "autocorrelations of sessions around clients' lines"
        told.append(_intervals("autocorrelation", what, "autocorrelation", "cluster_jackknife", "jackknife", phi, correlation))
        what = "shares of clients with a cycle where there are none"
        for name, values in (("white noise", white), ("autoregressive", first_order)):
            # White noise is the wrong surrogate for autocorrelated series: that row tells how wrong.
            told.append(_intervals(f"false alarms, {name}", what, "", "cluster_jackknife", "jackknife", ALARM, values))
    else:
        what = "shares of clients whose cycle is found"
        for name, values in (("white noise", white), ("autoregressive", first_order)):
            told.append(_intervals(f"found, {name}", what, "", "cluster_jackknife", "jackknife", SENSITIVITY[name], values))
    return told


def _intervals(estimand: str, what: str, kind: str, method: str, interval: str, truth: float, values: np.ndarray) -> Intervals:
    estimate, low, high, error = values.T
    return Intervals(estimand, what, kind, method, interval, truth, estimate, low, high, (estimate, error), SINGLE_SITE)


def _run(phi: float, amplitude: float, random: np.random.Generator) -> list[list[float]]:
    therapist = np.arange(N_CLIENTS) % N_THERAPISTS
    rows, working = _clients(phi, amplitude, random)
    profile = knot_profile(rows["score"], rows["time"], rows["client"], therapist, working, (KNOTS - 1) / 10)
    knot = best_knot(KNOTS, profile, LEVEL)
    groups = patterns(rows, LEAST - 2)
    sums = variability_sums(groups)
    correlation = jackknife(sums.to_numpy(), lambda stack: autocorrelation(stack)[:, None], 1, therapist[sums.index.to_numpy()])
    long = [one for one in groups if len(one.sessions) >= 10]
    own = float(autocorrelation(variability_sums(long).to_numpy().sum(axis=0)[None])[0])
    made = cycles(long, PERIODS, {"white": 0.0, "own": own}, SURROGATES, random)
    codes = therapist[made.clients.astype(int)]
    shares = [_share(made.p_value[name] <= ALARM, codes) for name in ("white", "own")]
    low, high = correlation.interval(LEVEL)
    return [
        [knot.estimate, knot.low, knot.high, np.nan],
        [float(correlation.estimate[0]), float(low[0]), float(high[0]), float(correlation.std_error[0])],
        *shares,
    ]


def _share(met: np.ndarray, codes: np.ndarray) -> list[float]:
    """Return a share with the interval of the tables: by logits, half a client added where all or none have a cycle."""
    found = jackknife(np.column_stack([np.ones(len(met)), met]), lambda stack: stack[:, 1:] / stack[:, :1], 1, codes)
    share, error, n = float(found.estimate[0]), float(found.std_error[0]), len(met)
    if 0 < share < 1 and error > 0:
        logit, spread = np.log(share / (1 - share)), error / (share * (1 - share))
    else:
        counts = np.array([share * n, n - share * n]) + 0.5
        logit, spread = np.log(counts[0] / counts[1]), np.sqrt((1 / counts).sum())
    margin = float(critical_value(LEVEL, found.df)) * spread
    return [share, *(float(1 / (1 + np.exp(-end))) for end in (logit - margin, logit + margin)), error]


def _clients(phi: float, amplitude: float, random: np.random.Generator) -> tuple[pd.DataFrame, Working]:
    """Return sessions of clients with lines of their own about a curve that bends, and the variances they were drawn with."""
    session = np.arange(1, LONGEST + 1)
    lag = np.abs(session[:, None] - session)
    root = np.linalg.cholesky(np.where(lag == 0, 1.0, phi**lag))
    around = 0.5 * random.standard_normal((N_CLIENTS, LONGEST)) @ root.T
    start = random.uniform(0, 2 * np.pi, (N_CLIENTS, 1))
    wave = 0.5 * amplitude * np.sqrt(2) * np.cos(2 * np.pi * session / PERIOD + start)
    lines = random.standard_normal((N_CLIENTS, 2)) * (0.8, 0.4)
    time = (session - 1) / 10
    curve = TURN * np.minimum(time, (BEND - 1) / 10) - 0.2 * np.maximum(time - (BEND - 1) / 10, 0.0)
    score = curve + lines[:, :1] + lines[:, 1:] * time + around + wave
    last = random.integers(LEAST, LONGEST + 1, N_CLIENTS)
    came = (session <= last[:, None]) & (random.random(score.shape) >= MISSED)
    client, at = np.nonzero(came)
    rows = pd.DataFrame({"client": client, "session": session[at], "score": score[client, at], "time": time[at]})
    return rows, Working(np.diag([0.64, 0.16]), 0.0, 0.25 * (1 + amplitude**2))
