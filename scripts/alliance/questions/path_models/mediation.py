"""Mediation over sessions, within and between clients: alliance, then adherence, then symptoms (claims J1, F6).

A chain of three measures is followed over the sessions of clients (1-1-1), or begins with a variable of clients (2-1-1). Slopes within
clients are the same for all, and beside it, in chains 1-1-1, they differ between clients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions import effects
from alliance.questions.alliance_outcome.levels import session_scores
from alliance.questions.contract import POOLED, WITH_NUMBERS
from alliance.questions.correlations import therapist_codes
from alliance.questions.part import Part
from alliance.questions.sentences import Sentence, pooling_sentence
from alliance.questions.site_data import SiteData
from alliance.questions.summary import SiteSummary
from alliance.variables.client import Measure, measure, session_order

NAME = "mediation"
ROLES = ("from", "through", "to")
KEYS = ["model", "effect", "level", "definition", "interval", "estimate_type"]
INDIRECT, MONTE_CARLO, RANDOM_EFFECTS = "indirect", "monte_carlo", "random_effects"
WITHIN, BETWEEN, SLOPES = "within", "between", "within_random_slopes"
COVARIANCE, DEVIATIONS = "ab_covariance", ("a_sd", "b_sd")
_COLUMNS = ("client", "session", *ROLES)


def estimate(site: SiteData, options: Mapping[str, Any]) -> Part:
    """Return one site's paths and effects of every chain, within and between clients.

    Parameters
    ----------
    site : SiteData
    options : mapping
        Configuration; section ``questions.path_models.mediation``.
    """
    part = Part()
    section = options["questions"]["path_models"][NAME]
    if section["enabled"]:
        sessions = Sessions(site, options)
        for chain in sorted(section["chains"]):
            _add_chain(part, sessions, chain, section["chains"][chain])
    return part


class Sessions:
    """What several chains need of a site, read once."""

    def __init__(self, site: SiteData, options: Mapping[str, Any]) -> None:
        self.site, self.options = site, options
        self._scores: dict[tuple[tuple[str, Any], ...], tuple[pd.DataFrame, Measure]] = {}

    def scores(self, definition: Mapping[str, Any]) -> tuple[pd.DataFrame, Measure]:
        """Return the scores of sessions of a measure, and what it is."""
        given = _given(definition)
        key = tuple(sorted(given.items()))
        if key not in self._scores:
            self._scores[key] = session_scores(self.site, given, self.options)
        return self._scores[key]

    @cached_property
    def dates(self) -> pd.Series:
        """The first date on which any score of a client's session was given, by client and session."""
        scores = self.site.scores
        rows = scores[scores["timepoint"].eq("session") & scores["session"].notna() & scores["date"].notna()]
        keys = [rows["client_no"].astype("int64"), rows["session"].astype("int64")]
        return pd.to_datetime(rows["date"]).groupby(keys).min()

    @cached_property
    def therapists(self) -> pd.Series | None:
        """The therapist of every client with scores; None where therapists are not known."""
        clients = pd.Index(np.unique(self.site.scores["client_no"].dropna().astype("int64")))
        codes, known = therapist_codes(clients, self.site.clients, self.site.scores)
        return pd.Series(codes, index=clients) if known else None


def chain_rows(sessions: Sessions, content: Mapping[str, Any]) -> tuple[pd.DataFrame, dict[str, Any], str]:
    """Return the sessions of clients that hold a whole chain, what is known of them, and why there are none.

    One row a client and session t: ``client, session, from, through, to``, each measure at its own session: the next link as many session
    numbers later as ``lags`` says, and ``given1``, ... of clients. Where the dates of two linked sessions are known and contradict their
    numbers, or a variable of clients was measured after session t, the row is left out and counted. Higher is better for symptoms.
    """
    series, facts = {}, {"sources": {}, "left_out_against_order": 0}
    if sessions.site.published is not None:
        return pd.DataFrame(columns=_COLUMNS), facts, f"needs {_what_it_needs(content)}; the site publishes correlations only"
    of_sessions = ROLES if content["kind"] == "1-1-1" else ROLES[1:]
    for role in of_sessions:
        scores, measured = sessions.scores(content[role])
        if measured.reason:
            return pd.DataFrame(columns=_COLUMNS), facts, f"{named(content[role])}: {measured.reason}"
        series[role], facts["sources"][role] = scores, measured.source
    shifts = dict(zip(of_sessions, np.cumsum([0, *content["lags"]]).tolist(), strict=True))
    frame = series[of_sessions[0]].rename(columns={"value": of_sessions[0]})
    for role in of_sessions[1:]:
        later = series[role].assign(session=series[role]["session"] - shifts[role]).rename(columns={"value": role})
        frame = frame.merge(later, on=["client", "session"], how="inner")
    contradicted = out_of_order(frame, list(shifts.values()), sessions.dates)
    given = _given_names(content)
    for name, definition in {**({} if "from" in series else {"from": content["from"]}), **dict(zip(given, content["given"]))}.items():
        measured = measure(sessions.site, _given(definition), sessions.options)
        if measured.reason:
            return pd.DataFrame(columns=[*_COLUMNS, *given]), facts, f"{named(definition)}: {measured.reason}"
        facts["sources"][name] = measured.source
        frame = frame.assign(**{name: frame["client"].map(measured.values)})
        contradicted = contradicted[frame[name].notna().to_numpy()]
        frame = frame[frame[name].notna()]
        last = frame["client"].map(measured.times["last_order"]) if len(measured.times) else pd.Series(np.nan, index=frame.index)
        contradicted |= (last >= session_order(frame["session"])).to_numpy(dtype=bool)
    facts["left_out_against_order"] = int(contradicted.sum())
    frame = frame[~contradicted].sort_values(["client", "session"]).reset_index(drop=True)
    return frame[[*_COLUMNS, *given]], facts, ""


def _given_names(content: Mapping[str, Any]) -> list[str]:
    return [f"given{position}" for position in range(1, len(content["given"]) + 1)]


def _given(definition: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in definition.items() if value is not None}


def named(definition: Mapping[str, Any]) -> str:
    """Return a variable of a chain in one word, with what sets it apart from the section of its construct."""
    apart = [str(definition[key]) for key in ("instrument", "scale", "rater", "window", "timepoint") if definition.get(key)]
    return str(definition["construct"]) + (f" ({', '.join(apart)})" if apart else "")


def out_of_order(frame: pd.DataFrame, shifts: Sequence[int], dates: pd.Series) -> np.ndarray:
    """Return which rows have linked sessions whose dates contradict their numbers."""
    contradicted = np.zeros(len(frame), dtype=bool)
    if frame.empty or dates.empty:
        return contradicted
    at = [
        dates.reindex(pd.MultiIndex.from_arrays([frame["client"], frame["session"] + shift])).to_numpy(dtype="datetime64[ns]")
        for shift in shifts
    ]
    for earlier, later in pairwise(at):
        contradicted |= ~(np.isnat(earlier) | np.isnat(later)) & (earlier > later)
    return contradicted


def _add_chain(part: Part, sessions: Sessions, chain: str, content: Mapping[str, Any]) -> None:
    from alliance.statistics.multilevel_mediation import multilevel_mediation
    from alliance.statistics.resampling import generator

    site, options = sessions.site, sessions.options
    section = options["questions"]["path_models"][NAME]
    minimum = options["pooling"]["min_clients"]
    frame, facts, reason = chain_rows(sessions, content)
    clients = pd.Index(np.sort(frame["client"].unique()), dtype="int64")
    if not reason and len(clients) < minimum:
        reason = f"needs at least {minimum} clients with {_what_it_needs(content)}; has {len(clients)}"
    counts: dict[str, Any] = {"n_clients": len(clients), "n_sessions": len(frame)}
    part.facts[chain] = facts
    if reason:
        _add_absent(part, _absent(chain, content, reason, counts, section))
        return
    known = sessions.therapists is not None
    therapists = frame["client"].map(sessions.therapists).to_numpy() if known else None
    held = frame[["session"]].to_numpy(dtype=float) if section["session_trend"] else None
    held = held if held is not None and np.ptp(held) > 0 else None
    found = multilevel_mediation(
        frame[list(ROLES)].to_numpy(dtype=float),
        frame["client"].to_numpy(),
        therapists,
        kind=content["kind"],
        held=held,
        given=frame[_given_names(content)].to_numpy(dtype=float),
        random=generator(options["seed"], "path_models", NAME, site.site, chain),
        draws=options["resampling"]["draws"],
        level=options["pooling"]["level"],
        names=[named(content[role]) for role in ROLES],
    )
    model = found.model
    if model.status == "not_estimable":
        _add_absent(part, _absent(chain, content, f"{_what_it_needs(content)}: {model.reason}", counts, section))
        return
    counts |= {"n_therapists": model.n_clusters if known else None, "share_missing": _share_missing(site, len(clients))}
    for one in found.effects:
        row = {**_identity(chain, content, one.level, one.effect, one.interval, one.standardised), **counts}
        if one.status == "not_estimable":
            # One row says it for all paths and effects of a level.
            if one.effect == INDIRECT and one.standardised and one.interval == MONTE_CARLO:
                part.add({**row, "status": one.status, "reason": f"not estimable: {one.reason}", "method": "none"})
            continue
        _add_effect(part, row, one, found.method, _concurrent(content, one.level, one.effect))
    if _slopes_differ(content, section):
        _add_slopes(part, site, chain, content, frame, therapists, held, options)


def _add_absent(part: Part, rows: Sequence[Mapping[str, Any]]) -> None:
    for row in rows:
        part.add(row)


def _share_missing(site: SiteData, clients: int) -> float | None:
    return 1 - clients / len(site.clients) if len(site.clients) >= max(clients, 1) else None


def _add_effect(part: Part, row: Mapping[str, Any], one: Any, method: str, concurrent: str) -> None:
    """Add an effect that has a number."""
    reasons = "; ".join(text for text in (one.reason, concurrent) if text)
    limits = {"ci_low": one.ci_low, "ci_high": one.ci_high} if np.isfinite(one.ci_low) and np.isfinite(one.ci_high) else {}
    numbers = {"estimate": one.estimate, "method": method, "status": "flagged" if reasons else "estimated", "reason": reasons}
    part.add({**row, **numbers, **limits}, one.std_error**2)


def _slopes_differ(content: Mapping[str, Any], section: Mapping[str, Any]) -> bool:
    return section["random_slopes"] and content["kind"] == "1-1-1"


def _add_slopes(
    part: Part,
    site: SiteData,
    chain: str,
    content: Mapping[str, Any],
    frame: pd.DataFrame,
    therapists: np.ndarray | None,
    held: np.ndarray | None,
    options: Mapping[str, Any],
) -> None:
    """Add the effects of a chain whose slopes differ between clients."""
    from alliance.statistics.random_slopes import random_slopes
    from alliance.statistics.resampling import generator

    found = random_slopes(
        frame[list(ROLES)].to_numpy(dtype=float),
        frame["client"].to_numpy(),
        therapists,
        held=held,
        random=generator(options["seed"], "path_models", NAME, site.site, chain, "random slopes"),
        draws=options["resampling"]["draws"],
        level=options["pooling"]["level"],
    )
    if found.status == "not_estimable":
        counts = {"n_clients": frame["client"].nunique(), "n_sessions": len(frame)}
        rows = _absent(chain, content, found.reason, counts, {"random_slopes": True})
        _add_absent(part, [row for row in rows if row["level"] == SLOPES])
        return
    counts = {
        "n_clients": found.n_clients,
        "n_sessions": found.n_sessions,
        "n_therapists": found.n_clusters if therapists is not None else None,
        "share_missing": _share_missing(site, found.n_clients),
    }
    for one in found.effects:
        row = {**_identity(chain, content, SLOPES, one.effect, one.interval, one.standardised), **counts}
        if one.status == "not_estimable":
            part.add({**row, "status": one.status, "reason": f"not estimable: {one.reason}", "method": "none"})
        else:
            _add_effect(part, row, one, found.method, _concurrent(content, SLOPES, one.effect))


def _what_it_needs(content: Mapping[str, Any]) -> str:
    """Return in words which sessions a chain can be seen in."""
    above = content["kind"] == "2-1-1"
    first, *others = (named(content[role]) for role in (ROLES[1:] if above else ROLES))
    words = [*([named(content["from"])] if above else []), f"{first} at a session"]
    for name, lag in zip(others, content["lags"], strict=True):
        words.append(f"{name} {'at the same session' if lag == 0 else 'one session later' if lag == 1 else f'{lag} sessions later'}")
    words = [*map(named, content["given"]), *words]
    return ", ".join(words[:-1]) + f" and {words[-1]}"


def _told(content: Mapping[str, Any], level: str, effect: str) -> str:
    """Return an effect in words: its variables and, within clients, their sessions."""
    if effect == COVARIANCE:
        return f"covariance over clients of a and b: {_told(content, WITHIN, 'a')} and {_told(content, WITHIN, 'b')}"
    if effect in DEVIATIONS:
        return f"standard deviation over clients of {effect[0]}: {_told(content, WITHIN, effect[0])}"
    names = [named(content[role]) for role in ROLES]
    if level != BETWEEN:
        shifts = np.cumsum([0, *content["lags"]])
        shifts = shifts if content["kind"] == "1-1-1" else np.r_[0, shifts]
        names = [f"{name} (t{f'+{shift}' if shift else ''})" for name, shift in zip(names, shifts, strict=True)]
        if content["kind"] == "2-1-1":
            names[0] = ""
    x, m, y = names
    held = {"a": [], "b": [x] if x else [], "direct": [m], "total": [], INDIRECT: []}[effect]
    held = held if level != BETWEEN else [*held, *map(named, content["given"])]
    given = f" given {', '.join(held)}" if held else ""
    ends = {"a": (x, m), "b": (m, y), "direct": (x, y), "total": (x, y), INDIRECT: (x, m, y)}[effect]
    which = {WITHIN: "", BETWEEN: "; clients' means over these sessions", SLOPES: "; mean over clients, whose slopes differ"}[level]
    return " -> ".join(ends) + given + which


def _concurrent(content: Mapping[str, Any], level: str, effect: str) -> str:
    """Return that a link within clients has no order in time, where it has none."""
    if level == BETWEEN:
        return ""
    lags = content["lags"] if content["kind"] == "1-1-1" else [1, *content["lags"]]
    links = {"a": [lags[0]], "b": [lags[1]], "direct": [sum(lags)], "total": [sum(lags)]}.get(effect.removesuffix("_sd"), lags)
    if all(links):
        return ""
    return "concurrent: rated in the same session, so that nothing shows which came first, and not causal"


def _identity(chain: str, content: Mapping[str, Any], level: str, effect: str, interval: str, standardised: bool) -> dict[str, Any]:
    form = "standardised" if standardised else "unstandardised"
    kind = "defined" if effect in (INDIRECT, "total", COVARIANCE) else "slope_sd" if effect in DEVIATIONS else "path"
    return {
        "chain": chain,
        "effect": effect,
        "level": level,
        "definition": _told(content, level, effect),
        "interval": interval,
        "estimate_type": f"{kind}_{form}",
        "parameter": ".".join((chain, level, effect, interval, form)),
    }


def _absent(
    chain: str, content: Mapping[str, Any], reason: str, counts: Mapping[str, Any], section: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return the headline of each level where nothing could be estimated."""
    said = {"status": "not_estimable", "reason": f"not estimable: {reason}", "method": "none", **counts}
    levels = (WITHIN, BETWEEN) if content["kind"] == "1-1-1" else (BETWEEN,)
    levels = (*levels, SLOPES) if _slopes_differ(content, section) else levels
    return [{**_identity(chain, content, level, INDIRECT, MONTE_CARLO, True), **said} for level in levels]


def pool(gathered: pd.DataFrame, summaries: Sequence[SiteSummary], options: Mapping[str, Any]) -> pd.DataFrame:
    """Return rows of table ``indirect``: those of the sites, and standardised paths and effects by random effects over sites.

    Parameters
    ----------
    gathered : DataFrame
        Estimates of this part, from :func:`alliance.questions.effects.gather`.
    summaries : sequence of SiteSummary
        All sites.
    options : mapping
        Configuration: ``pooling`` and ``questions.path_models``.
    """
    section, pooling = options["questions"]["path_models"][NAME], options["pooling"]
    if not section["enabled"]:
        return pd.DataFrame()
    rows = gathered.assign(model=gathered["chain"])
    without = rows["status"].eq("not_estimable")
    # Standard deviations of slopes are not pooled: those of zero have no error, and a mean of the others would be too large.
    kinds = ["path_standardised", "defined_standardised"]
    standard = rows[rows["estimate_type"].isin(kinds) & (rows["interval"].eq("delta") | without)]
    pooled = effects.pooled_rows(standard, [key for key in KEYS if key != "interval"], "identity", pooling)
    if len(pooled):
        pooled = pooled.assign(interval=RANDOM_EFFECTS)
    groups = pd.DataFrame(
        [
            {"model": row["chain"], **{key: row[key] for key in KEYS if key != "model"}}
            for chain, content in sorted(section["chains"].items())
            for row in _absent(chain, content, "", {}, section)
        ],
        columns=KEYS,
    )
    return effects.stack(
        effects.site_rows(rows, "identity", pooling["level"]), pooled, effects.absent_site_rows(summaries, groups, "identity")
    )


def methods(options: Mapping[str, Any], table: pd.DataFrame) -> list[Sentence]:
    """Return what was done in this run, with citation keys; ``table`` is ``indirect``."""
    section = options["questions"]["path_models"][NAME]
    if not section["enabled"]:
        return []
    found = table[table["model"].isin(list(section["chains"])) & table["level"].isin([WITHIN, BETWEEN, SLOPES])]
    found = found[found["status"].isin(WITH_NUMBERS)]
    if found.empty:
        return [Sentence("Mediation over sessions could not be estimated: no site has sessions that hold a whole chain.")]
    trend = ", the number of the session held constant" if section["session_trend"] else ""
    sentences = [
        Sentence(
            "Mediation over sessions rests on covariances within and between clients, estimated together by maximum likelihood from "
            f"sessions with all three measures{trend}; effects between clients are those of their true means, which have no order in time.",
            ("preacher_zyphur_zhang_2010",),
        ),
        Sentence("Effects of earlier symptoms on the later alliance are left to the cross-lagged models.", ()),
        *_slope_sentences(found, section),
    ]
    sites = found[found["site"].ne(POOLED)]
    if sites["method"].isin(["cluster_jackknife", "client_jackknife", "cluster_robust"]).any():
        sentences.append(
            Sentence(
                "Errors of paths come from leaving out each therapist in turn (clients where fewer than five are known); indirect effects "
                "have intervals by Monte Carlo draws of both paths from t distributions, and by the delta method.",
                ("mackinnon_2004",),
            )
        )
    concurrent = sites.loc[sites["reason"].str.contains("concurrent"), "model"]
    if len(concurrent):
        named = ", ".join(sorted(set(concurrent)))
        sentences.append(Sentence(f"Links within one session are flagged as concurrent and say nothing about causes ({named})."))
    if found["site"].eq(POOLED).any():
        sentences.append(pooling_sentence(options["pooling"], "Standardised effects of the chains were pooled"))
    return sentences


def _slope_sentences(found: pd.DataFrame, section: Mapping[str, Any]) -> list[Sentence]:
    """Return what was done about slopes that differ between clients; ``found`` are rows with a number."""
    of_sessions = found[found["level"].ne(BETWEEN) & found["effect"].eq(INDIRECT)]
    if of_sessions.empty:
        return []
    if not of_sessions["level"].eq(SLOPES).any():
        text = (
            "Slopes within clients are taken as equal over clients: where they vary together, the mean indirect effect also holds their "
            f"covariance, which is not estimated{'' if section['random_slopes'] else ' here (random_slopes: false)'}."
        )
        return [Sentence(text, ("kenny_korchmaros_bolger_2003",))]
    trend = ", of what the number of the session leaves" if section["session_trend"] else ""
    text = (
        "Effects within clients stand twice: with slopes that are the same for all clients, and with slopes that differ between them. For "
        f"the second, both equations were fitted as one model by restricted maximum likelihood to deviations from clients' means{trend}, "
        "with three slopes of any covariance and residual variances of their own; the indirect effect is then a b plus the covariance of a "
        "and b over clients. A covariance matrix of slopes at its boundary is flagged."
    )
    return [Sentence(text, ("bauer_preacher_gil_2006", "kenny_korchmaros_bolger_2003"))]
