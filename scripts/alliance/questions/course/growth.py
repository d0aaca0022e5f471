"""How the alliance grows: the mean curve with the spread of single ones, lines, bends, slopes with the outcome (claims D1, D2, D5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions.alliance_outcome.contrasts import result_fields
from alliance.questions.course.sample import SMALLEST_CELL, TEN, Course, absent
from alliance.statistics.growth_effects import Working, working_of, working_variances
from alliance.statistics.jackknife import jackknife
from alliance.statistics.knots import best_knot, knot_profile

CURVE, LINEAR, QUADRATIC, PIECEWISE, OUTCOME = "curve", "linear", "quadratic", "piecewise", "outcome"
MEAN, SPREAD = "mean", "SD of clients"
SLOPE, FALLING, SLOPE_SD, RESIDUAL_SD = "slope", "clients whose line falls", "SD of clients' slopes", "SD of sessions around clients' lines"
BEND, KNOT, BEFORE, AFTER = "curvature", "knot", "slope before", "slope after"
CHANGE = f"{AFTER} - {BEFORE}"
LEVEL_PATH, SLOPE_PATH = "level at the first session", "slope with the outcome"
STEP = 0.1
"""Distance of the knots that are searched, in sessions."""
TYPES = {
    (LINEAR, SLOPE): "slope_per_ten_sessions",
    (LINEAR, SLOPE_SD): "random_effect_sd",
    (LINEAR, RESIDUAL_SD): "random_effect_sd",
    (LINEAR, FALLING): "share",
    (QUADRATIC, BEND): "slope_per_ten_sessions",
    (PIECEWISE, KNOT): "session_number",
    (PIECEWISE, BEFORE): "slope_per_ten_sessions",
    (PIECEWISE, AFTER): "slope_per_ten_sessions",
    (PIECEWISE, CHANGE): "slope_contrast",
    (OUTCOME, LEVEL_PATH): "slope_standardised",
    (OUTCOME, SLOPE_PATH): "slope_standardised",
}
NOT_POOLED = ("random_effect_sd", "share", "session_number", "standard_deviation")
ONE_SLOPE = "clients' slopes are taken as alike, so that the interval may be too narrow"
FEW_SESSIONS = "needs at least {} clients with the alliance in three sessions; has {}"


def knots(options: Mapping[str, Any]) -> np.ndarray:
    """Return the sessions at which a bend is looked for."""
    first, last = options["questions"]["course"]["knots"]
    return np.round(np.arange(first, last + STEP / 2, STEP), 6)


def keys(course_rater: str, model: str, term: str, options: Mapping[str, Any], session: str = "") -> dict[str, Any]:
    """Return what tells a row apart."""
    with_outcome = model == OUTCOME
    same = ("yes" if course_rater == options["outcome"]["rater"] else "no") if with_outcome else ""
    return {"alliance_rater": course_rater, "growth_model": model, "term": term, "session": session, "same_rater": same}


def rows(course: Course, options: Mapping[str, Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return a site's rows of the table, and the likelihoods of its knots and sums of its curve as plain numbers.

    Parameters
    ----------
    course : Course
    options : mapping
        Sections ``outcome``, ``pooling`` and ``questions.course``.
    """
    told, facts = curve(course, options)
    lines, profile = line_rows([course], options)
    told += lines
    told += outcome_rows(course, options)
    return told, {**facts, **({"knots": profile} if profile else {})}


def curve(course: Course, options: Mapping[str, Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return mean and spread over clients at each session, while ten or more clients are rated, and their sums."""
    last = options["questions"]["course"]["curve_sessions"]
    told, sums = [], {}
    frame = course.rows
    for session in range(1, last + 1):
        own = frame[frame["session"] == session]
        named = keys(course.rater, CURVE, MEAN, options, str(session)), keys(course.rater, CURVE, SPREAD, options, str(session))
        n = len(own)
        if course.reason:
            told += [absent(one | {"estimate_type": kind}, course.reason) for one, kind in zip(named, ("mean", "standard_deviation"))]
            continue
        if n < SMALLEST_CELL:
            few = {"status": "withheld", "reason": "fewer than ten clients rated the alliance at this session", "method": "none"}
            told += [one | {"estimate_type": kind} | few for one, kind in zip(named, ("mean", "standard_deviation"))]
            continue
        values, who = own["score"].to_numpy(), own["client"].to_numpy()
        found = jackknife(
            np.column_stack([np.ones(n), values]), lambda sums: sums[:, 1:] / sums[:, :1], 1, course.codes(who), min_rows=SMALLEST_CELL
        )
        counts = course.counts(who, n)
        mean = {**counts, **result_fields(found, course.therapists is not None)}
        told.append(named[0] | {"estimate_type": "mean"} | mean | {"estimate": found.estimate[0], "variance": found.vcov[0, 0]})
        spread = {**counts, "estimate": float(values.std(ddof=1)), "status": "estimated", "reason": "", "method": "counted"}
        told.append(named[1] | {"estimate_type": "standard_deviation"} | spread)
        sums[str(session)] = {"n": n, "squares": float(((values - values.mean()) ** 2).sum())}
    return told, {"curve": sums}


def line_rows(courses: list[Course], options: Mapping[str, Any], site: str = "") -> tuple[list[dict[str, Any]], list[float]]:
    """Return the rows of the models with lines and bends, of one site or of several below each other, and the likelihood of every knot.

    Over several sites each has its own intercept; the knot is then left to the sum of the sites' likelihoods.
    """
    rater = courses[0].rater
    wanted = [(model, term) for model, term in TYPES if model != OUTCOME]
    several = len(courses) > 1
    frame, lacking = stacked(courses)
    frame = frame[frame.groupby("client")["session"].transform("nunique") >= 3] if len(frame) else frame
    clients, minimum = frame["client"].nunique() if len(frame) else 0, options["pooling"]["min_clients"]
    reason = lacking or (FEW_SESSIONS.format(minimum, clients) if clients < minimum else "")
    named = {one: keys(rater, *one, options) | {"estimate_type": TYPES[one]} for one in wanted}
    if reason:
        return [absent(named[one], reason, {"n_clients": clients}) for one in wanted], []
    counts = {
        "n_clients": clients,
        "n_therapists": int(frame["therapist"].nunique()) if "therapist" in frame else None,
        "n_sessions": len(frame),
        "share_missing": 1 - clients / sum(len(one.clients) for one in courses),
    }
    line = _fitted(frame, ["time"], several, options)
    told = [named[LINEAR, term] | counts | fields for term, fields in _linear(line).items()]
    if _without_therapists(line):
        # What varies not at all changes no estimate, and takes most of the search.
        frame = frame.drop(columns="therapist")
    bend = _fitted(frame, ["time", "square"], several, options)
    told.append(named[QUADRATIC, BEND] | counts | _effect(bend, {"square": 1.0}))
    fixed = options["questions"]["course"]["knot"]
    bent = frame.assign(before=np.minimum(frame["session"], fixed) / TEN, after=np.maximum(frame["session"] - fixed, 0) / TEN)
    parts = _fitted(bent, ["before", "after"], several, options)
    for term, weights in ((BEFORE, {"before": 1.0}), (AFTER, {"after": 1.0}), (CHANGE, {"before": -1.0, "after": 1.0})):
        told.append(named[PIECEWISE, term] | counts | _effect(parts, weights))
    if several:
        return told, []
    knot, profile = _knot(frame, line, options)
    return [*told, named[PIECEWISE, KNOT] | counts | knot], profile


def stacked(courses: list[Course]) -> tuple[pd.DataFrame, str]:
    """Return the sessions of several sites below each other, with units named across sites, and why there are none."""
    frames = []
    for one in courses:
        if one.reason:
            continue
        own = one.rows.assign(site=one.site, client=one.site + " " + one.rows["client"].astype(str), square=one.rows["time"] ** 2)
        if one.therapists is not None:
            own = own.assign(therapist=one.site + " " + pd.Series(one.therapists[one.rows["client"]]).astype(str))
        frames.append(own)
    if not frames:
        return pd.DataFrame(), courses[0].reason
    whole = pd.concat(frames, ignore_index=True)
    if "therapist" in whole:
        whole["therapist"] = whole["therapist"].where(whole["therapist"].notna(), whole["client"])
    return whole, ""


def _fitted(frame: pd.DataFrame, terms: list[str], several: bool, options: Mapping[str, Any]) -> Any:
    """Return a mixed model with lines of clients and intercepts of therapists; over several sites an intercept for each."""
    from alliance.statistics.multilevel import mixed_model

    levels = ["therapist", "client"] if "therapist" in frame else ["client"]
    level = options["pooling"]["level"]
    for slopes in ({"client": ("1", "time")}, {"client": ("1",)}):
        if several:
            settings = {"random": {"site": (), **slopes}, "absorbed": {"site": ["1"]}}
            model = mixed_model(frame, "score", terms, ["site", *levels], level=level, **settings)
        else:
            model = mixed_model(frame, "score", ["1", *terms], levels, random=slopes, level=level)
        if model.status == "not_estimable":
            continue
        if len(slopes["client"]) > 1:
            return model
        return replace(model, status="flagged", reason="; ".join(text for text in (model.reason, ONE_SLOPE) if text))
    return model


def _effect(model: Any, weights: Mapping[str, float]) -> dict[str, Any]:
    if model.status == "not_estimable":
        return {"status": "not_estimable", "reason": f"not estimable: {model.reason}", "method": "none"}
    found = model.combination(weights)
    return {
        "estimate": float(found.estimate),
        "variance": float(found.std_error) ** 2,
        "ci_low": float(found.ci_low),
        "ci_high": float(found.ci_high),
        "df": float(found.df),
        "method": "mixed_model",
        "status": model.status,
        "reason": model.reason if model.status == "flagged" else "",
    }


def _without_therapists(model: Any) -> bool:
    """Return whether therapists' intercepts do not vary at all in a fitted model."""
    if model.fit is None:
        return False
    own = model.variances[model.variances["level"].eq("therapist")]
    return bool(len(own)) and not bool((own["variance"] > 1e-8).any())


def _linear(model: Any) -> dict[str, dict[str, Any]]:
    """Return mean slope, its spread over clients, the share of clients whose line falls, and the spread of sessions around lines."""
    from scipy.special import ndtr

    slope = _effect(model, {"time": 1.0})
    if slope["status"] == "not_estimable":
        return dict.fromkeys((SLOPE, SLOPE_SD, FALLING, RESIDUAL_SD), slope)
    own = model.variances[model.variances["level"].eq("client") & model.variances["term1"].eq("time") & model.variances["term2"].eq("time")]
    told = {"status": slope["status"], "reason": slope["reason"], "method": "mixed_model"}
    found = {SLOPE: slope, RESIDUAL_SD: {"estimate": float(np.sqrt(model.residual_variance)), **told}}
    if own.empty or not own["variance"].iloc[0] > 0:
        lacking = {"status": "not_estimable", "reason": "not estimable: clients' slopes do not differ in these data", "method": "none"}
        return found | {SLOPE_SD: lacking, FALLING: lacking}
    spread = float(np.sqrt(own["variance"].iloc[0]))
    return found | {SLOPE_SD: {"estimate": spread, **told}, FALLING: {"estimate": float(ndtr(-slope["estimate"] / spread)), **told}}


def _knot(frame: pd.DataFrame, line: Any, options: Mapping[str, Any]) -> tuple[dict[str, Any], list[float]]:
    """Return the session at which the mean curve bends, with its profile interval, and the likelihood of every knot.

    Variances are those of the line, then once more those at the knot found with them.
    """
    searched = knots(options)
    units, _ = pd.factorize(frame["client"], sort=True)
    groups = None
    if "therapist" in frame:
        groups = pd.factorize(frame["therapist"].groupby(units).first(), sort=True)[0]
    if line.fit is None:
        return {"status": "not_estimable", "reason": f"not estimable: {line.reason}", "method": "none"}, []

    def profile_with(working: Working) -> np.ndarray:
        return knot_profile(frame["score"], frame["time"], units, groups, working, (searched - 1) / TEN)

    profile = profile_with(working_of(line))
    best = searched[int(profile.argmax())]
    again = working_variances(frame.assign(bent=np.maximum(frame["session"] - best, 0) / TEN), ("1", "time", "bent"))
    profile = profile if again.reason else profile_with(again)
    return knot_fields(searched, profile, options["pooling"]["level"]), [round(float(value), 9) for value in profile]


def knot_fields(searched: np.ndarray, profile: np.ndarray, level: float) -> dict[str, Any]:
    """Return estimate and interval of the knot that likelihoods tell; an interval that is all that was searched says there is none."""
    found = best_knot(searched, profile, level)
    reason = ""
    if found.low <= searched[0] and found.high >= searched[-1]:
        reason = f"no knot between sessions {searched[0]:g} and {searched[-1]:g} is ruled out: the data do not tell where the curve bends"
    elif found.at_edge:
        reason = "the interval ends where the search ends"
    return {
        "estimate": found.estimate,
        "ci_low": found.low,
        "ci_high": found.high,
        "method": "profile_likelihood",
        "status": "flagged" if reason else "estimated",
        "reason": reason,
    }


def outcome_syntax(waves: list[int]) -> str:
    """Return linear growth of the alliance with outcome and intake level, in the notation of lavaan.

    Sessions around the lines have one variance, so that late sessions of few clients do not have one of their own.

    Parameters
    ----------
    waves : list of int
        Session numbers; variables are ``s<session>``, ``outcome`` and ``intake``.
    """
    lines = [
        "level =~ " + " + ".join(f"1*s{wave}" for wave in waves),
        "slope =~ " + " + ".join(f"{(wave - 1) / TEN:.17g}*s{wave}" for wave in waves),
        *(f"s{wave} ~ 0*1" for wave in waves),
        *(f"s{wave} ~~ e*s{wave}" for wave in waves),
        "level ~ intake",
        "slope ~ intake",
        "level ~ 1",
        "slope ~ 1",
        "level ~~ slope",
        "outcome ~ level + slope + intake",
    ]
    return "\n".join(lines)


def outcome_rows(course: Course, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return how level and slope of clients' lines go with the outcome given intake, all in one model of the sessions and the outcome."""
    from alliance.statistics.structural_fit import fit_structural, parse_structural

    named = {
        term: keys(course.rater, OUTCOME, term, options) | {"estimate_type": TYPES[OUTCOME, term]} for term in (LEVEL_PATH, SLOPE_PATH)
    }
    minimum = options["pooling"]["min_clients"]
    reason, n = course.reason or course.no_outcome, 0
    if not reason:
        wide = course.rows.pivot(index="client", columns="session", values="score")
        wide = wide.reindex(index=range(len(course.clients)), columns=range(1, options["questions"]["course"]["outcome_sessions"] + 1))
        data = wide.rename(columns=lambda session: f"s{session}").assign(outcome=course.outcome, intake=course.intake)
        rated = wide.notna().sum(axis=1).to_numpy()
        used = (rated > 0) & data["intake"].notna().to_numpy()
        both = int((used & data["outcome"].notna().to_numpy() & (rated >= 3)).sum())
        waves = [session for session in wide.columns if int(wide.loc[used, session].notna().sum()) >= minimum]
        n = int(used.sum())
        needed = max(minimum, 30)
        if both < needed:
            reason = f"needs at least {needed} clients with outcome, intake level and the alliance in three sessions; has {both}"
        elif len(waves) < 3:
            reason = f"needs three sessions that at least {minimum} clients rated; has {len(waves)}"
    if reason:
        return [absent(one, reason, {"n_clients": n}) for one in named.values()]
    frame = data.loc[used, [*(f"s{wave}" for wave in waves), "outcome", "intake"]]
    frame = (frame - frame[["outcome", "intake"]].mean().reindex(frame.columns, fill_value=0)) / frame[["outcome", "intake"]].std().reindex(
        frame.columns, fill_value=1
    )
    who = np.flatnonzero(used)
    clusters = {"clusters": [course.codes(who)]} if course.clustered else {}
    counts = course.counts(who, int(wide.loc[used, waves].notna().sum().sum()))
    try:
        found = fit_structural(
            parse_structural(outcome_syntax(waves)),
            rows=frame.reset_index(drop=True),
            missing="ml",
            errors="robust",
            level=options["pooling"]["level"],
            **clusters,
        )
    except np.linalg.LinAlgError:
        # Sessions that hardly any client was rated in together leave covariances that nothing in the data tells.
        reason = f"too few clients were rated in the same sessions to tell the covariances of {len(waves)} sessions"
        return [absent(one, reason, counts) for one in named.values()]
    if found.fit is None or found.status == "not_estimable":
        return [absent(one, found.reason, counts) for one in named.values()]
    paths = found.parameters[found.parameters["op"].eq("~") & found.parameters["lhs"].eq("outcome")].set_index("rhs")
    few = "" if course.clustered else "therapists not known or fewer than 10: clients taken as independent"
    caution = "; ".join(part for part in (few, found.reason) if part)
    told = []
    for term, name in ((LEVEL_PATH, "level"), (SLOPE_PATH, "slope")):
        path = paths.loc[name]
        told.append(
            named[term]
            | counts
            | {
                "estimate": float(path["standardized"]),
                "variance": float(path["std_error_standardized"]) ** 2,
                "method": "maximum_likelihood_robust",
                "status": "flagged" if caution else "estimated",
                "reason": caution,
            }
        )
    return [
        row
        if np.isfinite(row["estimate"]) and np.isfinite(row["variance"])
        else absent(named[row["term"]], "the slope does not vary", counts)
        for row in told
    ]
