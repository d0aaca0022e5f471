"""Series of sessions, told over all clients: how much they vary, where they peak, whether they go in cycles (claims D3, D4, D5, D7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions.alliance_outcome.contrasts import result_fields, z_scores
from alliance.questions.course.sample import Course, absent
from alliance.statistics.covariance import partial_correlation
from alliance.statistics.jackknife import Jackknifed, covariance_of_sums, cross_products, jackknife
from alliance.statistics.peaks import exchangeability, peak_weights, tied
from alliance.statistics.resampling import generator
from alliance.statistics.session_series import Pattern, autocorrelation, cycles, in_step, patterns, variability_sums

PEAKING, PEAK_MEAN, DEPARTURE, EXCHANGEABLE = "clients who peak", "mean session of the peak", "mean of the session", "sessions alike"
WITHIN, STEP, CORRELATION = "SD around the own line", "RMSSD", "autocorrelation"
GROUP, INDIVIDUAL, RATIO = "variance of the mean curve", "mean variance of single curves", "mean curve / single curves"
RELIABILITY, LABILITY = "reliability of the mean of sessions", "RMSSD with the outcome"
WITH_CYCLE, BEYOND, TOGETHER, PERIOD = "clients with a cycle", "power beyond surrogates", "cycles in step", "period of the strongest cycle"
WHITE, FIRST_ORDER = "white_noise", "autoregressive"
LEVEL = 0.05
"""Level at which a client's cycle counts: the share that series without cycles would have."""
PERMUTATIONS = 9999
VARIABILITY_TYPES = {
    WITHIN: "standard_deviation",
    STEP: "standard_deviation",
    CORRELATION: "autocorrelation",
    GROUP: "variance",
    INDIVIDUAL: "variance",
    RATIO: "variance_ratio",
    LABILITY: "partial_correlation",
}


def peak_rows(course: Course, options: Mapping[str, Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return where clients peak among the first sessions, against sessions that could be exchanged, and counts for the sum over sites."""
    first, last = options["questions"]["course"]["peak_sessions"]
    sessions = list(range(first, last + 1))
    common = {"alliance_rater": course.rater, "session": ""}
    wanted = [common | {"statistic": PEAKING, "session": str(one), "estimate_type": "share"} for one in sessions]
    wanted += [common | {"statistic": DEPARTURE, "session": str(one), "estimate_type": "mean_difference"} for one in sessions]
    wanted.append(common | {"statistic": PEAK_MEAN, "estimate_type": "session_number"})
    scores, clients = complete(course, sessions)
    minimum = options["pooling"]["min_clients"]
    exchange = common | {"statistic": EXCHANGEABLE, "estimate_type": "p_value"}
    if course.reason or len(clients) < minimum:
        reason = course.reason or f"needs at least {minimum} clients rated in all of sessions {first} to {last}; has {len(clients)}"
        return [absent(one, reason, {"n_clients": len(clients)}) for one in [*wanted, exchange]], {}
    weights, size = peak_weights(scores), len(sessions)
    around = scores - scores.mean(axis=1, keepdims=True)
    data = np.column_stack([np.ones(len(scores)), weights, around, weights @ np.array(sessions, dtype=float)])
    found = jackknife(data, lambda sums: sums[:, 1:] / sums[:, :1], 2 * size + 1, course.codes(clients), min_rows=minimum)
    counts, ties = weights.sum(axis=0), tied(weights)
    whole, each = exchangeability(counts, ties, PERMUTATIONS, generator(options["seed"], "course", "peak", course.site, course.rater))
    behind = {**course.counts(clients, len(scores) * size), **result_fields(found, course.therapists is not None)}
    told = []
    for position, keys in enumerate(wanted):
        row = {**keys, **behind, "estimate": found.estimate[position], "variance": found.vcov[position, position]}
        if keys["statistic"] == PEAKING:
            row["p_permutation"] = float(each[position])
        told.append(row)
    told.append(exchange | _tested(course, clients, len(scores) * size, whole))
    return told, {"peaks": [float(one) for one in counts], "ties": [int(one) for one in ties]}


def _tested(course: Course, clients: np.ndarray, sessions: int, p_value: float) -> dict[str, Any]:
    return {**course.counts(clients, sessions), "estimate": p_value, "method": "permutation", "status": "estimated", "reason": ""}


def complete(course: Course, sessions: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return scores of the clients rated at all of some sessions, shape (n, sessions), and their codes."""
    wide = course.rows.pivot(index="client", columns="session", values="score").reindex(columns=sessions).dropna()
    return wide.to_numpy(dtype=float), wide.index.to_numpy(dtype=int)


def variability_rows(course: Course, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return how much the alliance varies within clients, how long deviations last, and how much of it the mean curve shows."""
    question, minimum = options["questions"]["course"], options["pooling"]["min_clients"]
    same = "yes" if course.rater == options["outcome"]["rater"] else "no"
    common = {"alliance_rater": course.rater, "sessions": "", "same_rater": ""}
    least = question["min_sessions"]
    groups = [] if course.reason else patterns(course.rows, least)
    sums = variability_sums(groups)
    clients = sums.index.to_numpy(dtype=int)
    few = course.reason or f"needs at least {minimum} clients with the alliance in {least} sessions; has {len(clients)}"
    enough = not course.reason and len(clients) >= minimum
    named = {one: common | {"statistic": one, "estimate_type": kind} for one, kind in VARIABILITY_TYPES.items()}
    named[LABILITY]["same_rater"] = same
    told = []
    if enough:
        found = jackknife(sums.to_numpy(dtype=float), _variability, 3, course.codes(clients), min_rows=minimum)
        sessions = int(course.rows["client"].isin(clients).sum())
        told += _several([named[one] for one in (WITHIN, STEP, CORRELATION)], found, course, clients, sessions)
    else:
        told += [absent(named[one], few, {"n_clients": len(clients)}) for one in (WITHIN, STEP, CORRELATION)]
    told += _curves(course, [named[one] for one in (GROUP, INDIVIDUAL, RATIO)], options)
    told += _reliabilities(course, common, options)
    return [*told, _lability(course, sums, named[LABILITY], few if not enough else "", options)]


def _several(named: list[dict[str, Any]], found: Jackknifed, course: Course, clients: np.ndarray, sessions: int) -> list[dict[str, Any]]:
    """Return one row for each of several jackknifed numbers."""
    behind = {**course.counts(clients, sessions), **result_fields(found, course.therapists is not None)}
    return [{**one, **behind, "estimate": found.estimate[at], "variance": found.vcov[at, at]} for at, one in enumerate(named)]


def _variability(sums: np.ndarray) -> np.ndarray:
    return np.column_stack([np.sqrt(sums[:, 0] / sums[:, 1]), np.sqrt(sums[:, 2] / sums[:, 3]), autocorrelation(sums)])


def _curves(course: Course, named: list[dict[str, Any]], options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return how much the mean curve varies over sessions, against single clients' curves over the same sessions.

    The mean of n curves that have nothing in common varies by 1 / n of what they do; that much is taken away.
    """
    last, minimum = options["questions"]["course"]["outcome_sessions"], options["pooling"]["min_clients"]
    scores, clients = complete(course, list(range(1, last + 1))) if not course.reason else (np.empty((0, last)), np.empty(0, dtype=int))
    if course.reason or len(clients) < minimum:
        reason = course.reason or f"needs at least {minimum} clients rated in all of the first {last} sessions; has {len(clients)}"
        return [absent(one, reason, {"n_clients": len(clients)}) for one in named]
    own = ((scores - scores.mean(axis=1, keepdims=True)) ** 2).sum(axis=1) / (last - 1)

    def variances(sums: np.ndarray) -> np.ndarray:
        n = sums[:, 0]
        single = sums[:, 1] / n
        means = sums[:, 2:] / n[:, None]
        observed = means.var(axis=1, ddof=1)
        group = observed - (single - observed) / (n - 1)
        return np.column_stack([group, single, group / single])

    found = jackknife(np.column_stack([np.ones(len(scores)), own, scores]), variances, 3, course.codes(clients), min_rows=minimum)
    return _several(named, found, course, clients, scores.size)


def _reliabilities(course: Course, common: Mapping[str, Any], options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return how well the mean of a few sessions tells clients apart, since sessions of one client differ (analysis of variance)."""
    numbers, minimum = options["questions"]["course"]["averaged"], options["pooling"]["min_clients"]
    named = [{**common, "statistic": RELIABILITY, "sessions": str(one), "estimate_type": "reliability_between"} for one in numbers]
    grouped = course.rows.groupby("client")["score"].agg(["size", "mean", "var"])
    grouped = grouped[grouped["size"] >= 2]
    if course.reason or len(grouped) < minimum:
        reason = course.reason or f"needs at least {minimum} clients with the alliance in two sessions; has {len(grouped)}"
        return [absent(one, reason, {"n_clients": len(grouped)}) for one in named]
    n, mean = grouped["size"].to_numpy(dtype=float), grouped["mean"].to_numpy()
    data = np.column_stack([np.ones(len(n)), n, n**2, n * mean, n * mean**2, (n - 1) * grouped["var"].to_numpy()])
    averaged = np.array(numbers, dtype=float)

    def reliability(sums: np.ndarray) -> np.ndarray:
        k, total, squares, first, second, within = sums.T
        inside = within / (total - k)
        size = (total - squares / total) / (k - 1)
        between = ((second - first**2 / total) / (k - 1) - inside) / size
        return between[:, None] / (between[:, None] + inside[:, None] / averaged)

    clients = grouped.index.to_numpy(dtype=int)
    found = jackknife(data, reliability, len(numbers), course.codes(clients), min_rows=minimum)
    return _several(named, found, course, clients, int(n.sum()))


def _lability(course: Course, sums: pd.DataFrame, keys: dict[str, Any], few: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the correlation of a client's RMSSD (logarithm) with the outcome, given intake level and mean alliance."""
    if few or course.no_outcome:
        return absent(keys, few or course.no_outcome)
    minimum, who = options["pooling"]["min_clients"], sums.index.to_numpy(dtype=int)
    with np.errstate(divide="ignore", invalid="ignore"):
        own = np.log(np.sqrt((sums["steps"] / sums["pairs"]).to_numpy(dtype=float)))
    level = course.rows.groupby("client")["score"].mean().reindex(who).to_numpy()
    data = np.column_stack([course.outcome[who], own, course.intake[who], level])
    usable = np.isfinite(data).all(axis=1)

    def partial(sums: np.ndarray) -> np.ndarray:
        return partial_correlation(covariance_of_sums(sums), 0, 1, [2, 3])[..., None]

    found = jackknife(cross_products(z_scores(data[usable])), partial, 1, course.codes(who[usable]), min_rows=minimum)
    return _several([keys], found, course, who[usable], int(course.rows["client"].isin(who[usable]).sum()))[0]


def cycle_rows(course: Course, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return how many clients' series go in cycles beyond what surrogates show, and whether cycles of clients are in step."""
    question, minimum = options["questions"]["course"], options["pooling"]["min_clients"]
    shortest, longest = question["periods"]
    periods = np.arange(shortest, longest + 1, dtype=float)
    common = {"alliance_rater": course.rater, "surrogates": ""}
    kinds = {WITH_CYCLE: "share", BEYOND: "mean_difference"}
    named = {
        (null, one): common | {"surrogates": null, "statistic": one, "estimate_type": kind}
        for null in (WHITE, FIRST_ORDER)
        for one, kind in kinds.items()
    }
    named["", TOGETHER] = common | {"statistic": TOGETHER, "estimate_type": "synchrony"}
    named["", PERIOD] = common | {"statistic": PERIOD, "estimate_type": "session_number"}
    groups: list[Pattern] = [] if course.reason else patterns(course.rows, question["cycle_sessions"])
    reason, found = course.reason, None
    if not reason:
        total = variability_sums(groups).to_numpy(dtype=float).sum(axis=0)
        phi = float(autocorrelation(total[None])[0]) if groups else np.nan
        random = generator(options["seed"], "course", "cycles", course.site, course.rater)
        nulls = {WHITE: 0.0} | ({FIRST_ORDER: phi} if np.isfinite(phi) else {})
        found = cycles(groups, periods, nulls, question["surrogates"], random)
        if len(found.clients) < minimum:
            reason = (
                f"needs at least {minimum} clients with the alliance in {question['cycle_sessions']} sessions; has {len(found.clients)}"
            )
    if reason or found is None:
        n = 0 if found is None else len(found.clients)
        return [absent(one, reason, {"n_clients": n}) for one in named.values()]
    who = found.clients.astype(int)
    codes, sessions = course.codes(who), int(course.rows["client"].isin(who).sum())
    told = []
    for null in (WHITE, FIRST_ORDER):
        own = [named[null, one] for one in kinds]
        if null not in found.p_value:
            told += [absent(one, "needs deviations whose autocorrelation lies between -.95 and .95") for one in own]
            continue
        values = np.column_stack([np.ones(len(who)), found.p_value[null] <= LEVEL, found.power - found.expected[null]])
        made = jackknife(values, lambda sums: sums[:, 1:] / sums[:, :1], 2, codes, min_rows=minimum)
        told += _several(own, made, course, who, sessions)
    return [*told, *_in_step(course, found, who, sessions, named, minimum)]


def _in_step(
    course: Course, found: Any, who: np.ndarray, sessions: int, named: Mapping[tuple[str, str], dict[str, Any]], minimum: int
) -> list[dict[str, Any]]:
    """Return whether clients' cycles peak at the same sessions, at the period with most power over clients, and the mean period."""
    full = np.isfinite(found.period_power).all(axis=0)
    place = int(np.where(full, np.where(full, found.period_power, 0).mean(axis=0), -1.0).argmax())
    length, p_value = in_step(found.phase[:, place])
    together = {**course.counts(who, sessions), "estimate": synchrony([len(who)], [length]), "p_phases": p_value}
    together |= {"method": "rayleigh", "status": "estimated", "reason": "", "resultant": length}
    data = np.column_stack([np.ones(len(who)), found.period])
    period = jackknife(data, lambda sums: sums[:, 1:] / sums[:, :1], 1, course.codes(who), min_rows=minimum)
    return [named["", TOGETHER] | together, *_several([named["", PERIOD]], period, course, who, sessions)]


def synchrony(clients: Sequence[int], lengths: Sequence[float]) -> float:
    """Return the mean cosine of the angle between two clients of a site, ``sum(n R² - 1) / sum(n - 1)`` over sites.

    Parameters
    ----------
    clients : sequence of int
        Clients of each site, n.
    lengths : sequence of float
        Length R of the mean of each site's directions.
    """
    n, length = np.asarray(clients, dtype=float), np.asarray(lengths, dtype=float)
    return float((n * length**2 - 1).sum() / (n - 1).sum())
