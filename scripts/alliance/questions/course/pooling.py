"""Tables of the question on the course of the alliance from what sites send."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions import effects
from alliance.questions.contract import POOLED, WITH_NUMBERS
from alliance.questions.course import growth, series
from alliance.questions.course.sample import SMALLEST_CELL, Course
from alliance.questions.sentences import Sentence, cluster_sentences, pooling_sentence
from alliance.questions.summary import SiteSummary
from alliance.statistics.distributions import chi_squared_p
from alliance.statistics.equivalence import equivalence
from alliance.statistics.peaks import exchangeability
from alliance.statistics.resampling import generator

KEYS = {
    "growth": ["alliance_rater", "growth_model", "term", "session", "same_rater", "estimate_type"],
    "peak": ["alliance_rater", "statistic", "session", "estimate_type"],
    "variability": ["alliance_rater", "statistic", "sessions", "same_rater", "estimate_type"],
    "cycles": ["alliance_rater", "surrogates", "statistic", "estimate_type"],
}
NAMING = {name: [key for key in keys if key != "same_rater"] for name, keys in KEYS.items()}
"""What names a row of a site's summary."""
_SCALES = {"standard_deviation": effects.RATIO, "reliability_between": effects.COMPLEMENT}
_ALONE = {"growth": growth.NOT_POOLED, "peak": ("p_value",), "cycles": ("synchrony",)}
"""Kinds of estimates that are pooled by another way than by their standard errors."""
_FROM_ROWS = "needs the rows of several sites in one model of sessions; sites that send summaries share none"


def sums_of(rater: str) -> str:
    """Return the key of a rater's sums in a site's facts; a bare name of a person would be taken for rows by the check of summaries."""
    return f"rated_by_{rater}"


def nobody(rater: str) -> Course:
    """Return a course without clients, from which every row that a site could have follows."""
    rows = pd.DataFrame({"client": [], "session": [], "score": [], "time": []})
    return Course("", rater, rows, np.empty(0, dtype=int), None, np.empty(0), np.empty(0), "no clients", "no clients")


def tables_of(
    gathered: pd.DataFrame,
    summaries: Sequence[SiteSummary],
    named: Mapping[str, pd.DataFrame],
    options: Mapping[str, Any],
    one_stage: pd.DataFrame,
) -> dict[str, pd.DataFrame]:
    """Return the four tables, not yet in their final form.

    Parameters
    ----------
    gathered : DataFrame
        From :func:`alliance.questions.effects.gather`.
    summaries : sequence of SiteSummary
    named : mapping of str to DataFrame
        Every row that a site could have, by table.
    options : mapping
    one_stage : DataFrame
        Growth models over the rows of all sites.
    """
    found = {}
    for name, keys in KEYS.items():
        chosen = gathered[gathered["model"].eq(name)] if len(gathered) else gathered
        groups = named[name].reindex(columns=keys).fillna("")
        found[name] = _rows(chosen, keys, groups, summaries, options, _ALONE.get(name, ()))
    usable = [one for one in summaries if one.status == "ok"]
    found["growth"] = _growth(found["growth"], usable, one_stage, options)
    found["peak"] = _peaks(found["peak"], usable, options)
    found["cycles"] = _cycles(found["cycles"], options)
    return {
        name: frame.assign(session=pd.to_numeric(frame["session"], errors="coerce")) if "session" in frame else frame
        for name, frame in found.items()
    }


def _rows(
    chosen: pd.DataFrame,
    keys: Sequence[str],
    groups: pd.DataFrame,
    summaries: Sequence[SiteSummary],
    options: Mapping[str, Any],
    pooled_otherwise: Sequence[str],
) -> pd.DataFrame:
    """Return rows of the sites, those of sites without an answer, and pooled rows, each kind of estimate on its scale."""
    pooling, frames = options["pooling"], []
    if len(chosen):
        alone = chosen["estimate_type"].isin(pooled_otherwise)
        scales = _SCALES | {"partial_correlation": effects.pooling_scale(pooling), "share": "logit"}
        scale_of = chosen["estimate_type"].map(scales).fillna("identity").mask(alone, "identity")
        for scale, part in chosen.groupby(scale_of, sort=True):
            numbered = effects.scaled(part, scale)
            frames += [
                effects.site_rows(numbered, scale, pooling["level"]),
                effects.pooled_rows(numbered[~alone[part.index]], list(keys), scale, pooling),
            ]
    return effects.stack(*frames, effects.absent_site_rows(summaries, groups, "identity"))


def _expected(frame: pd.DataFrame, values: Mapping[str, float]) -> pd.DataFrame:
    """Return rows with what would be expected by chance alone."""
    if frame.empty:
        return frame
    return frame.assign(expected=frame["statistic"].map(values).where(frame["status"].isin(WITH_NUMBERS)))


def _growth(frame: pd.DataFrame, usable: Sequence[SiteSummary], one_stage: pd.DataFrame, options: Mapping[str, Any]) -> pd.DataFrame:
    """Return the growth table with curves from sums, the knot of all sites, models of all rows, and tests of being too small to matter."""
    if frame.empty:
        return frame
    text = dict.fromkeys(KEYS["growth"], "")
    together = (
        one_stage.reindex(columns=[*one_stage, *(name for name in text if name not in one_stage)]).fillna(text)
        if len(one_stage)
        else one_stage
    )
    raters = list(dict.fromkeys(frame["alliance_rater"]))
    sums = {rater: [(one.site, one.facts.get("sums", {}).get(sums_of(rater), {}), one.n) for one in usable] for rater in raters}
    frames = [frame, together]
    for rater in raters:
        frames += [_spread(rater, sums[rater], options), _knot(rater, frame, sums[rater], options)]
        for (model, term), kind in growth.TYPES.items():
            if kind in ("random_effect_sd", "share") and not _has(together, rater, model, term):
                keys = growth.keys(rater, model, term, options) | {"estimate_type": kind}
                frames.append(pd.DataFrame([keys | _lacking(_FROM_ROWS)]))
    return _with_tests(effects.stack(*frames), options)


def _has(frame: pd.DataFrame, rater: str, model: str, term: str) -> bool:
    if frame.empty:
        return False
    return bool((frame["alliance_rater"].eq(rater) & frame["growth_model"].eq(model) & frame["term"].eq(term)).any())


def _lacking(reason: str, k: int = 0) -> dict[str, Any]:
    return {
        "site": POOLED,
        "status": "not_estimable",
        "reason": f"not estimable: {reason}",
        "scale": "identity",
        "method": "none",
        "n_sites": k,
    }


def _spread(rater: str, sums: Sequence[tuple[str, Mapping[str, Any], Any]], options: Mapping[str, Any]) -> pd.DataFrame:
    """Return the SD of clients within sites at each session, from sums of squares of the sites with ten or more clients there."""
    rows = []
    for session in range(1, options["questions"]["course"]["curve_sessions"] + 1):
        own = [facts["curve"][str(session)] for _, facts, _ in sums if str(session) in facts.get("curve", {})]
        keys = growth.keys(rater, growth.CURVE, growth.SPREAD, options, str(session)) | {"estimate_type": "standard_deviation"}
        if len(own) < options["pooling"]["min_sites"]:
            rows.append(
                keys
                | _lacking(f"needs at least {options['pooling']['min_sites']} sites with {SMALLEST_CELL} clients at this session", len(own))
            )
            continue
        n = sum(one["n"] for one in own)
        estimate = float(np.sqrt(sum(one["squares"] for one in own) / (n - len(own))))
        told = {"site": POOLED, "estimate": estimate, "status": "estimated", "reason": "", "scale": "identity", "method": "pooled_sums"}
        rows.append(keys | told | {"n_clients": n, "n_sessions": n, "n_sites": len(own)})
    return pd.DataFrame(rows)


def _knot(rater: str, frame: pd.DataFrame, sums: Sequence[tuple[str, Mapping[str, Any], Any]], options: Mapping[str, Any]) -> pd.DataFrame:
    """Return the knot that all sites have in common: likelihoods of independent sites add up."""
    keys = growth.keys(rater, growth.PIECEWISE, growth.KNOT, options) | {"estimate_type": growth.TYPES[growth.PIECEWISE, growth.KNOT]}
    minimum = options["pooling"]["min_sites"]
    own = {site: facts["knots"] for site, facts, _ in sums if facts.get("knots")}
    if len(own) < minimum:
        return pd.DataFrame([keys | _lacking(f"needs at least {minimum} sites with an estimate; has {len(own)}", len(own))])
    fields = growth.knot_fields(growth.knots(options), np.sum(list(own.values()), axis=0), options["pooling"]["level"])
    of_sites = frame[frame["site"].isin(own) & frame["alliance_rater"].eq(rater) & frame["term"].eq(growth.KNOT)]
    counts = {name: _total(of_sites[name]) for name in ("n_sessions", "n_clients", "n_therapists")}
    return pd.DataFrame([keys | {"site": POOLED, "scale": "identity", "n_sites": len(own)} | counts | fields])


def _total(values: pd.Series) -> float | None:
    return None if values.isna().any() else float(values.astype(float).sum())


def _with_tests(frame: pd.DataFrame, options: Mapping[str, Any]) -> pd.DataFrame:
    """Return rows with the test that a mean slope, or how slopes go with the outcome, is too small to matter."""
    question, pooling = options["questions"]["course"], options["pooling"]
    bounds = {growth.SLOPE: question["slope_bound"], growth.SLOPE_PATH: question["outcome_bound"]}
    told: dict[str, dict[Any, Any]] = {"bound": {}, "p_equivalence": {}, "decision": {}}
    for row in frame[frame["term"].isin(list(bounds)) & frame["status"].isin(WITH_NUMBERS)].itertuples():
        if pd.isna(row.std_error):
            continue
        bound = bounds[row.term]
        df = float(row.n_sites) - 1 if row.site == POOLED and row.method != "one_stage" and pooling["interval"] != "z" else row.df
        found = equivalence(
            float(row.estimate), float(row.std_error), (-bound, bound), None if pd.isna(df) else float(df), pooling["level"]
        )
        for name, value in (("bound", bound), ("p_equivalence", found.p_tost), ("decision", found.decision)):
            told[name][row.Index] = value
    return frame.assign(**{name: pd.Series(values, dtype=object).reindex(frame.index) for name, values in told.items()})


def _peaks(frame: pd.DataFrame, usable: Sequence[SiteSummary], options: Mapping[str, Any]) -> pd.DataFrame:
    """Return the table of peaks with the permutation tests over all sites, from their counts."""
    if frame.empty:
        return frame
    first, last = options["questions"]["course"]["peak_sessions"]
    size = last - first + 1
    frame = _expected(frame, {series.PEAKING: 1 / size, series.PEAK_MEAN: (first + last) / 2, series.DEPARTURE: 0.0})
    rows = []
    for rater in dict.fromkeys(frame["alliance_rater"]):
        own = [facts for one in usable if (facts := one.facts.get("sums", {}).get(sums_of(rater), {})).get("peaks")]
        keys = {"alliance_rater": rater, "statistic": series.EXCHANGEABLE, "session": "", "estimate_type": "p_value"}
        if len(own) < options["pooling"]["min_sites"]:
            rows.append(
                keys | _lacking(f"needs at least {options['pooling']['min_sites']} sites with an estimate; has {len(own)}", len(own))
            )
            continue
        counts, ties = (np.sum([one[name] for one in own], axis=0) for name in ("peaks", "ties"))
        random = generator(options["seed"], "course", "peak", POOLED, rater)
        whole, each = exchangeability(counts, ties, series.PERMUTATIONS, random)
        told = {"site": POOLED, "status": "estimated", "reason": "", "scale": "identity", "method": "permutation", "n_sites": len(own)}
        rows.append(keys | told | {"estimate": whole, "n_clients": int(ties.sum()), "n_sessions": int(ties.sum()) * size})
        of_sessions = dict(zip(map(str, range(first, last + 1)), each))
        pooled = frame["site"].eq(POOLED) & frame["alliance_rater"].eq(rater) & frame["statistic"].eq(series.PEAKING)
        pooled &= frame["status"].isin(WITH_NUMBERS)
        frame.loc[pooled, "p_permutation"] = frame.loc[pooled, "session"].map(of_sessions)
    return effects.stack(frame, pd.DataFrame(rows))


def _cycles(frame: pd.DataFrame, options: Mapping[str, Any]) -> pd.DataFrame:
    """Return the table of cycles with the test over all sites that clients' cycles are not in step.

    Without it twice n R² of a site is close to chi-squared with 2 degrees of freedom, and sums over sites are with 2 for each.
    """
    if frame.empty:
        return frame
    minimum, rows = options["pooling"]["min_sites"], []
    for rater in dict.fromkeys(frame["alliance_rater"]):
        keys = {"alliance_rater": rater, "surrogates": "", "statistic": series.TOGETHER, "estimate_type": "synchrony"}
        own = frame[frame["alliance_rater"].eq(rater) & frame["statistic"].eq(series.TOGETHER) & frame["status"].isin(WITH_NUMBERS)]
        if len(own) < minimum:
            rows.append(keys | _lacking(f"needs at least {minimum} sites with an estimate; has {len(own)}", len(own)))
            continue
        n, length = (own[name].to_numpy(dtype=float) for name in ("n_clients", "resultant"))
        told = {"site": POOLED, "status": "estimated", "reason": "", "scale": "identity", "method": "rayleigh", "n_sites": len(own)}
        counts = {name: _total(own[name]) for name in ("n_sessions", "n_clients", "n_therapists")}
        p_value = float(chi_squared_p(2 * (n * length**2).sum(), 2 * len(own)))
        rows.append(keys | told | counts | {"estimate": series.synchrony(n, length), "p_phases": p_value})
    chance = {series.WITH_CYCLE: series.LEVEL, series.BEYOND: 0.0, series.TOGETHER: 0.0}
    return _expected(effects.stack(frame, pd.DataFrame(rows)), chance)


def methods(options: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> list[Sentence]:
    """Return what was done in this run, with citation keys."""
    question = options["questions"]["course"]
    sites = {name: one[one["site"].ne(POOLED) & one["status"].isin(WITH_NUMBERS)] for name, one in tables.items()}
    if all(one.empty for one in sites.values()):
        return [Sentence("The course of the alliance could not be told: no site has it session by session.")]
    told = []
    if len(sites["growth"]):
        told.append(
            Sentence(
                "Growth of the alliance (in SD of a site's session scores) was estimated by mixed models with lines of clients and "
                "intercepts of therapists: linear, quadratic, and with a bend at session "
                f"{question['knot']}; where between sessions {question['knots'][0]} and {question['knots'][1]} the curve bends was "
                "searched by profile likelihood. Clients' slopes and the outcome given intake level stand in one latent growth model (full "
                "information maximum likelihood). Mean curves are shown with the standard deviation of clients.",
                ("raudenbush_bryk_2002", "meredith_tisak_1990"),
            )
        )
        told.append(
            Sentence(
                f"A mean slope inside ±{question['slope_bound']:g} SD over ten sessions, and an effect of slopes on the outcome inside "
                f"±{question['outcome_bound']:g}, count as none (two one-sided tests).",
                ("schuirmann_1987",),
            )
        )
    if len(sites["peak"]):
        first, last = question["peak_sessions"]
        told.append(
            Sentence(
                f"Where each client's alliance was highest in sessions {first} to {last} was compared with random permutations of each "
                "client's sessions; equal scores share the peak."
            )
        )
    if len(sites["variability"]):
        told.append(
            Sentence(
                f"Variability within clients was described, for clients with {question['min_sessions']} sessions, by the SD "
                "around the own line, the root mean square of successive differences, and the autocorrelation whose expectation for lines "
                "fitted to such series equals what was observed; gaps between sessions break neighbourhood.",
                ("von_neumann_1941",),
            )
        )
    if len(sites["cycles"]):
        told.append(
            Sentence(
                f"Cycles of {question['periods'][0]} to {question['periods'][1]} sessions were looked for in series of "
                f"{question['cycle_sessions']} sessions by least-squares spectra, against {question['surrogates']} surrogates a client of "
                "white noise and of first-order autoregression with the site's autocorrelation. Whether clients' cycles are in step was "
                "tested by the Rayleigh test at the period with most power.",
                ("lomb_1976", "theiler_1992", "mardia_jupp_2000"),
            )
        )
    told += cluster_sentences(set().union(*(set(one["method"]) for one in sites.values())))
    if any((one["site"].eq(POOLED) & one["status"].isin(WITH_NUMBERS)).any() for one in tables.values()):
        told.append(pooling_sentence(options["pooling"], "Slopes, shares (as logits) and standard deviations (as logarithms) were pooled"))
    return told
