"""The headline where values are missing: patterns, multiple imputation, and outcomes shifted away from what was observed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions.alliance_outcome.contrasts import main_outcome
from alliance.questions.alliance_outcome.measures import FORMS, PREFERRED, AllianceKey, SiteMeasures
from alliance.questions.site_data import SiteData
from alliance.variables.client import attended_sessions, measure

SMALL_PATTERN = 5
OTHERS = "rarer patterns together"


def missing_rows(site: SiteData, found: SiteMeasures, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the shares of patterns of missing values at one site, and its headline with missing values imputed, for every delta.

    Imputation uses intake, alliance, outcome and, as auxiliaries, symptoms early and late in treatment and the number of attended
    sessions, with clients in therapists; the outcome of clients without one is then moved by delta SD.
    """
    form = options["outcome"]["form"]
    kind = FORMS[form]
    same = "yes" if options["alliance"]["rater"] == options["outcome"]["rater"] else "no"
    alliance = AllianceKey(PREFERRED, options["alliance"]["scale"], options["alliance"]["rater"], options["alliance"]["window"])
    outcome = main_outcome(options)
    deltas = options["questions"]["alliance_outcome"]["imputation"]["deltas"]
    if alliance not in found.alliance or outcome not in found.outcomes:
        reason = f"not estimable: {found.reasons.get(alliance) or found.reasons.get(outcome) or 'the site lacks alliance or outcome'}"
        absent = {"same_rater": same, "estimate_type": kind, "status": "not_estimable", "reason": reason, "method": "none"}
        return [{**absent, "pattern": "", "delta": delta} for delta in deltas]
    values = found.outcomes[outcome]
    data = pd.DataFrame({"alliance": found.of(alliance, outcome), "intake": values.intake, "outcome": values.post}, index=found.clients)
    rows = _pattern_rows(data, options["pooling"]["level"])
    return [*rows, *({"same_rater": same, "estimate_type": kind, **row} for row in imputed_rows(site, data, found, options, form, deltas))]


def _pattern_rows(data: pd.DataFrame, level: float) -> list[dict[str, Any]]:
    from alliance.statistics.change import wilson
    from alliance.statistics.distributions import critical_value
    from alliance.statistics.imputation import missing_patterns

    patterns = missing_patterns(data, SMALL_PATTERN)
    rows = []
    for one in patterns.to_dict("records"):
        lacking = [name for name in data if one[name] == "missing"]
        name = OTHERS if one["patterns"] > 1 else f"without {' and '.join(lacking)}" if lacking else "complete"
        share, n = one["clients"] / len(data), len(data)
        low, high = wilson(share, n, critical_value(level))
        rows.append(
            {
                "pattern": name,
                "same_rater": "",
                "estimate_type": "share",
                "estimate": share,
                "ci_low": float(low),
                "ci_high": float(high),
                "n_clients": n,
                "share_missing": 0.0,
                "status": "estimated",
                "reason": "",
                "method": "counted",
            }
        )
    return rows


def _auxiliaries(site: SiteData, clients: pd.Index, options: Mapping[str, Any]) -> pd.DataFrame:
    last = options["early_gain"]["window"][1]
    every = {**options["alliance"]["windows"], "(early)": {"sessions": [1, last]}, "(last)": {"last": 2}}
    chosen = {**options, "alliance": {**options["alliance"], "windows": every}}
    columns = {}
    if options["symptoms"]["instruments"]:
        for name in ("(early)", "(last)"):
            columns[f"symptoms {name}"] = measure(site, {"construct": "symptoms", "window": name}, chosen).values.reindex(clients)
    columns["attended"] = attended_sessions(site).groupby("client_no").size().reindex(clients).astype("float64")
    frame = pd.DataFrame(columns, index=clients)
    spread = frame.std()
    return frame[[name for name in frame if frame[name].notna().mean() >= 0.5 and spread[name] > 0]]


def imputed_rows(
    site: SiteData,
    data: pd.DataFrame,
    found: SiteMeasures,
    options: Mapping[str, Any],
    form: str,
    deltas: Sequence[float],
    covariates: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Return the effect with missing values imputed, one row a delta.

    Parameters
    ----------
    site : SiteData
    data : DataFrame
        ``alliance, intake, outcome`` and the covariates of all clients; NaN where missing.
    found : SiteMeasures
        Supplies the therapists.
    options : mapping
    form : str
        Form of the outcome.
    deltas : sequence of float
        SD by which imputed outcomes are shifted.
    covariates : sequence of str
        Columns of ``data`` held constant beside the intake level.
    """
    from alliance.statistics.correlation import correlations
    from alliance.statistics.imputation import imputations_needed, impute, pool_rubin, shifted
    from alliance.statistics.resampling import generator

    settings = options["questions"]["alliance_outcome"]["imputation"]
    frame = pd.concat([data, _auxiliaries(site, data.index, options)], axis=1)
    # Clients of whom nothing but the intake is known tell nothing about the alliance and its outcome.
    kept = frame[["alliance", "outcome"]].notna().any(axis=1).to_numpy()
    frame = frame[kept]
    codes = None if found.therapists is None else found.therapists[kept]
    complete = int(frame[["alliance", "intake", "outcome", *covariates]].notna().all(axis=1).sum())
    common = {"pattern": "", "n_clients": len(frame), "n_therapists": None if codes is None else len(np.unique(codes))}
    common["share_missing"] = 1 - complete / len(frame) if len(frame) else None
    minimum = max(options["pooling"]["min_clients"], 2 * frame.shape[1])
    if complete < minimum:
        needed = f"needs at least {minimum} clients with all scores for an imputation model of {frame.shape[1]} variables"
        reason = f"not estimable: {needed}; has {complete}"
        return [{**common, "delta": delta, "status": "not_estimable", "reason": reason, "method": "none"} for delta in deltas]
    random = generator(options["seed"], "alliance_outcome", site.site, "imputation")
    number = imputations_needed(frame.to_numpy(dtype=float), settings["imputations"])
    imputed = impute(frame, random, codes, imputations=number)
    if imputed.status == "not_estimable":
        reason = f"not estimable: {imputed.reason}"
        return [{**common, "delta": delta, "status": "not_estimable", "reason": reason, "method": "none"} for delta in deltas]
    rows = []
    for delta in deltas:
        moved = shifted(imputed, "outcome", delta).values
        place = {name: position for position, name in enumerate(imputed.names)}
        z, v, df, cautions = [], [], np.inf, set()
        for one in moved:
            alliance, intake, outcome = (one[:, place[name]] for name in ("alliance", "intake", "outcome"))
            y = outcome - intake if form == "change" else outcome
            held = [intake] if form in ("ancova", "residual_gain") else []
            held += [one[:, place[name]] for name in covariates if form != "zero_order"]
            controls = np.column_stack(held) if held else None
            result = correlations(alliance[:, None], y[:, None], codes, controls=controls, part=form == "residual_gain")
            z.append(np.arctanh(result.r[0]))
            v.append(result.se_z[0] ** 2)
            df = float(result.df[0])
            cautions |= {result.caution[0]} - {""}
        if not np.isfinite(z).all():
            reason = "not estimable: an imputed data set has no correlation"
            rows.append({**common, "delta": delta, "status": "not_estimable", "reason": reason, "method": "none"})
            continue
        pooled = pool_rubin(np.array(z), np.array(v), df)
        low, high = pooled.interval(options["pooling"]["level"])
        r = float(np.tanh(pooled.estimate[0]))
        reason = "; ".join(sorted(cautions | ({imputed.reason} if imputed.status == "flagged" else set())))
        rows.append(
            {
                **common,
                "delta": delta,
                "estimate": r,
                "variance": float((pooled.std_error[0] * (1 - r * r)) ** 2),
                "ci_low": float(np.tanh(low[0])),
                "ci_high": float(np.tanh(high[0])),
                "df": float(pooled.df[0]),
                "method": "multiple_imputation",
                "status": "flagged" if reason else "estimated",
                "reason": reason,
            }
        )
    return rows
