"""How many clients and sessions have a rupture by each criterion, how deep and long ruptures are, and how many noise alone would give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions.outcome_contrasts import result_fields
from alliance.questions.ruptures_sample import REPAIRED, UNREPAIRED, Sample, Seen, settings
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


def _sums(rows: pd.DataFrame, columns: list[str]) -> tuple[pd.Index, np.ndarray]:
    """Return sums of columns over each client's rows."""
    summed = rows[columns].astype("float64").groupby(rows["client"].to_numpy()).sum()
    return summed.index, summed.to_numpy()


def _of_criterion(found: Sample, one: Seen, options: Mapping[str, Any]) -> Iterator[Row]:
    question, level = options["questions"]["ruptures"], options["pooling"]["level"]
    rows, everyone = one.sessions, len(found.clients)
    client_share = {"estimate_type": "share", "unit": CLIENTS}
    if one.reason:
        for name in (JUDGED, *OF_CLIENTS):
            yield absent({**_identity(one, name, "share", CLIENTS)}, one.reason)
        for name, unit in ((OF_SESSIONS, SESSIONS), (OF_RUPTURES, "ruptures"), (NOT_FOLLOWED, "ruptures")):
            yield absent(_identity(one, name, "share", unit), one.reason)
        for name in (DEPTH, LENGTH):
            of_ratings = "SD within clients" if one.rule in rules.RULES else "intensity"
            yield absent(_identity(one, name, "mean", of_ratings if name == DEPTH else SESSIONS), one.reason)
        return
    seen = rows[rows["rupture"]]
    judged = pd.Index(sorted(rows["client"].unique()))
    per_client = rows.groupby("client").size()
    yield {
        **_identity(one, JUDGED, **_named(client_share)),
        **share_of_clients(found.clients.isin(judged), found.therapists, level),
        "n_sessions": len(rows),
        "share_missing": 0.0,
    }
    early = question["early_until"]
    pattern = one.pattern(question["at_the_end"])
    sets: dict[str, tuple[pd.Index, np.ndarray]] = {
        OF_CLIENTS[0]: (judged, judged.isin(seen["client"])),
        OF_CLIENTS[1]: (pattern.index, pattern.eq(REPAIRED).to_numpy()),
        OF_CLIENTS[2]: (pattern.index, pattern.eq(UNREPAIRED).to_numpy()),
    }
    for name, chosen in ((OF_CLIENTS[3], rows["session"] <= early), (OF_CLIENTS[4], rows["session"] > early)):
        own = pd.Index(sorted(rows.loc[chosen, "client"].unique()))
        sets[name] = own, own.isin(seen.loc[chosen.reindex(seen.index), "client"])
    for name, (who, counted) in sets.items():
        identity = _identity(one, name, **_named(client_share))
        if one.rule == "v_shape" and name == OF_CLIENTS[2]:
            yield absent(identity, ONLY_REPAIRED)
            continue
        if not len(who):
            yield absent(identity, "needs clients who were judged in these sessions")
            continue
        yield {
            **identity,
            **share_of_clients(counted, found.codes(who), level),
            "n_sessions": int(per_client.reindex(who).sum()),
            "share_missing": 1 - len(who) / everyone if everyone else None,
        }
    missing = {"share_missing": 1 - len(judged) / everyone if everyone else None}
    who, sums = _sums(rows.assign(one=1.0), ["rupture", "one"])
    codes = found.codes(who)
    yield {
        **_identity(one, OF_SESSIONS, "share", SESSIONS),
        **ratio(sums, codes, "needs at least two clients"),
        "n_sessions": len(rows),
        **missing,
    }
    marked = rows.assign(
        repaired=rows["repaired"] & rows["rupture"],
        unseen=rows["rupture"] & ~rows["followed"],
        depth=np.where(rows["rupture"], rows["depth"].fillna(0.0), 0.0),
        deep=rows["rupture"] & rows["depth"].notna(),
        length=np.where(rows["rupture"], rows["length"], 0.0),
    )
    for name, column, of, kind, unit in (
        (OF_RUPTURES, "repaired", "rupture", "share", "ruptures"),
        (NOT_FOLLOWED, "unseen", "rupture", "share", "ruptures"),
        (DEPTH, "depth", "deep", "mean", one.unit),
        (LENGTH, "length", "rupture", "mean", SESSIONS),
    ):
        identity = _identity(one, name, kind, unit)
        if one.rule == "v_shape" and name in (OF_RUPTURES, NOT_FOLLOWED):
            yield absent(identity, ONLY_REPAIRED)
            continue
        with_one, sums = _sums(marked[marked["rupture"]], [column, of])
        yield {
            **identity,
            **ratio(sums, found.codes(with_one), f"needs ruptures of at least two clients; has those of {len(with_one)}"),
            "n_sessions": len(seen),
            **missing,
        }


def _named(fields: Mapping[str, str]) -> dict[str, str]:
    return {"kind": fields["estimate_type"], "unit": fields["unit"]}


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
            rows += _beside_noise(found, one, identities, counts, judged, eligible)
    return rows


def _base_identity(one: Seen, kind: str, unit: str) -> Row:
    return {"criterion": one.name, "rule": one.rule, "rated_by": one.rater, "surrogates": kind, "unit": unit}


def _beside_noise(
    found: Sample, one: Seen, identities: list[Row], counts: np.ndarray, judged: np.ndarray, eligible: np.ndarray
) -> Iterator[Row]:
    own = one.sessions.assign(one=1.0)
    summed = own[["rupture", "one"]].astype("float64").groupby(own["client"]).sum().reindex(found.series.clients).fillna(0.0)
    observed, sessions = summed["rupture"].to_numpy(), summed["one"].to_numpy()
    of_units = {
        CLIENTS: (observed > 0, sessions > 0, (counts > 0) & eligible, eligible),
        SESSIONS: (observed, sessions, counts, judged),
    }
    for place, unit in enumerate(of_units):
        seen, could, by_noise, noise_could = (np.asarray(part, dtype=float) for part in of_units[unit])
        sums = np.column_stack([seen, could, by_noise.mean(axis=0), noise_could.mean(axis=0)])
        used = (sums[:, 1] > 0) | (sums[:, 3] > 0)
        codes = found.codes(found.series.clients[used])

        def shares(stack: np.ndarray) -> np.ndarray:
            first, second = stack[:, 0] / stack[:, 1], stack[:, 2] / stack[:, 3]
            return np.stack([first, second, first - second], axis=-1)

        result = jackknife(sums[used], shares, 3, codes, min_rows=2)
        fields = result_fields(result, codes is not None)
        rates = by_noise.sum(axis=1) / np.maximum(noise_could.sum(axis=1), 1)
        reached = rates >= seen.sum() / max(could.sum(), 1) - 1e-12
        for position, identity in enumerate(identities[3 * place : 3 * place + 3]):
            yield {
                **identity,
                **fields,
                "n_sessions": int(sessions.sum()),
                "share_missing": 1 - result.n / len(found.clients),
                "estimate": result.estimate[position],
                "variance": result.vcov[position, position],
                "p_noise": (1 + int(reached.sum())) / (1 + len(rates)) if position == 2 and not result.reason else None,
            }
