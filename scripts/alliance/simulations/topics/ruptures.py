"""How many true ruptures each rule sees, how often it sees one where there is none, and whether intervals of shares hold.

Clients of therapists rate up to 14 sessions: a level, an autocorrelation of .3 between sessions, noise with a standard deviation of 1. In
every session a rupture may begin, which lowers the alliance until it is repaired (chance .55 from the next session on) or for good, and
decays slowly. True values of shares that no formula gives are those of 12,000 clients.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from alliance.simulations.clients import therapists_of_clients
from alliance.simulations.framework import LEVEL, SINGLE_SITE, Condition, Intervals
from alliance.statistics import ruptures as rules
from alliance.statistics.change import proportion
from alliance.statistics.distributions import critical_value
from alliance.statistics.jackknife import jackknife
from alliance.statistics.resampling import generator

RUNS = 1000
SESSIONS, CLIENTS_OF_EACH, CORRELATION, REPAIR, RELIABILITY = 14, 4, 0.3, 0.55, 0.8
BETWEEN_THERAPISTS, BETWEEN_CLIENTS, RATES = 0.3, 1.0, 0.4
POPULATION, SURROGATES = 12_000, 100
CRITERIA = {
    "drop": {"rule": "drop", "sd": 1.0},
    "reliable_drop": {"rule": "reliable_drop", "critical": 1.96},
    "decline": {"rule": "decline", "sd": 1.0},
    "v_shape": {"rule": "v_shape", "sd": 2.0, "recovery": 1.0, "within": 3},
    "control_chart": {"rule": "control_chart", "sigma": 3.0, "baseline": None, "two_of_three": False},
}
BESIDE_NOISE = ("drop", "control_chart")
CLIENTS, OF_SESSIONS, SENSITIVITY, FALSE_ALARMS = "clients with a rupture", "sessions", "sensitivity", "false alarms"


def conditions() -> list[Condition]:
    """Return chances that a rupture begins in a session, depths in SD of the noise, and numbers of therapists."""
    kinds = [(20, 0.0, 0.0), *((20, rate, depth) for rate in (0.05, 0.12) for depth in (1.5, 3.0)), (40, 0.05, 3.0)]
    return [
        Condition(
            f"therapists{therapists}_rate{rate:g}_depth{depth:g}",
            {"n_therapists": therapists, "clients_of_each": CLIENTS_OF_EACH, "rupture_rate": rate, "depth_sd": depth},
        )
        for therapists, rate, depth in kinds
    ]


@dataclass(frozen=True)
class Treated:
    """Simulated treatments: rated series, in which session a rupture truly begins, and each client's therapist."""

    series: rules.Series
    begins: np.ndarray
    therapist: np.ndarray


def treatments(therapists: int, rate: float, depth: float, random: np.random.Generator) -> Treated:
    """Return the treatments of some therapists, four clients each."""
    therapist = therapists_of_clients(therapists * CLIENTS_OF_EACH, therapists)
    n = len(therapist)
    level = BETWEEN_THERAPISTS * random.standard_normal(therapists)[therapist] + BETWEEN_CLIENTS * random.standard_normal(n)
    chance = np.minimum(rate * np.exp(RATES * random.standard_normal(therapists)[therapist] - RATES**2 / 2), 0.9)
    values, begins = np.zeros((SESSIONS, n)), np.zeros((SESSIONS, n), dtype=bool)
    noise, dip = random.standard_normal(n), np.zeros(n)
    for session in range(SESSIONS):
        if session:
            noise = CORRELATION * noise + np.sqrt(1 - CORRELATION**2) * random.standard_normal(n)
            dip = np.where(random.random(n) < REPAIR, 0.0, 0.9 * dip)
        starts = (dip == 0) & (random.random(n) < chance) & (session > 0)
        begins[session] = starts
        dip = np.where(starts, depth, dip)
        values[session] = level + noise - dip
    client, number = np.meshgrid(np.arange(n), np.arange(1, SESSIONS + 1))
    return Treated(rules.series(client.ravel(), number.ravel(), values.ravel()), begins, therapist)


def sums(found: Treated, seen: rules.Ruptures) -> dict[str, np.ndarray]:
    """Return numerators and denominators of every share by client, shape (clients, 2)."""
    true, judged = found.begins & seen.judged, seen.judged & ~found.begins
    return {
        CLIENTS: np.column_stack([seen.starts.any(axis=0) & seen.eligible, seen.eligible]).astype(float),
        OF_SESSIONS: np.column_stack([seen.starts.sum(axis=0), seen.judged.sum(axis=0)]).astype(float),
        SENSITIVITY: np.column_stack([(seen.starts & true).sum(axis=0), true.sum(axis=0)]).astype(float),
        FALSE_ALARMS: np.column_stack([(seen.starts & judged).sum(axis=0), judged.sum(axis=0)]).astype(float),
    }


@cache
def population(rate: float, depth: float) -> dict[tuple[str, str], float]:
    """Return the shares of a large population, by rule and share."""
    random = generator(1, "ruptures of a population", rate, depth)
    found = treatments(POPULATION // CLIENTS_OF_EACH, rate, depth, random)
    sd = rules.scale(found.series, RELIABILITY)
    true = {}
    for name, rule in CRITERIA.items():
        seen = rules.ruptures(rule, found.series, sd)
        for share, parts in sums(found, seen).items():
            total = parts.sum(axis=0)
            true[name, share] = float(total[0] / total[1]) if total[1] else np.nan
    return true


def simulate(condition: Condition, random: np.random.Generator, runs: int) -> list[Intervals]:
    """Return shares of clients and sessions with a rupture, sensitivity, false alarms, and the excess over noise where there is none."""
    therapists = int(condition.parameters["n_therapists"])
    rate, depth = (float(condition.parameters[name]) for name in ("rupture_rate", "depth_sd"))
    truths = population(rate, depth)
    shares = [share for share in (CLIENTS, OF_SESSIONS, SENSITIVITY, FALSE_ALARMS) if rate > 0 or share != SENSITIVITY]
    numbers = {(name, share): np.full((runs, 4), np.nan) for name in CRITERIA for share in shares}
    excess = {name: np.full((runs, 4), np.nan) for name in BESIDE_NOISE} if rate == 0 else {}
    for run in range(runs):
        found = treatments(therapists, rate, depth, random)
        sd = rules.scale(found.series, RELIABILITY)
        for name, rule in CRITERIA.items():
            steps = (0.0, rules.STEP, -rules.STEP) if name in rules.MOVED_BY else (0.0,)
            seen = [rules.ruptures(rule, found.series, rules.changed(sd, name, step) if step else sd) for step in steps]
            parts = [sums(found, one) for one in seen]
            for share in shares:
                totals = [one[share].sum(axis=0) for one in parts]
                ratios = [total[0] / max(total[1], 1) for total in totals]
                moved = (found.series, rules.MOVED_BY[name], rules.slope(*ratios[1:])) if len(steps) > 1 else None
                numbers[name, share][run] = _ratio(parts[0][share], found.therapist, moved, share == CLIENTS)
        if excess:
            correlation = rules.autocorrelation(found.series)
            noise = rules.surrogates("autoregressive", found.series, SURROGATES, random, correlation)
            for name in BESIDE_NOISE:
                excess[name][run] = _excess(CRITERIA[name], found, sd, noise)
    results = []
    for (name, share), values in numbers.items():
        what, method, interval = _words(share)
        given = (truths[name, share], *values[:, :3].T, (values[:, 0], values[:, 3]), SINGLE_SITE)
        kind = "share" if share in (CLIENTS, OF_SESSIONS) else ""
        results.append(Intervals(f"{share}, {name}", what, kind, method, interval, *given))
    for name, values in excess.items():
        given = (0.0, *values[:, :3].T, (values[:, 0], values[:, 3]), SINGLE_SITE)
        what = "shares of sessions with a rupture beyond noise, where there is only noise"
        results.append(Intervals(f"excess over noise, {name}", what, "share_difference", "cluster_jackknife", "jackknife", *given))
    return results


def _words(share: str) -> tuple[str, str, str]:
    if share == CLIENTS:
        return "shares of clients with a rupture by one rule", "counted", "clustered_score"
    words = {
        OF_SESSIONS: "shares of sessions in which a rupture begins by one rule",
        SENSITIVITY: "shares of true ruptures that a rule sees",
        FALSE_ALARMS: "shares of sessions without a true rupture in which a rule sees one",
    }
    return words[share], "cluster_jackknife", "jackknife"


def _ratio(parts: np.ndarray, therapist: np.ndarray, moved: tuple[rules.Series, str, float] | None, by_client: bool) -> list[float]:
    """Return a ratio of sums, its limits (score interval of clients, else by t on the scale of the logit), and its error."""
    used = parts[:, 1] > 0
    if by_client and (moved is None or (parts[used, 0] > 0).all() or not (parts[:, 0] > 0).any()):
        found = proportion(parts[used, 0] > 0, therapist[used], LEVEL)
        ends = (found.ci_low, found.ci_high) if found.ci_low is not None else (found.wilson_low, found.wilson_high)
        return [np.nan if one is None else float(one) for one in (found.share, *ends, found.std_error)]
    chosen = used if moved is None else np.ones(len(parts), dtype=bool)
    found = rules.jackknifed_ratio(parts[chosen], therapist[chosen], moved)
    share, error = float(found.estimate[0]), float(found.std_error[0])
    n = int(used.sum())
    if by_client:
        return [share, *rules.score_interval(found, n, LEVEL), error]
    if 0 < share < 1 and error > 0:
        centre, error_of_logit = np.log(share / (1 - share)), error / (share * (1 - share))
    else:
        # None or all: half a client on either side, as in the tables.
        centre = np.log((share * n + 0.5) / ((1 - share) * n + 0.5))
        error_of_logit = np.sqrt(1 / (share * n + 0.5) + 1 / ((1 - share) * n + 0.5))
    margin = float(critical_value(LEVEL, found.df)) * error_of_logit
    return [share, 1 / (1 + np.exp(margin - centre)), 1 / (1 + np.exp(-margin - centre)), error]


def _excess(rule: dict, found: Treated, sd: rules.Scale, noise: np.ndarray) -> list[float]:
    """Return the share of sessions with a rupture less that of noise, its limits and its error."""
    own = rules.ruptures(rule, found.series, sd)
    counts, judged, _ = rules.surrogate_starts(rule, found.series, sd, noise)
    parts = np.column_stack([own.starts.sum(axis=0), own.judged.sum(axis=0), counts.mean(axis=0), judged.mean(axis=0)]).astype(float)
    result = jackknife(parts, lambda stack: stack[:, :1] / stack[:, 1:2] - stack[:, 2:3] / stack[:, 3:], 1, found.therapist, min_rows=2)
    low, high = result.interval(LEVEL)
    return [float(result.estimate[0]), float(low[0]), float(high[0]), float(result.std_error[0])]
