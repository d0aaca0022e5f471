"""What follows a challenge, and what repairs a rupture: shares, transition odds and multilevel logit models (claims G7, H6)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions import effects
from alliance.questions.contract import POOLED, WITH_NUMBERS
from alliance.questions.interventions.events import at_events, ruptures_of, with_same_rater
from alliance.questions.interventions.sessions import KEYS as OF_SESSION
from alliance.questions.interventions.sessions import QUESTION, CodedSessions, counts, enough
from alliance.questions.part import Part
from alliance.questions.sentences import Sentence, pooling_sentence
from alliance.questions.site_data import SiteData
from alliance.questions.summary import SiteSummary

NAME = "transitions"
AFTER, REPAIR = "after_event", "repair"
LOW, HIGH, DIFFERENCE, GROUP_WITHIN, GROUP_BETWEEN = "low", "high", "high - low", "within clients", "between clients"
COUNTED, MULTILEVEL = "counted", "multilevel"
SHARE, ODDS, RATIO, SPREAD = "share", "transition_odds", "odds_ratio", "random_effect_sd"
KEYS = ["topic", "after", "response", "group", "model", "alliance_rater"]
POOL_KEYS = [*KEYS, "estimate_type"]
SCALES = {SHARE: "logit", ODDS: effects.RATIO, RATIO: effects.RATIO}
NOT_POOLED = SPREAD
AGAINST = " against "
ONE_STAGE = "logit_one_stage"


@dataclass(frozen=True)
class Trials:
    """Occasions on which a response could follow, one row a session.

    Attributes
    ----------
    rows : DataFrame
        ``client, session, trials, successes``; groups 0 and 1 in ``group`` and predictors in ``within``, ``between``.
    groups : tuple of str
        Names of the groups, that of 0 first.
    predictors : dict of str to list
        Columns of each multilevel model, and the row's ``group`` for each.
    reason : str
        Why there are none.
    """

    rows: pd.DataFrame
    groups: tuple[str, str]
    predictors: dict[tuple[str, ...], tuple[str, ...]]
    reason: str


_BY_GROUP = {("group",): (DIFFERENCE,), ("within", "between"): (GROUP_WITHIN, GROUP_BETWEEN)}


def estimate(coded: CodedSessions) -> Part:
    """Return one site's estimates of table ``transitions``."""
    part = Part()
    for rater in coded.section["raters"]:
        for keys, trials in every_trials(coded, rater):
            _add_counted(part, coded, keys, trials)
            _add_multilevel(part, coded, keys, trials)
    return part


def every_trials(coded: CodedSessions, rater: str) -> list[tuple[dict[str, Any], Trials]]:
    """Return the occasions of every transition of the configuration, with the keys of its rows."""
    section = coded.section["transitions"]
    found = []
    if section["after"]:
        same = coded.same_rater(section["after"], rater)
        names = [(name, "") for name in section["responses"]]
        names += [(section["responses"][0], section["responses"][1])] if len(section["responses"]) > 1 else []
        for response, against in names:
            told = response + (AGAINST + against if against else "")
            keys = {"topic": AFTER, "after": section["after"], "response": told, "alliance_rater": rater, "same_rater": same}
            found.append((keys, responses(coded, rater, response, against)))
    contrast = coded.section["ruptures"]["contrast"]
    if contrast:
        keys = {"topic": REPAIR, "after": "rupture", "response": "repaired", "alliance_rater": rater}
        found.append(({**keys, "same_rater": coded.same_rater(contrast[0], rater)}, repairs(coded, rater)))
    return found


def responses(coded: CodedSessions, rater: str, response: str, against: str) -> Trials:
    """Return the occasions after events of a kind, and how often a response followed in the same session.

    Groups are clients whose alliance in the sessions before lies below and above the site's median; ``within`` is the alliance of the
    session before minus that mean, ``between`` the mean, both in SD of the sessions before. So nothing that comes after the event enters.
    """
    after = coded.section["transitions"]["after"]
    groups = (LOW, HIGH)
    empty = pd.DataFrame(columns=[*OF_SESSION, "trials", "successes", "group", "within", "between"])
    alliance, reason = coded.alliance(rater)
    frames = [coded.event(name, "count") for name in (after, response, *([against] if against else []))]
    reason = reason or next((told for _, told in frames if told), "")
    if reason:
        return Trials(empty, groups, _BY_GROUP, reason)
    frame = frames[0][0].rename(columns={"event": "trials"})
    for name, (one, _) in zip(("successes", "failures"), frames[1:], strict=False):
        frame = frame.merge(one.rename(columns={"event": name}), on=OF_SESSION, how="left")
    frame = frame.fillna({"successes": 0.0, "failures": 0.0})
    if against:
        frame = frame.assign(trials=frame["successes"] + frame["failures"])
    frame = frame.assign(successes=np.minimum(frame["successes"], frame["trials"]))
    frame = frame[frame["trials"] > 0].merge(_before(alliance), on=OF_SESSION, how="inner")
    if frame.empty:
        return Trials(empty, groups, _BY_GROUP, f"needs sessions with {after} and ratings of the alliance in sessions before")
    level = frame.groupby("client")["between"].mean()
    frame = frame.assign(group=(frame["between"] > level.median()).astype(float))
    for name in ("within", "between"):
        spread = float(frame[name].std())
        frame[name] = (frame[name] - (frame[name].mean() if name == "between" else 0.0)) / spread if spread > 0 else 0.0
    return Trials(frame[list(empty.columns)].sort_values(OF_SESSION, ignore_index=True), groups, _BY_GROUP, "")


def _before(alliance: pd.DataFrame) -> pd.DataFrame:
    """Return of every session the client's mean alliance in the sessions before, and how far the last of them differed from it."""
    rows = alliance.sort_values(OF_SESSION, ignore_index=True)
    grouped = rows.groupby("client")["alliance"]
    place = grouped.cumcount()
    mean = (grouped.cumsum() - rows["alliance"]) / place.where(place > 0)
    frame = rows[OF_SESSION].assign(between=mean, within=grouped.shift(1) - mean)
    return frame.dropna(subset=["between"])


def repairs(coded: CodedSessions, rater: str) -> Trials:
    """Return the sessions in which a rupture could be repaired, and whether the alliance was regained, by what was interpreted.

    Groups are sessions with the second kind of event of ``ruptures.contrast`` only, and with the first.
    """
    first, second = coded.section["ruptures"]["contrast"]
    groups = (second, first)
    predictors = {("group",): (f"{first} - {second}",)}
    empty = pd.DataFrame(columns=[*OF_SESSION, "trials", "successes", "group"])
    windows, reason = ruptures_of(coded, rater)
    frames = [coded.event(name, "count") for name in (first, second)]
    reason = reason or next((told for _, told in frames if told), "")
    if reason:
        return Trials(empty, groups, predictors, reason)
    frame = at_events(windows, coded)[[*OF_SESSION, "repaired"]]
    for name, (one, _) in zip(("first", "second"), frames, strict=True):
        frame = frame.merge(one.rename(columns={"event": name}), on=OF_SESSION, how="inner")
    frame = frame[(frame["first"] > 0) | (frame["second"] > 0)]
    if frame.empty:
        return Trials(empty, groups, predictors, f"needs coded sessions in ruptures with {first} or {second}")
    made = frame.assign(trials=1.0, successes=frame["repaired"].astype(float), group=(frame["first"] > 0).astype(float))
    return Trials(made[list(empty.columns)].sort_values(OF_SESSION, ignore_index=True), groups, predictors, "")


def _row(keys: Mapping[str, Any], group: str, model: str, kind: str) -> dict[str, Any]:
    return {**dict.fromkeys(KEYS, ""), **keys, "group": group, "model": model, "estimate_type": kind, "level": "client"}


def _add(part: Part, row: Mapping[str, Any], variance: float = float("nan")) -> None:
    part.add({**row, "parameter": "; ".join(str(row[key]) for key in POOL_KEYS if row[key]), "transition_model": row["model"]}, variance)


def _missing(part: Part, rows: Sequence[Mapping[str, Any]], reason: str) -> None:
    for row in rows:
        _add(part, {**row, "method": "none", "status": "not_estimable", "reason": f"not estimable: {reason}"})


def _difference(trials: Trials) -> str:
    return trials.predictors[("group",)][0]


def _add_counted(part: Part, coded: CodedSessions, keys: Mapping[str, Any], trials: Trials) -> None:
    """Add share and odds of both groups, and the ratio of odds as if clients were alike, with errors that leave out therapists."""
    from alliance.statistics.covariance import cluster_codes, cluster_sums
    from alliance.statistics.jackknife import jackknife

    rows = [_row(keys, group, COUNTED, kind) for group in trials.groups for kind in (SHARE, ODDS)]
    rows.append(_row(keys, _difference(trials), COUNTED, RATIO))
    frame = trials.rows
    told = trials.reason or enough(frame, 1, coded.min_clients, f"sessions with {keys['after']} coded")
    fields = {**counts(frame, coded.therapists), "n_events": int(frame["trials"].sum()) if len(frame) else 0}
    if not told and frame["group"].nunique() < 2:
        told = "needs both groups"
    if told:
        _missing(part, [{**row, **fields} for row in rows], told)
        return
    group = frame["group"].to_numpy(dtype=float)
    trial, success = (frame[name].to_numpy(dtype=float) for name in ("trials", "successes"))
    codes, count = cluster_codes(frame["client"].to_numpy())
    data = np.column_stack([(1 - group) * success, (1 - group) * trial, group * success, group * trial])
    sums = cluster_sums(data, codes, count)
    therapists = coded.therapist_of(np.unique(frame["client"]))

    def logits(total: np.ndarray) -> np.ndarray:
        low = np.log(total[:, 0] / (total[:, 1] - total[:, 0]))
        high = np.log(total[:, 2] / (total[:, 3] - total[:, 2]))
        return np.column_stack([low, high, high - low])

    found = jackknife(sums, logits, 3, therapists, min_rows=coded.min_clients)
    if found.reason:
        _missing(
            part, [{**row, **fields} for row in rows], "needs occasions with and without the response in both groups, also without one"
        )
        return
    low, high = found.interval(coded.level)
    how = {"method": found.method, "status": "flagged" if found.caution else "estimated", "reason": found.caution}
    for place, row in zip((0, 0, 1, 1, 2), rows, strict=True):
        value, ends, variance = found.estimate[place], (low[place], high[place]), found.vcov[place, place]
        if row["estimate_type"] == SHARE:
            share = 1 / (1 + np.exp(-value))
            numbers = {"estimate": share, "ci_low": 1 / (1 + np.exp(-ends[0])), "ci_high": 1 / (1 + np.exp(-ends[1]))}
            variance = variance * (share * (1 - share)) ** 2
        else:
            numbers = {"estimate": np.exp(value), "ci_low": np.exp(ends[0]), "ci_high": np.exp(ends[1])}
            variance = variance * np.exp(value) ** 2
        events = fields
        if row["group"] in trials.groups:
            mine = frame[frame["group"].eq(trials.groups.index(row["group"]))]
            events = {**counts(mine, coded.therapists), "n_events": int(mine["trials"].sum())}
            if events["n_clients"] < coded.min_clients:
                withheld = {"method": "none", "status": "withheld", "reason": f"fewer than {coded.min_clients} clients in this group"}
                _add(part, {**row, **dict.fromkeys(events), **withheld})
                continue
        _add(part, {**row, **events, **{name: float(one) for name, one in numbers.items()}, **how}, float(variance))


def _binary(frame: pd.DataFrame, columns: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return outcome, design, weight and position of the row: every session twice, with its successes and without."""
    success, failure = frame["successes"].to_numpy(dtype=float), (frame["trials"] - frame["successes"]).to_numpy(dtype=float)
    weight = np.concatenate([success, failure])
    place = np.concatenate([np.arange(len(frame))] * 2)
    outcome = np.repeat([1.0, 0.0], len(frame))
    kept = weight > 0
    design = frame[list(columns)].to_numpy(dtype=float)[place]
    return outcome[kept], design[kept], weight[kept], place[kept]


def logit_rows(
    keys: Mapping[str, Any], trials: Trials, refuse: float, low: float, level: float, sites: np.ndarray | None = None
) -> list[tuple[dict[str, Any], float]]:
    """Return rows of the logit models with a random intercept of clients, with variances; with ``sites`` each has an intercept.

    Parameters
    ----------
    keys : mapping
        Keys of the rows.
    trials : Trials
    refuse, low : float
        Responses (or their absence, whichever is rarer) for every coefficient below which nothing is fitted, and below which it is flagged.
    level : float
    sites : ndarray, shape (rows,), optional
        Site of every row.
    """
    from alliance.statistics.discrete_time_hazard import hazard_model

    found = []
    frame = trials.rows
    method = "logit_random_clients" if sites is None else ONE_STAGE
    for columns, groups in trials.predictors.items():
        rows = [_row(keys, group, MULTILEVEL, RATIO) for group in groups]
        if columns == ("group",):
            rows.append(_row(keys, "SD between clients (log odds)", MULTILEVEL, SPREAD))
        rare = float(min(frame["successes"].sum(), (frame["trials"] - frame["successes"]).sum()))
        reason = ""
        if rare < refuse * len(columns):
            reason = f"needs at least {refuse * len(columns):g} responses, and as many occasions without one; has {rare:g}"
        model = None
        if not reason:
            outcome, design, weight, place = _binary(frame, columns)
            clients = frame["client"].to_numpy()[place]
            strata = None if sites is None else sites[place]
            model = hazard_model(outcome, design, columns, clients, strata, link="logit", weights=weight, level=level, interval=False)
            reason = "" if model.status == "estimated" else model.reason
        if reason or model is None:
            absent = {"method": "none", "status": "not_estimable", "reason": f"not estimable: {reason}"}
            found += [({**row, **absent}, float("nan")) for row in rows]
            continue
        notes = (
            f"few responses: {rare / len(columns):.1f} for each coefficient (convention: at least {low:g})"
            if rare < low * len(columns)
            else ""
        )
        how = {"method": method, "status": "flagged" if notes else "estimated", "reason": notes}
        for place, row in enumerate(rows[: len(columns)]):
            one = model.coefficients.iloc[place]
            ratio = float(np.exp(one["estimate"]))
            numbers = {"estimate": ratio, "ci_low": float(np.exp(one["ci_low"])), "ci_high": float(np.exp(one["ci_high"]))}
            found.append(({**row, **numbers, **how}, float(one["std_error"]) ** 2 * ratio**2))
        if len(rows) > len(columns):
            told = "; ".join(text for text in (notes, "no interval: a standard deviation near zero has none by z") if text)
            found.append(({**rows[-1], "estimate": float(model.frailty_sd or 0.0), **how, "reason": told}, float("nan")))
    return found


def _add_multilevel(part: Part, coded: CodedSessions, keys: Mapping[str, Any], trials: Trials) -> None:
    frame, section = trials.rows, coded.section["transitions"]
    fields = {**counts(frame, coded.therapists), "n_events": int(frame["trials"].sum()) if len(frame) else 0}
    told = trials.reason or enough(frame, 1, coded.min_clients, f"sessions with {keys['after']} coded")
    if told:
        rows = [_row(keys, group, MULTILEVEL, RATIO) for groups in trials.predictors.values() for group in groups]
        _missing(part, [{**row, **fields} for row in rows], told)
        return
    for row, variance in logit_rows(keys, trials, section["refuse"], section["low"], coded.level):
        _add(part, {**row, **fields}, variance)


def one_stage(sites: Iterable[SiteData], every_site: Sequence[str], options: Mapping[str, Any]) -> pd.DataFrame:
    """Return the logit models over the rows of all sites that share them, each site with an intercept of its own.

    Groups and parts of the alliance are those of each site. ``every_site`` names all sites; those without rows are told.
    """
    gathered: dict[tuple[str, ...], list[tuple[str, dict[str, Any], Trials, int]]] = {}
    shared = []
    for site in sites:
        shared.append(site.site)
        coded = CodedSessions(site, options)
        for rater in coded.section["raters"]:
            for keys, trials in every_trials(coded, rater):
                therapists = counts(trials.rows, coded.therapists)["n_therapists"] or 0
                name = tuple(keys[key] for key in ("topic", "after", "response", "alliance_rater"))
                gathered.setdefault(name, []).append((site.site, keys, trials, therapists))
    section, pooling = options["questions"][QUESTION]["transitions"], options["pooling"]
    absent = sorted(set(every_site) - set(shared))
    rows = []
    for _, found in sorted(gathered.items()):
        usable = [one for one in sorted(found, key=lambda one: one[0]) if not one[2].reason and len(one[2].rows)]
        if len(usable) < pooling["min_sites"]:
            continue
        frames = [one[2].rows.assign(site=one[0], client=one[0] + " " + one[2].rows["client"].astype(str)) for one in usable]
        whole = pd.concat(frames, ignore_index=True)
        first = usable[0]
        same = sorted({one[1]["same_rater"] for one in usable})
        keys = {**first[1], "same_rater": same[0] if len(same) == 1 else "mixed"}
        trials = Trials(whole, first[2].groups, first[2].predictors, "")
        numbers = {
            "n_clients": int(whole["client"].nunique()),
            "n_sessions": len(whole),
            "n_therapists": sum(one[3] for one in usable) or None,
            "n_sites": len(usable),
            "n_events": int(whole["trials"].sum()),
            "site": POOLED,
        }
        note = f"sites that share no rows are not in it: {', '.join(absent)}" if absent else ""
        for row, variance in logit_rows(keys, trials, section["refuse"], section["low"], pooling["level"], whole["site"].to_numpy()):
            ratio = row["estimate_type"] == RATIO
            if row["status"] == "not_estimable":
                row = {**row, "method": ONE_STAGE}
            elif note:
                row = {**row, "status": "flagged", "reason": "; ".join(text for text in (row["reason"], note) if text)}
            error = np.sqrt(variance) / row["estimate"] if ratio and np.isfinite(variance) else np.nan
            rows.append({**row, **numbers, "std_error": error, "scale": effects.LABELS[effects.RATIO] if ratio else "identity"})
    return pd.DataFrame(rows)


def pool(
    gathered: pd.DataFrame, summaries: Sequence[SiteSummary], options: Mapping[str, Any], one_stage: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Return the table: rows of the sites, pooled ones, and the models over the rows of all sites beside them."""
    pooling = options["pooling"]
    # `model` of a site's summary names the table; that of the row travels beside it.
    own = gathered.assign(model=gathered["transition_model"]) if len(gathered) else gathered.assign(transition_model="")
    scale_of = own["estimate_type"].map(SCALES).fillna("identity")
    sites, pooled = [], []
    for scale, part in own.groupby(scale_of, sort=True):
        numbered = effects.scaled(part.reset_index(drop=True), scale)
        sites.append(effects.site_rows(numbered, scale, pooling["level"]))
        averaged = numbered[numbered["estimate_type"].ne(NOT_POOLED)]
        together = with_same_rater(effects.pooled_rows(averaged, POOL_KEYS, scale, pooling), part, POOL_KEYS)
        pooled.append(_with_events(together, numbered))
    absent = effects.absent_site_rows(summaries, _keys(options), effects.RATIO)
    beside = pd.DataFrame() if one_stage is None else _read(one_stage)
    return effects.stack(*sites, *pooled, beside, absent)


def _read(one_stage: pd.DataFrame) -> pd.DataFrame:
    """Return what was fitted over the rows of all sites, with empty text where there is none."""
    if one_stage.empty:
        return one_stage
    text = [name for name in (*KEYS, "same_rater", "reason", "status", "method", "scale") if name in one_stage]
    return one_stage.assign(**{name: one_stage[name].astype(object).where(one_stage[name].notna(), "") for name in text})


def _with_events(pooled: pd.DataFrame, numbered: pd.DataFrame) -> pd.DataFrame:
    """Return pooled rows with the occasions of the sites behind them."""
    if pooled.empty:
        return pooled
    used = numbered[numbered["y"].notna() & numbered["v"].notna()]
    counted = used.assign(n_events=used["n_events"].astype("float64")).groupby(POOL_KEYS)["n_events"].sum(min_count=1)
    return pooled.assign(n_events=counted.reindex(pd.MultiIndex.from_frame(pooled[POOL_KEYS])).to_numpy())


def _keys(options: Mapping[str, Any]) -> pd.DataFrame:
    section = options["questions"][QUESTION]
    rows = [
        _row({"topic": AFTER, "after": section["transitions"]["after"], "response": one, "alliance_rater": section["raters"][0]}, *kind)
        for one in section["transitions"]["responses"][:1]
        for kind in ((DIFFERENCE, MULTILEVEL, RATIO),)
    ]
    return pd.DataFrame(rows, columns=POOL_KEYS)


def methods(options: Mapping[str, Any], table: pd.DataFrame) -> list[Sentence]:
    """Return what was done in this run, with citation keys."""
    found = table[table["status"].isin(WITH_NUMBERS)]
    if found.empty:
        return []
    sentences = [
        Sentence(
            "Whether a response follows was counted among all occasions; clients were grouped by their mean alliance "
            "in the sessions before, "
            "at the site's median. Beside shares and odds stand logit models with a normal random intercept of clients (adaptive "
            "quadrature), at each site and over the rows of all sites that share them with an intercept for every site; their odds ratios "
            "are those of one client, the counted ones those of groups. Errors of counts leave out each therapist, "
            "those of the models take "
            "therapists as alike.",
            ("pinheiro_bates_1995",),
        )
    ]
    if (found["site"].eq(POOLED) & found["method"].ne(ONE_STAGE)).any():
        sentences.append(pooling_sentence(options["pooling"], "Shares were pooled as logits, odds and odds ratios as logarithms,"))
    return sentences
