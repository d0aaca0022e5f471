"""Is a middle amount of an intervention best? Quadratic regression and the two-lines test, within and between clients (claim H4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions import effects
from alliance.questions.contract import POOLED, WITH_NUMBERS
from alliance.questions.interventions.events import with_same_rater
from alliance.questions.interventions.sessions import QUESTION, CodedSessions, counts, enough
from alliance.questions.part import Part
from alliance.questions.sentences import Sentence, pooling_sentence
from alliance.questions.summary import SiteSummary

NAME = "curvilinear"
KEYS = ["event", "part", "term", "window", "alliance_rater"]
POOL_KEYS = [*KEYS, "estimate_type"]
LINEAR, CURVATURE, TURN, LOWER, UPPER, VERDICT = "linear", "quadratic", "turning_point", "line_below", "line_above", "inverted_u"
QUADRATIC, LINES, BEND = (LINEAR, CURVATURE), (LOWER, UPPER), "bend"
KINDS = {
    LINEAR: "slope_standardised",
    CURVATURE: "curvature_standardised",
    TURN: "turning_point",
    BEND: "turning_point",
    LOWER: "slope_standardised",
    UPPER: "slope_standardised",
    VERDICT: "criterion_met",
}
PARTS = {"within": "within_clients", "between": "between_clients"}


def estimate(coded: CodedSessions) -> Part:
    """Return one site's estimates of table ``curvilinear``."""
    part = Part()
    for rater in coded.section["raters"]:
        for name in coded.section["curvilinear"]:
            for level in PARTS:
                _add_curve(part, coded, name, rater, level)
    return part


def _add_curve(part: Part, coded: CodedSessions, name: str, rater: str, level: str) -> None:
    from alliance.statistics.two_lines import quadratic, two_lines

    frame, reason = coded.lagged(name, rater)
    base = {"event": name, "part": PARTS[level], "window": coded.section["window"], "alliance_rater": rater}
    base |= {"same_rater": coded.same_rater(name, rater), "level": level}
    if not reason:
        frame = coded.inside(frame, coded.section["window"]).dropna(subset=["next_alliance"])
        reason = enough(frame, 2 if level == "within" else 1, coded.min_clients, "the event coded and the alliance one session later")
    if reason:
        _missing(part, base, KINDS, reason)
        return
    data = [frame[column].to_numpy(dtype=float) for column in ("event", "next_alliance")]
    data += [frame["client"].to_numpy(), coded.therapist_of(frame["client"])]
    settings = {
        "held": frame[["alliance", "session"]].to_numpy(dtype=float) if level == "within" else None,
        "level": level,
        "confidence": coded.level,
        "min_clients": coded.min_clients,
    }
    base |= counts(frame, coded.therapists, 2 if level == "within" else 1)
    curve = quadratic(*data, **settings)
    if curve.found.reason:
        _missing(part, base, (*QUADRATIC, TURN), curve.found.reason)
    else:
        _found(part, base, QUADRATIC, curve.found, coded.level)
        turn = curve.turning_point
        if turn.reason or not np.isfinite([turn.estimate, turn.ci_low, turn.ci_high]).all():
            _missing(part, base, (TURN,), "needs a curvature that differs from zero")
        else:
            inside = curve.low < turn.ci_low and turn.ci_high < curve.high
            outside = turn.ci_high < curve.low or turn.ci_low > curve.high
            fields = {
                "estimate": turn.estimate,
                "ci_low": turn.ci_low,
                "ci_high": turn.ci_high,
                "decision": "inside" if inside else "outside" if outside else "undecided",
                **_how(curve.found),
            }
            _add(part, {**base, "term": TURN, **fields}, turn.std_error**2)
    lines = two_lines(*data, **settings)
    if lines.reason or lines.found is None:
        _missing(part, base, (*LINES, BEND, VERDICT), lines.reason)
        return
    _found(part, base, LINES, lines.found, coded.level)
    how = _how(lines.found)
    chosen, decided = (
        "; ".join(text for text in (how["reason"], told) if text)
        for told in ("no interval: set by the data", "no interval: a decision on both lines")
    )
    _add(part, {**base, "term": BEND, "estimate": lines.bend, **how, "reason": chosen})
    met = float(lines.verdict == VERDICT)
    _add(part, {**base, "term": VERDICT, "estimate": met, "decision": lines.verdict, **how, "reason": decided})


def _how(found: Any) -> dict[str, Any]:
    return {"method": found.method, "status": "flagged" if found.caution else "estimated", "reason": found.caution}


def _found(part: Part, base: Mapping[str, Any], terms: Sequence[str], found: Any, level: float) -> None:
    low, high = found.interval(level)
    for place, term in enumerate(terms):
        numbers = {"estimate": float(found.estimate[place]), "ci_low": float(low[place]), "ci_high": float(high[place])}
        _add(part, {**base, "term": term, **numbers, **_how(found)}, float(found.vcov[place, place]))


def _missing(part: Part, base: Mapping[str, Any], terms: Any, reason: str) -> None:
    for term in terms:
        _add(part, {**base, "term": term, "method": "none", "status": "not_estimable", "reason": f"not estimable: {reason}"})


def _add(part: Part, row: Mapping[str, Any], variance: float = float("nan")) -> None:
    whole = {**row, "estimate_type": KINDS[row["term"]]}
    part.add({**whole, "parameter": "; ".join(str(whole[key]) for key in POOL_KEYS)}, variance)


def pool(gathered: pd.DataFrame, summaries: Sequence[SiteSummary], options: Mapping[str, Any]) -> pd.DataFrame:
    """Return the table: rows of the sites; slopes, curvatures and turning points pooled, and the verdict on the pooled lines."""
    pooling = options["pooling"]
    own = effects.scaled(gathered, "identity")
    # Bends and verdicts have no error; turning points stand only where the curve surely turns, which would choose the sites.
    averaged = own[~own["term"].isin([BEND, VERDICT, TURN])]
    pooled = with_same_rater(effects.pooled_rows(averaged, POOL_KEYS, "identity", pooling), gathered, POOL_KEYS)
    sites = effects.site_rows(own, "identity", pooling["level"])
    absent = effects.absent_site_rows(summaries, _keys(options), "identity")
    return effects.stack(sites, pooled, _verdicts(pooled, pooling), absent)


def _keys(options: Mapping[str, Any]) -> pd.DataFrame:
    section = options["questions"][QUESTION]
    rows = [
        {
            "event": name,
            "part": part,
            "term": term,
            "window": section["window"],
            "alliance_rater": section["raters"][0],
            "estimate_type": KINDS[term],
        }
        for name in section["curvilinear"]
        for part in PARTS.values()
        for term in (CURVATURE, VERDICT)
    ]
    return pd.DataFrame(rows, columns=POOL_KEYS)


def _verdicts(pooled: pd.DataFrame, pooling: Mapping[str, Any]) -> pd.DataFrame:
    """Return whether the two pooled lines have opposite signs, both beyond chance."""
    if pooled.empty:
        return pooled
    lines = pooled[pooled["term"].isin(LINES)]
    by = [key for key in KEYS if key != "term"]
    rows = []
    for values, group in lines.groupby(by, sort=True):
        found = group.set_index("term")
        row = {**dict(zip(by, values, strict=True)), "term": VERDICT, "estimate_type": KINDS[VERDICT], "site": POOLED}
        row |= {name: found[name].iloc[0] for name in ("n_sites", "n_clients", "n_sessions", "n_therapists", "same_rater", "method")}
        row |= {"scale": "identity"}
        known = len(found) == len(LINES) and found["status"].isin(WITH_NUMBERS).all()
        if not known:
            rows.append(
                {**row, "method": "none", "status": "not_estimable", "reason": "not estimable: needs both pooled lines with an interval"}
            )
            continue
        low, high = found["ci_low"], found["ci_high"]
        verdict = VERDICT if low[LOWER] > 0 and high[UPPER] < 0 else "u" if high[LOWER] < 0 and low[UPPER] > 0 else "not_shown"
        cautious = found["status"].eq("flagged").any()
        reason = "; ".join([*sorted({text for text in found["reason"] if text}), "no interval: a decision on both lines"])
        status = {"status": "flagged" if cautious else "estimated", "reason": reason}
        rows.append({**row, "estimate": float(verdict == VERDICT), "decision": verdict, **status})
    return pd.DataFrame(rows)


def methods(options: Mapping[str, Any], table: pd.DataFrame) -> list[Sentence]:
    """Return what was done in this run, with citation keys."""
    found = table[table["status"].isin(WITH_NUMBERS)]
    if found.empty:
        return []
    sentences = [
        Sentence(
            "Whether a middle amount of an intervention is best was asked by a quadratic regression (turning point "
            "with Fieller's interval, "
            "compared with the 5th and 95th percentile of the amount) and by the two-lines test: a curve turns only where the line below a "
            "bend and the line above it have opposite signs, both beyond chance. The bend was set by the Robin Hood "
            "algorithm, with a natural "
            "cubic spline as the smooth curve. Within clients every client has an intercept, and the alliance of the same session and the "
            "number of the session are held constant; between clients means were regressed.",
            ("simonsohn_2018", "fieller_1954"),
        )
    ]
    if found["site"].eq(POOLED).any():
        sentences.append(pooling_sentence(options["pooling"], "Slopes, curvatures and lines (not bends and turning points) were pooled"))
    return sentences
