"""How many clients and sessions have a rupture by each criterion, how deep and long ruptures are, and how many noise alone would give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions.alliance_outcome.contrasts import result_fields
from alliance.questions.ruptures.sample import REPAIRED, UNREPAIRED, Sample, Seen, settings
from alliance.statistics import ruptures as rules
from alliance.statistics.change import proportion
from alliance.statistics.jackknife import jackknife
from alliance.statistics.resampling import generator

Row = dict[str, Any]
CLIENTS, SESSIONS = "clients", "sessions"
WITH_RUPTURE = "clients with a rupture"
OF_CLIENTS = (
    WITH_RUPTURE,
    "clients whose ruptures were all repaired",
    "clients with an unrepaired rupture",
    "clients with an early rupture",
    "clients with a late rupture",
)
JUDGED = "clients who could be judged"
OF_SESSIONS, OF_RUPTURES = "sessions in which a rupture begins", "ruptures that were repaired"
NOT_FOLLOWED = "ruptures not followed long enough to see a repair"
DEPTH, LENGTH = "depth", "length"
IN_A_ROW, AT_CEILING, COASTING = "sessions rated right after the one before", "sessions at the ceiling", "coasting clients"
RATINGS = "rated sessions of a client"
ONLY_REPAIRED = "needs a criterion that also sees ruptures that were not repaired"


def criteria_rows(found: Sample, options: Mapping[str, Any]) -> list[Row]:
    """Return the shares, depths and lengths of ruptures by every criterion, and what the ratings allow."""
    rows = list(_of_ratings(found, options))
    for one in found.criteria:
        rows += _of_criterion(found, one, options)
    return rows


def _identity(one: Seen, statistic: str, kind: str, unit: str) -> Row:
    return {
        "criterion": one.name,
        "rule": one.rule,
        "rated_by": one.rater,
        "statistic": statistic,
        "unit": unit,
        "estimate_type": kind,
    }


def absent(identity: Mapping[str, Any], reason: str) -> Row:
    """Return a row without a number, with what it needs."""
    return {**identity, "method": "none", "status": "not_estimable", "reason": f"not estimable: {reason}"}


def share_of_clients(counted: np.ndarray, codes: np.ndarray | None, level: float) -> Row:
    """Return the columns of a share of clients: Wilson's interval, with therapists where they are known."""
    found = proportion(counted, codes, level)
    estimated = found.status != "not_estimable"
    robust = found.ci_low is not None
    return {
        "estimate": found.share if estimated else np.nan,
        "variance": float(found.std_error or 0.0) ** 2 if robust and found.std_error else np.nan,
        "ci_low": found.ci_low if robust else found.wilson_low,
        "ci_high": found.ci_high if robust else found.wilson_high,
        "n_clients": found.n,
        "n_therapists": found.n_clusters if codes is not None else None,
        "method": "counted" if estimated else "none",
        "status": found.status,
        "reason": found.reason if estimated else f"not estimable: {found.reason}",
    }


def ratio(sums: np.ndarray, codes: np.ndarray | None, needs: str, least: int = 2) -> Row:
    """Return the columns of a ratio of sums over clients: numerator and denominator in two columns."""
    if len(sums) < least or sums[:, 1].sum() <= 0:
        counts = {"n_clients": int((sums[:, 1] > 0).sum()) if len(sums) else 0}
        return {**counts, "method": "none", "status": "not_estimable", "reason": f"not estimable: {needs}"}
    result = jackknife(sums, lambda stack: stack[:, :1] / stack[:, 1:], 1, codes, min_rows=least)
    return {**result_fields(result, codes is not None), "estimate": result.estimate[0], "variance": result.vcov[0, 0]}


def parts_of(one: Seen, clients: pd.Index, question: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return what each client adds to numerator and denominator of every number of a criterion, shape (clients, 2)."""
    rows = one.sessions
    code, n = clients.get_indexer(rows["client"]), len(clients)
    rupture = rows["rupture"].to_numpy(dtype=bool)
    late = rows["session"].to_numpy() > question["early_until"]
    depth = rows["depth"].to_numpy(dtype=float)
    deep = rupture & np.isfinite(depth)

    def total(weights: np.ndarray) -> np.ndarray:
        return np.bincount(code, weights.astype(float), minlength=n)

    def share(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
        return np.column_stack([numerator, denominator]).astype(float)

    judged, begun = total(np.ones(len(rows))), total(rupture)
    pattern = one.pattern(question["at_the_end"]).reindex(clients)
    known = pattern.notna().to_numpy()
    in_time = [(total(rupture & when) > 0, total(when) > 0) for when in (~late, late)]
    return {
        OF_CLIENTS[0]: share(begun > 0, judged > 0),
        OF_CLIENTS[1]: share(pattern.eq(REPAIRED), known),
        OF_CLIENTS[2]: share(pattern.eq(UNREPAIRED), known),
        OF_CLIENTS[3]: share(*in_time[0]),
        OF_CLIENTS[4]: share(*in_time[1]),
        OF_SESSIONS: share(begun, judged),
        OF_RUPTURES: share(total(rupture & rows["repaired"].to_numpy(dtype=bool)), begun),
        NOT_FOLLOWED: share(total(rupture & ~rows["followed"].to_numpy(dtype=bool)), begun),
        DEPTH: share(total(np.where(deep, depth, 0.0)), total(deep)),
        LENGTH: share(total(np.where(rupture, rows["length"], 0.0)), begun),
    }


def moved_by(found: Sample, one: Seen, name: str, question: Mapping[str, Any]) -> tuple[rules.Series, str, float] | None:
    """Return the series, the SD and the slope of a number of a criterion on it; None where the rule depends on none of the sample."""
    if one.name not in found.moved:
        return None
    up, down = (parts_of(seen, found.clients, question)[name].sum(axis=0) for seen in found.moved[one.name])
    with np.errstate(divide="ignore", invalid="ignore"):
        change = rules.slope(up[0] / up[1], down[0] / down[1])
    return found.series, rules.MOVED_BY[one.rule], change


def _judged_number(found: Sample, one: Seen, name: str, parts: np.ndarray, codes: np.ndarray | None, options: Mapping[str, Any]) -> Row:
    """Return the columns of a share or mean of a criterion."""
    level = options["pooling"]["level"]
    used = parts[:, 1] > 0
    of_clients = name in OF_CLIENTS
    total = parts.sum(axis=0)
    moved = moved_by(found, one, name, options["questions"]["ruptures"])
    if moved is None or (of_clients and total[0] in (0, total[1])):
        own = None if codes is None else codes[used]
        needs = f"needs ruptures of at least two clients; has those of {int(used.sum())}"
        return share_of_clients(parts[used, 0] > 0, own, level) if of_clients else ratio(parts[used], own, needs)
    if used.sum() < 2:
        return ratio(parts[used], None, f"needs ruptures of at least two clients; has those of {int(used.sum())}")
    rated = found.clients.get_indexer(found.series.clients)
    result = rules.jackknifed_ratio(parts[rated], None if codes is None else codes[rated], moved)
    row = {**result_fields(result, codes is not None), "estimate": result.estimate[0], "variance": result.vcov[0, 0]}
    row["n_clients"] = int(used.sum())
    if of_clients and not result.reason:
        low, high = rules.score_interval(result, int(used.sum()), level)
        row |= {"ci_low": low, "ci_high": high, "method": "counted"}
    return row


def _of_criterion(found: Sample, one: Seen, options: Mapping[str, Any]) -> Iterator[Row]:
    question, level = options["questions"]["ruptures"], options["pooling"]["level"]
    everyone, codes = len(found.clients), found.therapists
    of_ratings = "SD within clients" if one.rule in rules.RULES else "intensity"
    kinds = {name: ("share", CLIENTS) for name in (JUDGED, *OF_CLIENTS)}
    kinds |= {OF_SESSIONS: ("share", SESSIONS), OF_RUPTURES: ("share", "ruptures"), NOT_FOLLOWED: ("share", "ruptures")}
    kinds |= {DEPTH: ("mean", of_ratings), LENGTH: ("mean", SESSIONS)}
    if one.reason:
        yield from (absent(_identity(one, name, *kind), one.reason) for name, kind in kinds.items())
        return
    sessions = np.bincount(found.clients.get_indexer(one.sessions["client"]), minlength=everyone)
    yield {
        **_identity(one, JUDGED, *kinds[JUDGED]),
        **share_of_clients(sessions > 0, codes, level),
        "n_sessions": len(one.sessions),
        "share_missing": 0.0,
    }
    for name, parts in parts_of(one, found.clients, question).items():
        identity = _identity(one, name, *kinds[name])
        if one.rule == "v_shape" and name in (OF_CLIENTS[2], OF_RUPTURES, NOT_FOLLOWED):
            yield absent(identity, ONLY_REPAIRED)
            continue
        if name in OF_CLIENTS and not parts[:, 1].any():
            yield absent(identity, "needs clients who were judged in these sessions")
            continue
        used = parts[:, 1] > 0
        yield {
            **identity,
            **_judged_number(found, one, name, parts, codes, options),
            "n_sessions": int(sessions[used].sum()),
            "share_missing": 1 - used.mean(),
        }


def _of_ratings(found: Sample, options: Mapping[str, Any]) -> Iterator[Row]:
    """Yield what the ratings allow: how many sessions follow one another, how many are at the ceiling, who coasts."""
    question, level = options["questions"]["ruptures"], options["pooling"]["level"]
    packed = found.series
    base = {"criterion": "", "rule": "", "rated_by": options["alliance"]["rater"]}
    kinds = (
        (RATINGS, "mean", SESSIONS),
        (IN_A_ROW, "share", SESSIONS),
        (AT_CEILING, "share", SESSIONS),
        (COASTING, "share", CLIENTS),
    )
    every = {name: {**base, "statistic": name, "estimate_type": kind, "unit": unit} for name, kind, unit in kinds}
    if not len(packed.clients):
        alliance = options["alliance"]
        reason = f"needs {alliance['rater']}-rated alliance ({', '.join(alliance['instruments'])}) session by session"
        yield from (absent(identity, reason) for identity in every.values())
        return
    codes = found.codes(packed.clients)
    counts = packed.counts.astype(float)
    counted = {"n_sessions": int(counts.sum()), "share_missing": 1 - len(counts) / len(found.clients)}
    ones = np.ones(len(counts))
    yield {**every[RATINGS], **ratio(np.column_stack([counts, ones]), codes, "needs at least two clients"), **counted}
    near = packed.adjacent(question["largest_gap"]).sum(axis=0)
    in_a_row = ratio(np.column_stack([near, counts - 1]), codes, "needs clients with two rated sessions")
    yield {**every[IN_A_ROW], **in_a_row, **counted}
    if not len(found.ceiling):
        reason = "needs the range of answers of the alliance measure"
        yield from (absent(every[name], reason) for name in (AT_CEILING, COASTING))
        return
    coasting = question["coasting"]
    high = found.ceiling >= coasting["reaches"] - 1e-9
    of_client = high.groupby(level=0).agg(["sum", "size"]).reindex(packed.clients)
    yield {**every[AT_CEILING], **ratio(of_client.to_numpy(dtype=float), codes, "needs at least two clients"), **counted}
    coasts = coasting_clients(found, options)
    who = coasts.index
    yield (
        {**every[COASTING], **share_of_clients(coasts.to_numpy(), found.codes(who), level), **counted}
        if len(who)
        else absent(every[COASTING], f"needs clients with at least {question['min_sessions']} rated sessions")
    )


def coasting_clients(found: Sample, options: Mapping[str, Any]) -> pd.Series:
    """Return whether the alliance of each client with enough sessions is very high and flat, index client; empty where not known."""
    question = options["questions"]["ruptures"]
    coasting, packed = question["coasting"], found.series
    enough = packed.counts >= question["min_sessions"]
    if not len(found.ceiling) or not enough.any():
        return pd.Series(dtype=bool, index=pd.Index([], dtype="int64"))
    _, squares = rules.mean_and_squares(packed.values, packed.rated)
    own = np.sqrt(squares / np.maximum(packed.counts - 1, 1))
    high = (found.ceiling >= coasting["reaches"] - 1e-9).groupby(level=0).mean().reindex(packed.clients).to_numpy()
    coasts = (high >= coasting["share"] - 1e-9) & (own <= coasting["sd"] * found.sd.within + 1e-9)
    return pd.Series(coasts[enough], index=pd.Index(packed.clients[enough]))


def base_rate_rows(found: Sample, options: Mapping[str, Any]) -> list[Row]:
    """Return the shares of clients and sessions with a rupture beside those of noise, and their differences."""
    question, shared = options["questions"]["ruptures"], settings(options)
    chosen = {one.name: one for one in found.criteria}
    wanted = [name for name, rule in question["criteria"].items() if rule["rule"] in rules.RULES and not chosen[name].reason]
    rows: list[Row] = []
    noise: dict[str, np.ndarray] = {}
    if wanted:
        correlation = found.facts["autocorrelation"]
        for kind in rules.SURROGATES:
            random = generator(options["seed"], "ruptures", "surrogates", kind, found.site)
            noise[kind] = rules.surrogates(kind, found.series, question["surrogates"], random, correlation or 0.0)
    for one in found.criteria:
        for kind in rules.SURROGATES:
            identities = [
                {**_base_identity(one, kind, unit), "statistic": statistic, "estimate_type": estimate_type}
                for unit in (CLIENTS, SESSIONS)
                for statistic, estimate_type in (("observed", "share"), ("noise", "share"), ("excess", "share_difference"))
            ]
            if one.rule not in rules.RULES:
                reason = "needs ratings; what noise would give cannot be told of reports and codes of ruptures"
                rows += [absent(identity, reason) for identity in identities]
                continue
            if one.reason:
                rows += [absent(identity, one.reason) for identity in identities]
                continue
            rule = question["criteria"][one.name]
            counts, judged, eligible = rules.surrogate_starts(rule, found.series, found.sd, noise[kind], **shared)
            rows += _beside_noise(found, one, identities, counts, judged, eligible, question)
    return rows


def _base_identity(one: Seen, kind: str, unit: str) -> Row:
    return {"criterion": one.name, "rule": one.rule, "rated_by": one.rater, "surrogates": kind, "unit": unit}


def _beside_noise(
    found: Sample,
    one: Seen,
    identities: list[Row],
    counts: np.ndarray,
    judged: np.ndarray,
    eligible: np.ndarray,
    question: Mapping[str, Any],
) -> Iterator[Row]:
    of_client = parts_of(one, found.clients, question)
    rated = found.clients.get_indexer(found.series.clients)
    observed, sessions = of_client[OF_SESSIONS][rated].T
    of_units = {
        CLIENTS: (observed > 0, sessions > 0, (counts > 0) & eligible, eligible),
        SESSIONS: (observed, sessions, counts, judged),
    }
    for place, unit in enumerate(of_units):
        seen, could, by_noise, noise_could = (np.asarray(part, dtype=float) for part in of_units[unit])
        sums = np.column_stack([seen, could, by_noise.mean(axis=0), noise_could.mean(axis=0)])
        codes = found.codes(found.series.clients)
        moved = moved_by(found, one, WITH_RUPTURE if unit == CLIENTS else OF_SESSIONS, question)

        def shares(stack: np.ndarray) -> np.ndarray:
            first, second = stack[:, 0] / stack[:, 1], stack[:, 2] / stack[:, 3]
            return np.stack([first, second, first - second], axis=-1)

        result = jackknife(sums, shares, 3, codes, min_rows=2)
        variances = np.diagonal(result.vcov).copy()
        if moved is not None and not result.reason:
            # The threshold moves what is observed and what noise gives alike, and hardly their difference.
            for position in (0, 1):
                variances[position] = rules.jackknifed_ratio(sums[:, 2 * position : 2 * position + 2], codes, moved).vcov[0, 0]
        fields = result_fields(result, codes is not None)
        rates = by_noise.sum(axis=1) / np.maximum(noise_could.sum(axis=1), 1)
        reached = rates >= seen.sum() / max(could.sum(), 1) - 1e-12
        for position, identity in enumerate(identities[3 * place : 3 * place + 3]):
            yield {
                **identity,
                **fields,
                "n_sessions": int(sessions.sum()),
                "n_clients": int((could > 0).sum()),
                "share_missing": 1 - (could > 0).sum() / len(found.clients),
                "estimate": result.estimate[position],
                "variance": variances[position],
                "p_noise": (1 + int(reached.sum())) / (1 + len(rates)) if position == 2 and not result.reason else None,
            }
