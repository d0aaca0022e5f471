"""Shares still in treatment and risks of dropout by session, definitions side by side, calibration, and what failure in phase 1 tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions.alliance_outcome.contrasts import result_fields
from alliance.questions.dropout import models
from alliance.questions.dropout import periods as spans
from alliance.questions.dropout.models import Design, Resampled, Spec
from alliance.questions.dropout.periods import Course
from alliance.statistics.agreement import kappa
from alliance.statistics.change import proportion
from alliance.statistics.competing_risks import clustered_error, cumulative_incidence, share_interval
from alliance.statistics.discrete_time_hazard import fit_without_each, jackknife_covariance
from alliance.statistics.jackknife import covariance_of_sums, cross_products, jackknife

SMALLEST_CELL = 10
EVERYONE = "all"
STAYING, RISK = "share_in_treatment", "cumulative_risk"
THERAPISTS_LEFT_OUT, CLIENTS_LEFT_OUT, SITES_LEFT_OUT = "therapists_in_turn", "clients_in_turn", "sites_in_turn"
OBSERVED_TO_EXPECTED, SLOPE, PREDICTED, OBSERVED = "observed_to_expected", "slope", "predicted", "observed"
COUNTS = ("at_risk", "dropout", "other_ending")
FEW = f"fewer than {SMALLEST_CELL} clients"


def survival(found: Course, options: Mapping[str, Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the rows of curves at one site by third of the first-session alliance, and the counts that other sites can be added to.

    Rows stop where fewer than ten clients are at risk.
    """
    main = options["dropout"]["definition"]
    ends = spans.endings(found, options["dropout"]["definitions"][main])
    thirds = spans.thirds(found)
    rows = spans.periods(found, ends) if not ends.reason else pd.DataFrame(columns=spans.PERIODS)
    made, counts = [], {}
    for group in (EVERYONE, *spans.THIRDS):
        lacks = ends.reason or (
            f"needs {found.lacking[spans.FIRST]}".replace("needs no ", "no ") if group != EVERYONE and spans.FIRST in found.lacking else ""
        )
        own = rows if group == EVERYONE or lacks else rows[rows["client"].map(thirds).eq(group)]
        if lacks or own.empty:
            made += _no_curve(main, group, lacks or "needs clients at risk in this group")
            continue
        sessions = int(own["session"].max())
        counts[group] = spans.counts_by_session(own, sessions)
        made += _curve_rows(main, group, own, sessions, options["pooling"]["level"])
    return made, {"definition": main, "groups": counts}


def _no_curve(definition: str, group: str, reason: str, status: str = "not_estimable") -> list[dict[str, Any]]:
    said = reason if status == "withheld" else f"not estimable: {reason}"
    common = {"definition": definition, "group": group, "session": "1", "status": status, "reason": said, "method": "none"}
    return [{**common, "estimate_type": kind} for kind in (STAYING, RISK)]


def _curve_rows(definition: str, group: str, own: pd.DataFrame, sessions: int, level: float) -> list[dict[str, Any]]:
    counts = spans.counts_by_session(own, sessions)
    curve = cumulative_incidence(*(counts[name] for name in COUNTS))
    known = own["therapist"].notna().all()
    codes, names = pd.factorize(own["therapist"].to_numpy(dtype=float)) if known else (np.zeros(0, dtype=int), [])
    clustered = len(names) >= models.MIN_JACKKNIFE
    errors, df, method = (curve.staying_error, curve.incidence_error), np.inf, "aalen_johansen"
    if clustered:
        by_therapist = [spans.counts_by_session(own[codes == code], sessions) for code in range(len(names))]
        errors = clustered_error(curve, *(np.array([one[name] for one in by_therapist]) for name in COUNTS))
        df, method = len(names) - 1.0, "aalen_johansen_clustered"
    common = {
        "definition": definition,
        "group": group,
        "n_clients": counts["at_risk"][0],
        "n_therapists": len(names) if known else None,
        "method": method,
    }
    return curve_fields(common, counts, (curve.staying, curve.incidence), errors, level, df)


def curve_fields(
    common: Mapping[str, Any],
    counts: Mapping[str, Sequence[int]],
    shares: tuple[np.ndarray, np.ndarray],
    errors: tuple[np.ndarray, np.ndarray],
    level: float,
    df: float = np.inf,
) -> list[dict[str, Any]]:
    """Return the rows of one group's curves until fewer than ten clients are at risk; a withheld row where there are none."""
    at_risk = np.asarray(counts["at_risk"])
    enough = int(np.argmax(at_risk < SMALLEST_CELL)) if (at_risk < SMALLEST_CELL).any() else len(at_risk)
    if enough == 0:
        withheld = _no_curve(common["definition"], common["group"], f"{FEW} at risk", "withheld")
        return [{**common, **row, "n_clients": None} for row in withheld]
    rows = []
    for kind, values, error in zip((STAYING, RISK), shares, errors):
        low, high = share_interval(values, error, level, df)
        for place in range(enough):
            rows.append(
                {
                    **common,
                    "session": str(place + 1),
                    "estimate_type": kind,
                    "estimate": float(values[place]),
                    "variance": float(error[place]) ** 2,
                    "ci_low": float(low[place]),
                    "ci_high": float(high[place]),
                    "n_at_risk": int(at_risk[place]),
                    "n_events": int(counts["dropout"][place]),
                    "status": "estimated",
                    "reason": "",
                }
            )
    return rows


def definitions(found: Course, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return how many clients dropped out by each definition, and how far every two definitions agree."""
    every = options["dropout"]["definitions"]
    ends = {name: spans.endings(found, every[name]) for name in sorted(every)}
    therapists = found.clients["therapist"]
    known = bool(therapists.notna().all()) and len(therapists) > 0
    rows = []
    for name, end in ends.items():
        common = {"definition": name, "compared_with": "", "estimate_type": "share"}
        counted = spans.judged(found, end)
        if end.reason or not counted.any():
            reason = end.reason or "needs clients whose treatment ended"
            rows.append({**common, "status": "not_estimable", "reason": f"not estimable: {reason}", "method": "none"})
            continue
        codes = therapists[counted].to_numpy() if known else None
        one = proportion((end.status == spans.DROPOUT)[counted], codes, options["pooling"]["level"])
        rows.append({**common, **_share_fields(one, known), "n_events": one.count, "share_missing": 1 - one.n / len(counted)})
    for first, second in combinations(ends, 2):
        rows.append(_agreement(found, (first, ends[first]), (second, ends[second]), known, options))
    return rows


def _share_fields(one: Any, known: bool) -> dict[str, Any]:
    robust = one.ci_low is not None
    return {
        "estimate": one.share,
        "variance": float(one.std_error) ** 2 if robust else np.nan,
        "ci_low": one.ci_low if robust else one.wilson_low,
        "ci_high": one.ci_high if robust else one.wilson_high,
        "n_clients": one.n,
        "n_therapists": one.n_clusters if known else None,
        "method": "counted",
        "status": one.status,
        "reason": one.reason,
    }


def _agreement(
    found: Course, first: tuple[str, spans.Endings], second: tuple[str, spans.Endings], known: bool, options: Mapping[str, Any]
) -> dict[str, Any]:
    common = {"definition": first[0], "compared_with": second[0], "estimate_type": "kappa"}
    both = spans.judged(found, first[1]) & spans.judged(found, second[1])
    reason = first[1].reason or second[1].reason
    n, minimum = int(both.sum()), options["pooling"]["min_clients"]
    if reason or n < minimum:
        reason = reason or f"needs at least {minimum} clients judged by both definitions; has {n}"
        return {**common, "n_clients": n, "status": "not_estimable", "reason": f"not estimable: {reason}", "method": "none"}
    codes = found.clients["therapist"].to_numpy()[both] if known else None
    one = kappa((first[1].status == spans.DROPOUT)[both], (second[1].status == spans.DROPOUT)[both], codes, min_rows=minimum)
    fields = result_fields(one, known)
    if one.reason:
        fields["reason"] = "not estimable: by one of the definitions all clients or none dropped out"
    share = {"share_missing": 1 - n / len(both)}
    return {**common, **fields, **share, "n_clients": n, "estimate": one.estimate[0], "variance": one.vcov[0, 0]}


def calibration(found: Course, made: Resampled, options: Mapping[str, Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return how well the headline model foretells the clients of therapists that it was fitted without, and counts by predicted risk."""
    validation = THERAPISTS_LEFT_OUT if made.by_therapist or made.reason else CLIENTS_LEFT_OUT
    question, main = options["questions"]["dropout"], options["dropout"]["definition"]
    common = {"definition": main, "validation": validation, "group": "", "session": ""}
    kinds = [(OBSERVED_TO_EXPECTED, OBSERVED_TO_EXPECTED), (SLOPE, "calibration_slope")]
    if made.reason or made.leaving is None:
        absent = {"status": "not_estimable", "reason": f"not estimable: {made.reason}", "method": "none"}
        return [{**common, "statistic": name, "estimate_type": kind, **absent} for name, kind in kinds], {}
    rows, clients = made.found.rows, made.clients
    place = clients.index.get_indexer(rows["client"])
    coefficients = made.leaving_without[made.groups[place]]
    linear = coefficients[:, 0] + (rows[made.found.names].to_numpy(dtype=float) * coefficients[:, 1:]).sum(axis=1)
    shown = performance(rows["dropout"].to_numpy(), linear, made.groups[place])
    counts = {**made.found.counts(), "events_per_parameter": None}
    told = [{**common, "statistic": name, "estimate_type": kind, **counts, **made.fields, **shown[name]} for name, kind in kinds]
    last = int(rows["session"].max())
    horizon = max((session for session in question["horizons"] if session <= last), default=last)
    usable = made.ending is None or not np.isnan(made.ending_without).any()
    if not usable or (made.ending is None and made.planned.n_events):
        return told, {}
    values = clients[list(made.found.predictors)].to_numpy(dtype=float)
    risk = np.full(len(clients), np.nan)
    for group in range(made.n_groups):
        own = made.groups == group
        other = None if made.ending is None else made.ending_without[group]
        risk[own] = models.risk_of_clients(made, made.leaving_without[group], other, values[own], horizon)[:, -1]
    ranks = pd.Series(risk).rank(method="first").to_numpy() - 1
    groups = np.floor(ranks * question["risk_groups"] / len(ranks)).astype(int)
    sums = {}
    for group in range(question["risk_groups"]):
        members = clients.index[groups == group]
        own = rows[rows["client"].isin(members)]
        if len(own):
            therapists = clients.loc[members, "therapist"]
            sums[str(group + 1)] = {
                "n": len(members),
                **({"therapists": int(therapists.nunique())} if therapists.notna().all() else {}),
                "predicted": float(risk[groups == group].sum()),
                **spans.counts_by_session(own, horizon),
            }
    facts = {"definition": main, "validation": validation, "session": horizon, "groups": sums}
    return told + group_rows(facts, options["pooling"]["level"], "aalen_johansen"), facts


def performance(events: np.ndarray, linear: np.ndarray, groups: np.ndarray) -> dict[str, dict[str, Any]]:
    """Return the ratio of observed to expected dropouts and the slope of the linear predictor, with errors that respect therapists.

    Parameters
    ----------
    events, linear : ndarray, shape (rows,)
        Event and linear predictor (log of the cumulative hazard) of person-periods, from a model fitted without them.
    groups : ndarray of int, shape (rows,)
        Therapist of each row, codes 0...
    """
    expected_rows = -np.expm1(-np.exp(linear))
    count = int(groups.max()) + 1
    observed, expected = np.bincount(groups, events, count), np.bincount(groups, expected_rows, count)
    ratio = observed.sum() / expected.sum()
    factor = count / (count - 1) if count > 1 else np.nan
    error = np.sqrt(factor * ((observed - ratio * expected) ** 2).sum()) / expected.sum()
    nothing = {"estimate": np.nan, "variance": np.nan, "status": "not_estimable", "method": "none"}
    if ratio > 0:
        told = {OBSERVED_TO_EXPECTED: {"estimate": float(ratio), "variance": float(error**2)}}
    else:
        told = {OBSERVED_TO_EXPECTED: {**nothing, "reason": "not estimable: needs a dropout"}}
    whole, without = fit_without_each(events, linear[:, None], ["predicted risk"], groups)
    if whole.found and np.isfinite(without).all():
        told[SLOPE] = {"estimate": float(whole.slopes[0]), "variance": float(jackknife_covariance(without)[-1, -1])}
    else:
        told[SLOPE] = {**nothing, "reason": "not estimable: needs a maximum without each of the therapists"}
    return told


def group_rows(facts: Mapping[str, Any], level: float, method: str) -> list[dict[str, Any]]:
    """Return the predicted and the observed risk of each group of clients; groups of fewer than ten are withheld."""
    rows = []
    for group, sums in facts["groups"].items():
        common = {
            "definition": facts["definition"],
            "validation": facts["validation"],
            "group": group,
            "session": str(facts["session"]),
            "estimate_type": RISK,
        }
        if sums["n"] < SMALLEST_CELL:
            withheld = {"status": "withheld", "reason": f"{FEW} in this group", "method": "none"}
            rows += [{**common, "statistic": name, **withheld} for name in (PREDICTED, OBSERVED)]
            continue
        curve = cumulative_incidence(*(sums[name] for name in COUNTS))
        known = np.isfinite(curve.incidence)
        place = int(np.flatnonzero(known)[-1])
        low, high = share_interval(curve.incidence[place], curve.incidence_error[place], level)
        counts = {"n_clients": sums["n"], "n_therapists": sums.get("therapists")}
        common |= {**counts, "status": "estimated", "reason": "", "method": method}
        rows.append({**common, "statistic": PREDICTED, "estimate": sums["predicted"] / sums["n"]})
        rows.append(
            {
                **common,
                "statistic": OBSERVED,
                "estimate": float(curve.incidence[place]),
                "variance": float(curve.incidence_error[place]) ** 2,
                "ci_low": float(low),
                "ci_high": float(high),
                "n_events": sum(sums["dropout"]),
            }
        )
    return rows


def phase_one_outcome(found: Course, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the outcome of clients whose phase 1 failed minus that of the others, at the same intake level."""
    common = {
        "definition": "",
        "cause": "outcome",
        "hazard_model": models.PHASE_ONE,
        "link": "",
        "therapists": models.JACKKNIFE,
        "term": spans.FAILED,
        "estimate_type": "standardised_mean_difference",
    }
    clients = found.clients
    lacks = next((found.lacking[name] for name in (spans.FIRST, spans.FAILED, "outcome", "intake") if name in found.lacking), "")
    data = clients[["outcome", "intake", spans.FAILED]].to_numpy(dtype=float)
    complete = np.isfinite(data).all(axis=1)
    n, minimum = int(complete.sum()), options["pooling"]["min_clients"]
    if lacks or n < minimum:
        reason = f"needs {lacks}".replace("needs no ", "no ") if lacks else f"needs at least {minimum} clients with outcome; has {n}"
        return {**common, "n_clients": n, "status": "not_estimable", "reason": f"not estimable: {reason}", "method": "none"}

    def difference(sums: np.ndarray) -> np.ndarray:
        s = covariance_of_sums(sums)
        spread = s[:, 0, 0] - s[:, 0, 1] ** 2 / s[:, 1, 1]
        own = s[:, 0, 2] - s[:, 0, 1] * s[:, 1, 2] / s[:, 1, 1]
        slope = own / (s[:, 2, 2] - s[:, 1, 2] ** 2 / s[:, 1, 1])
        return (slope / np.sqrt(spread))[:, None]

    therapists = clients["therapist"]
    known = bool(therapists[complete].notna().all())
    codes = therapists[complete].to_numpy() if known else None
    one = jackknife(cross_products(data[complete]), difference, 1, codes, min_rows=minimum)
    reached = int(clients[spans.FAILED].notna().sum())
    fields = result_fields(one, known)
    if one.reason:
        fields["reason"] = f"not estimable: {one.reason}"
    return {
        **common,
        **fields,
        "estimate": one.estimate[0],
        "variance": one.vcov[0, 0],
        "n_clients": n,
        "share_missing": 1 - n / reached if reached else None,
    }


def site_calibration(courses: Sequence[Course], options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return how well a model of the other sites foretells each site, with a common intercept: sites left out in turn."""
    main = options["dropout"]["definition"]
    spec = Spec(models.FIRST_SESSION, models.LEAVING, main)
    of: Design = models.design(list(courses), spec, options)
    if models.refused(of, options):
        return []
    rows = of.rows
    codes, sites = pd.factorize(rows["site"])
    whole, without = fit_without_each(rows[of.event], rows[of.names], of.names, codes)
    if not whole.found or len(sites) < 3:
        return []
    told = []
    for code, site in enumerate(sites):
        own = rows[codes == code].reset_index(drop=True)
        therapist = own["therapist"].where(own["therapist"].notna(), -1.0 - own["client"])
        groups, names = pd.factorize(therapist)
        common = {
            "site": site,
            "definition": main,
            "validation": SITES_LEFT_OUT,
            "group": "",
            "session": "",
            "n_clients": own["client"].nunique(),
            "n_therapists": len(names),
            "n_sessions": len(own),
            "n_events": int(own[of.event].sum()),
            "method": "cluster_jackknife",
            "status": "estimated",
            "reason": "",
        }
        if np.isfinite(without[code]).all():
            linear = without[code][0] + own[of.names].to_numpy(dtype=float) @ without[code][1:]
            shown = performance(own[of.event].to_numpy(), linear, groups)
        else:
            absent = {"estimate": np.nan, "variance": np.nan, "status": "not_estimable", "method": "none"}
            reason = "not estimable: without this site the model has no maximum"
            shown = {name: {**absent, "reason": reason} for name in (OBSERVED_TO_EXPECTED, SLOPE)}
        kinds = ((OBSERVED_TO_EXPECTED, OBSERVED_TO_EXPECTED), (SLOPE, "calibration_slope"))
        told += [{**common, "statistic": name, "estimate_type": kind, **shown[name]} for name, kind in kinds]
    return told
