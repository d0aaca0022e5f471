"""Is the alliance an artifact of early gains? Three hypotheses, sudden gains and categories of change (claims E1 to E6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from alliance.instruments.registry import WITHOUT_IMPROVEMENT
from alliance.questions import effects
from alliance.questions.alliance_outcome.contrasts import result_fields
from alliance.questions.contract import POOLED, SLOPE_PER_SESSION, WITH_NUMBERS, finish
from alliance.questions.correlations import therapist_codes
from alliance.questions.sentences import Sentence, cluster_sentences, pooling_sentence
from alliance.questions.site_data import SiteData
from alliance.questions.summary import SiteSummary
from alliance.statistics.jackknife import jackknife
from alliance.variables.client import Measure, gain_window_overlap, measure, order_violations, residual_gain

estimate_reads = (
    "alliance.instruments",
    "alliance.scale",
    "alliance.rater",
    "alliance.windows",
    "outcome",
    "symptoms",
    "early_gain",
    "pooling.min_clients",
    "pooling.level",
    "questions.early_gains",
)
pool_reads = ("pooling",)
needs = ("alliance_outcome",)
tables = ("partial", "hypotheses", "sudden_gains", "change_categories")

SUMMARIES_ONLY = "not estimable: needs sessions of single clients; the site published summaries only"
INTAKE, INTAKE_AND_GAIN = "intake", "intake and early symptoms"
AROUND_MEANS, AROUND_COUNTS = ("mean_gain", "mean_without"), ("n_gains", "n_unmatched", "n_unmeasured", "n_without")
SQUARES = {"partial_correlation": "share_of_rest", "semipartial_correlation": "r_squared_change"}
_KEYS = {
    "partial": ["window", "alliance_rater", "outcome_rater", "same_rater", "items", "covariates", "estimate_type"],
    "hypotheses": ["hypothesis", "statistic", "group", "estimate_type"],
    "sudden_gains": ["shift", "statistic", "estimate_type"],
    "change_categories": ["denominator", "category", "estimate_type"],
}
_SCALES = {"partial_correlation": "fisher_z", "semipartial_correlation": "fisher_z", "share": "logit"}


def estimate(site: SiteData, options: Mapping[str, Any], constants: Mapping[str, Any]) -> SiteSummary:
    """Return what one site says about early gains.

    Parameters
    ----------
    site : SiteData
    options : mapping
        The keys of ``estimate_reads``.
    constants : mapping
        Not used.
    """
    raw = {**options, "outcome": {**options["outcome"], "form": "ancova"}}
    parts = {
        "partial": _partial(site, raw),
        "hypotheses": _growth(site, raw),
        "sudden_gains": _sudden_gains(site, raw),
        "change_categories": _change_categories(site, raw),
    }
    rows = []
    for model, found in parts.items():
        keys = _KEYS[model]
        for row in found:
            if site.published is not None:
                row |= {"reason": SUMMARIES_ONLY}
            name = "; ".join(f"{key}={row[key]}" for key in keys if row.get(key) and key != "same_rater")
            rows.append({"level": "client", **row, "model": model, "parameter": name})
    known = [row for row in rows if np.isfinite(row.get("variance", np.nan))]
    vcov = [{"model": r["model"], "parameter1": r["parameter"], "parameter2": r["parameter"], "cov": r["variance"]} for r in known]
    everybody = _clients(site)
    codes, therapists_known = therapist_codes(everybody, site.clients, site.scores)
    return SiteSummary(
        site=site.site,
        label=site.label,
        question="early_gains",
        n={"clients": len(everybody), "therapists": len(np.unique(codes)) if therapists_known else None},
        facts={"reason": SUMMARIES_ONLY if site.published is not None else ""},
        estimates=pd.DataFrame([{k: v for k, v in row.items() if k != "variance"} for row in rows]),
        vcov=pd.DataFrame(vcov, columns=["model", "parameter1", "parameter2", "cov"]),
    )


def _clients(site: SiteData) -> pd.Index:
    found = set(site.clients["client_no"].dropna().astype("int64")) if len(site.clients) else set()
    found |= set(site.scores["client_no"].dropna().astype("int64")) if len(site.scores) else set()
    return pd.Index(sorted(found), dtype="int64")


def _therapists(site: SiteData, clients: pd.Index) -> np.ndarray | None:
    codes, known = therapist_codes(clients, site.clients, site.scores)
    return codes if known else None


def _early_symptoms(site: SiteData, options: Mapping[str, Any]) -> Measure:
    """Return symptoms at the end of the early-gain window, turned so that higher is better."""
    last = options["early_gain"]["window"][1]
    windows = {**options["alliance"]["windows"], "(end of early gain)": {"sessions": [last, last]}}
    chosen = {**options, "alliance": {**options["alliance"], "windows": windows}}
    return measure(site, {"construct": "symptoms", "window": "(end of early gain)"}, chosen)


def _partial(site: SiteData, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the partial and semipartial r of the alliance beyond intake level, and beyond intake and early symptoms (claim E3)."""
    from alliance.statistics.gain_share import gain_share

    clients = _clients(site)
    therapists = _therapists(site, clients)
    outcome, intake = measure(site, {"construct": "outcome"}, options), measure(site, {"construct": "intake"}, options)
    early = _early_symptoms(site, options)
    rows = []
    for window in options["questions"]["early_gains"]["windows"]:
        for items, scale in (("as_scored", None), ("without_improvement", WITHOUT_IMPROVEMENT)):
            definition = {"construct": "alliance", "window": window} | ({"scale": scale} if scale else {})
            alliance = measure(site, definition, options)
            if scale and alliance.reason:
                continue
            late = order_violations(alliance, outcome)
            overlap = gain_window_overlap(alliance, options)
            for covariates, held in ((INTAKE, [intake]), (INTAKE_AND_GAIN, [intake, early])):
                keys = {
                    "window": window,
                    "alliance_rater": options["alliance"]["rater"],
                    "outcome_rater": options["outcome"]["rater"],
                    "same_rater": "yes" if options["alliance"]["rater"] == options["outcome"]["rater"] else "no",
                    "items": items,
                    "covariates": covariates,
                }
                refused = bool(overlap) and covariates == INTAKE_AND_GAIN and options["questions"]["early_gains"]["refuse_overlap"]
                missing = next((one.reason for one in (alliance, outcome, *held) if one.reason), overlap if refused else "")
                columns = [one.values.reindex(clients).to_numpy(dtype=float) for one in (outcome, alliance, *held)]
                columns[1] = np.where(clients.isin(late), np.nan, columns[1])
                data = np.column_stack(columns)
                complete = np.isfinite(data).all(axis=1)
                n, minimum = int(complete.sum()), options["pooling"]["min_clients"]
                if missing or n < minimum:
                    reason = f"not estimable: {missing or f'needs at least {minimum} clients with all scores; has {n}'}"
                    absent = {"status": "not_estimable", "reason": reason, "method": "none", "n_clients": 0 if missing else n}
                    rows += [{**keys, **absent, "estimate_type": kind} for kind in SQUARES]
                    continue
                codes = None if therapists is None else therapists[complete]
                found = gain_share(data[complete, 0], data[complete, 1], data[complete, 2:], codes, level=options["pooling"]["level"])
                held_items = _improvement_items(site, alliance, items)
                caution = "; ".join(part for part in (overlap if covariates == INTAKE_AND_GAIN else "", held_items) if part)
                sessions = alliance.times["n_sessions"].reindex(clients[complete]).sum() if len(alliance.times) else np.nan
                rows += _gain_rows(found, keys, caution, len(clients), int(sessions), therapists is not None)
    return rows


def _improvement_items(site: SiteData, alliance: Measure, items: str) -> str:
    """Return in words that the alliance score holds items that describe improvement (claim E5); empty where it does not."""
    known = site.instruments.get(alliance.instrument)
    if items != "as_scored" or not getattr(known, "improvement_items", None):
        return ""
    return f"{alliance.instrument} holds items that describe improvement; see the row without them"


def _gain_rows(
    found: pd.DataFrame, keys: Mapping[str, Any], caution: str, total: int, sessions: int, therapists_known: bool
) -> list[dict[str, Any]]:
    rows = []
    for measured, kind in (("partial_r", "partial_correlation"), ("semipartial_r", "semipartial_correlation")):
        one = found.set_index("measure").loc[measured]
        estimated = one["status"] != "not_estimable"
        reason = "; ".join(part for part in (one["reason"], caution) if part)
        rows.append(
            {
                **keys,
                "estimate_type": kind,
                "estimate": one["estimate"],
                "variance": one["std_error"] ** 2 if estimated else np.nan,
                "n_clients": int(one["n"]),
                "n_therapists": int(one["n_clusters"]) if therapists_known else None,
                "n_sessions": sessions,
                "share_missing": 1 - one["n"] / total if total else None,
                "method": _method(one["method"], kind) if estimated else "none",
                "status": "not_estimable" if not estimated else "flagged" if reason else "estimated",
                "reason": reason if estimated else f"not estimable: {one['reason']}",
            }
        )
    return rows


def _method(method: str, kind: str) -> str:
    """Return how the error was found: a semipartial r has no formula for independent clients, so each was left out in turn."""
    return "client_jackknife" if method == "independent" and kind == "semipartial_correlation" else method


def _alliance_sessions(site: SiteData, options: Mapping[str, Any]) -> pd.DataFrame:
    """Return the session scores of the preferred alliance measure, ``client_no, session, alliance`` in SD of the site's session scores."""
    alliance = options["alliance"]
    for instrument in alliance["instruments"]:
        scores = site.scores
        chosen = (
            scores["instrument"].eq(instrument)
            & scores["scale"].eq(alliance["scale"])
            & scores["rater"].eq(alliance["rater"])
            & scores["timepoint"].eq("session")
            & scores["score"].notna()
            & scores["session"].notna()
        )
        if chosen.any():
            rows = scores.loc[chosen, ["client_no", "session", "score"]].astype("float64")
            rows = rows.groupby(["client_no", "session"], as_index=False)["score"].mean()
            spread = rows["score"].std()
            rows["alliance"] = (rows["score"] - rows["score"].mean()) / spread if spread > 0 else np.nan
            return rows.astype({"client_no": "int64", "session": "int64"})
    return pd.DataFrame(columns=["client_no", "session", "score", "alliance"])


def _growth(site: SiteData, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return how the alliance begins and grows in successful and other treatments (claim E1).

    A treatment is successful where the outcome is better than the intake level lets expect (residual gain above zero). Each client's line
    over at least three sessions gives a first level and a slope; both in SD of the site's session scores.
    """
    sessions = _alliance_sessions(site, options)
    outcome, intake = measure(site, {"construct": "outcome"}, options), measure(site, {"construct": "intake"}, options)
    gain = residual_gain(outcome.values, intake.values)
    sessions = sessions[sessions["client_no"].isin(gain.index)]
    centred = sessions.assign(at=sessions["session"] - 1.0)
    grouped = centred.groupby("client_no")
    enough = grouped["at"].transform("nunique") >= 3
    centred = centred[enough]
    lines = _lines(centred)
    clients = pd.Index(sorted(set(lines.index) & set(gain.index)), dtype="int64")
    kinds = {"level at session 1": "first", SLOPE_PER_SESSION: "slope"}
    common = {"hypothesis": "a", "estimate_type": "mean"}
    if len(clients) < options["pooling"]["min_clients"]:
        reason = (
            f"not estimable: needs at least {options['pooling']['min_clients']} clients with outcome, intake level and the alliance in "
            f"three sessions; has {len(clients)}"
        )
        absent = {"status": "not_estimable", "reason": reason, "method": "none", "n_clients": len(clients)}
        return [
            {**common, **absent, "statistic": kind, "group": group, "estimate_type": "mean_difference" if " - " in group else "mean"}
            for kind in kinds
            for group in ("successful", "other", "successful - other")
        ]
    good = (gain.reindex(clients) > 0).to_numpy()
    codes = _therapists(site, clients)
    rows = []
    for kind, column in kinds.items():
        values = lines.loc[clients, column].to_numpy(dtype=float)
        sums = np.column_stack([good, ~good, np.where(good, values, 0.0), np.where(good, 0.0, values)]).astype(float)

        def means(stack: np.ndarray) -> np.ndarray:
            first, second = stack[:, 2] / stack[:, 0], stack[:, 3] / stack[:, 1]
            return np.stack([first, second, first - second], axis=-1)

        found = jackknife(sums, means, 3, codes, min_rows=options["pooling"]["min_clients"])
        groups = (("successful", int(good.sum())), ("other", int((~good).sum())), ("successful - other", len(good)))
        for position, (group, n) in enumerate(groups):
            rows.append(
                {
                    **common,
                    **result_fields(found, codes is not None),
                    "statistic": kind,
                    "group": group,
                    "estimate_type": "mean_difference" if position == 2 else "mean",
                    "estimate": found.estimate[position],
                    "variance": found.vcov[position, position],
                    "n_clients": n,
                    "n_sessions": int(centred["client_no"].isin(clients).sum()),
                    "share_missing": 1 - len(clients) / len(_clients(site)),
                }
            )
    return rows


def _lines(rows: pd.DataFrame) -> pd.DataFrame:
    """Return each client's fitted level at session 1 and slope per session."""
    if rows.empty:
        return pd.DataFrame(columns=["first", "slope"], dtype=float)
    grouped = rows.groupby("client_no")
    x = rows["at"] - grouped["at"].transform("mean")
    slope = (x * rows["alliance"]).groupby(rows["client_no"]).sum() / (x * x).groupby(rows["client_no"]).sum()
    return pd.DataFrame({"first": grouped["alliance"].mean() - slope * grouped["at"].mean(), "slope": slope})


def _change_rule(site: SiteData, found: Measure, intake: np.ndarray, options: Mapping[str, Any]) -> tuple[Any, float | None, str]:
    """Return what counts as reliable change, the cut-off, and why they are not known.

    The configuration's figures come first, then the instrument's published ones, then the SD of this sample at intake with the
    configuration's reliability.
    """
    from alliance.statistics.change import published_reliable_change, reliable_change

    chosen = options["questions"]["early_gains"]["change"]
    known = site.instruments.get(found.instrument)
    published = getattr(known, "change", None)
    threshold = chosen["reliable_change"] if chosen["reliable_change"] is not None else getattr(published, "reliable", None)
    cutoff = chosen["cutoff"] if chosen["cutoff"] is not None else getattr(published, "cutoff", None)
    if threshold is not None:
        source = "the configuration" if chosen["reliable_change"] is not None else f"published for {found.instrument}"
        return published_reliable_change(threshold, source), cutoff, ""
    spread = float(np.nanstd(intake, ddof=1)) if np.isfinite(intake).sum() > 1 else np.nan
    if chosen["reliability"] is None or not spread > 0:
        return (
            None,
            cutoff,
            (
                f"needs reliable change of {found.instrument}: none is published in its file; set reliable_change or reliability under "
                "questions.early_gains.change"
            ),
        )
    source = f"SD of this sample at intake, reliability {chosen['reliability']:g} of the configuration"
    return reliable_change(spread, chosen["reliability"], source), cutoff, ""


def _change_categories(site: SiteData, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the shares of clients who recovered, improved, stayed, or became worse, by every denominator."""
    from alliance.statistics.change import CATEGORIES, DENOMINATORS, NOT_MEASURED, change_categories

    clients = _clients(site)
    outcome, intake = measure(site, {"construct": "outcome"}, options), measure(site, {"construct": "intake"}, options)
    sign = -1.0 if outcome.turned else 1.0
    before = sign * intake.values.reindex(clients).to_numpy(dtype=float)
    after = sign * outcome.values.reindex(clients).to_numpy(dtype=float)
    rule, cutoff, reason = _change_rule(site, outcome, before, options) if not outcome.reason else (None, None, outcome.reason)
    reason = (
        reason or intake.reason or ("" if cutoff is not None else f"needs a cut-off of {outcome.instrument}: set it in the configuration")
    )
    if reason:
        absent = {"estimate_type": "share", "status": "not_estimable", "reason": f"not estimable: {reason}", "method": "none"}
        return [
            {**absent, "denominator": of, "category": name}
            for of in DENOMINATORS
            for name in CATEGORIES
            if not (name == NOT_MEASURED and of.endswith("measured"))
        ]
    therapists = _therapists(site, clients)
    level = options["pooling"]["level"]
    found = change_categories(before, after, rule, cutoff, higher_is_better=not outcome.turned, clusters=therapists, level=level)
    rule_text = f"{outcome.source}: reliable change {rule.threshold:g} ({rule.source}), cut-off {cutoff:g}"
    return [
        {
            "denominator": row["denominator"],
            "category": row["category"],
            "rule": rule_text,
            **_share_fields(row, therapists is not None),
        }
        for row in found.to_dict("records")
    ]


def _share_fields(row: Mapping[str, Any], therapists_known: bool) -> dict[str, Any]:
    """Return the columns of ``estimates.csv`` of a share from :func:`alliance.statistics.change.proportion`."""
    robust = row["ci_low"] is not None and not pd.isna(row["ci_low"])
    estimated = row["status"] != "not_estimable"
    return {
        "estimate_type": "share",
        "estimate": row["share"] if estimated else np.nan,
        "variance": float(row["std_error"]) ** 2 if robust else np.nan,
        "ci_low": (row["ci_low"] if robust else row["wilson_low"]) if estimated else np.nan,
        "ci_high": (row["ci_high"] if robust else row["wilson_high"]) if estimated else np.nan,
        "n_clients": row["n"],
        "n_therapists": row["n_clusters"] if therapists_known else None,
        "share_missing": 0.0,
        "method": "counted" if estimated else "none",
        "status": row["status"],
        "reason": row["reason"] if estimated else f"not estimable: {row['reason']}",
    }


def _sudden_gains(site: SiteData, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return how many clients had sudden gains or losses, and the alliance around sudden gains (claim E6)."""
    from alliance.statistics import sudden_gains
    from alliance.statistics.change import proportion

    symptoms = options["symptoms"]
    scores, instrument = _symptom_matrix(site, options)
    wanted = [("gain", "clients with one"), ("gain", "clients with several"), ("gain", "reversed"), ("loss", "clients with one")]
    keys = [{"shift": shift, "statistic": statistic, "estimate_type": "share"} for shift, statistic in wanted]
    keys += [{"shift": "gain", "statistic": "mean size", "estimate_type": "mean"}]
    positions = [{"shift": "gain", "statistic": f"alliance {name}", "estimate_type": "mean_difference"} for name in sudden_gains.POSITIONS]
    if instrument is None:
        reason = (
            f"not estimable: needs {symptoms['rater']}-rated symptoms ({', '.join(symptoms['instruments']) or 'none listed'}) in sessions"
        )
        return [{**key, "status": "not_estimable", "reason": reason, "method": "none"} for key in [*keys, *positions]]
    direction = str(getattr(site.instruments.get(instrument), "direction", "")) != "higher_is_worse"
    cutoff, missing = _sudden_cutoff(site, instrument, scores, options)
    if cutoff is None:
        return [{**key, "status": "not_estimable", "reason": f"not estimable: {missing}", "method": "none"} for key in [*keys, *positions]]
    clients = scores.index
    therapists = _therapists(site, clients)
    rows = []
    level = options["pooling"]["level"]
    for shift in ("gain", "loss"):
        found = sudden_gains.intervals(scores.to_numpy(), cutoff, shift=shift, higher_is_better=direction)
        shifts = sudden_gains.shifts(scores.to_numpy(), clients, found, shift=shift, higher_is_better=direction)
        judged = np.isfinite(found.met).any(axis=1) if found.met.size else np.zeros(len(clients), dtype=bool)
        counts = shifts["client"].value_counts().reindex(clients, fill_value=0).to_numpy()
        codes = None if therapists is None else therapists[judged]
        rule = f"{instrument}: {cutoff:g} points, 25 % and stability (Tang & DeRubeis, 1999)"
        shares = {"clients with one": counts[judged] >= 1}
        if shift == "gain":
            shares["clients with several"] = counts[judged] >= 2
        for statistic, met in shares.items():
            fields = _share_fields(proportion(met, codes, level).__dict__, codes is not None)
            missing_share = 1 - judged.mean() if len(judged) else None
            rows.append({"shift": shift, "statistic": statistic, "rule": rule, **fields, "share_missing": missing_share})
        if shift == "gain":
            rows += _gain_details(shifts, therapists, clients, rule, level)
            rows += _around(site, shifts, clients[judged], options, rule)
    return rows


def _symptom_matrix(site: SiteData, options: Mapping[str, Any]) -> tuple[pd.DataFrame, str | None]:
    symptoms = options["symptoms"]
    for instrument in symptoms["instruments"]:
        scores = site.scores
        chosen = (
            scores["instrument"].eq(instrument)
            & scores["scale"].eq(symptoms["scale"])
            & scores["rater"].eq(symptoms["rater"])
            & scores["timepoint"].eq("session")
            & scores["score"].notna()
            & scores["session"].notna()
        )
        if chosen.any():
            rows = scores.loc[chosen, ["client_no", "session", "score"]].astype("float64")
            wide = rows.pivot_table(index="client_no", columns="session", values="score", aggfunc="mean")
            wide = wide.reindex(columns=np.arange(1, int(wide.columns.max()) + 1))
            wide.index = pd.Index(wide.index.astype("int64"), name="client_no")
            return wide, instrument
    return pd.DataFrame(), None


def _sudden_cutoff(site: SiteData, instrument: str, scores: pd.DataFrame, options: Mapping[str, Any]) -> tuple[float | None, str]:
    given = options["questions"]["early_gains"]["sudden_gain_points"]
    if given is not None:
        return given, ""
    first = scores.iloc[:, 0].to_numpy(dtype=float) if scores.shape[1] else np.array([])
    rule, _, reason = _change_rule(site, Measure(pd.Series(dtype=float), pd.DataFrame(), "symptoms", instrument=instrument), first, options)
    return (rule.threshold, "") if rule is not None else (None, reason)


def _gain_details(shifts: pd.DataFrame, therapists: np.ndarray | None, clients: pd.Index, rule: str, level: float) -> list[dict[str, Any]]:
    """Return the share of gains that were reversed and their mean size; gains of one therapist's clients may go together."""
    from alliance.statistics.change import proportion

    codes = None if therapists is None else therapists[clients.get_indexer(shifts["client"])]
    reversed_share = _share_fields(proportion(shifts["reversed"].to_numpy(dtype=bool), codes, level).__dict__, codes is not None)
    size = shifts["magnitude"].abs().to_numpy(dtype=float)
    sums = np.column_stack([np.ones(len(size)), size])
    found = jackknife(sums, lambda stack: stack[:, 1:] / stack[:, :1], 1, codes, min_rows=2)
    counted = {"n_clients": int(shifts["client"].nunique()), "rule": rule, "shift": "gain", "share_missing": 0.0}
    mean = {**result_fields(found, codes is not None), "estimate": found.estimate[0], "variance": found.vcov[0, 0]}
    if found.reason:
        mean["reason"] = f"not estimable: needs at least two sudden gains; has {len(size)}"
    if not len(size):
        reversed_share["reason"] = "not estimable: needs a sudden gain; has none"
    return [
        {**reversed_share, **counted, "statistic": "reversed"},
        {**mean, **counted, "statistic": "mean size", "estimate_type": "mean"},
    ]


def _around(site: SiteData, shifts: pd.DataFrame, judged: pd.Index, options: Mapping[str, Any], rule: str) -> list[dict[str, Any]]:
    from alliance.statistics import sudden_gains

    sessions = _alliance_sessions(site, options)
    frame = sessions.rename(columns={"client_no": "client"})[["client", "session", "alliance"]]
    clients = pd.Index(sorted(frame["client"].unique()), dtype="int64")
    codes = _therapists(site, clients)
    if codes is not None:
        frame = frame.assign(therapist=frame["client"].map(pd.Series(codes, index=clients)))
    if frame.empty or frame["alliance"].isna().all():
        reason = "not estimable: needs the alliance session by session"
        return [
            {
                "shift": "gain",
                "statistic": f"alliance {name}",
                "estimate_type": "mean_difference",
                "status": "not_estimable",
                "reason": reason,
                "method": "none",
                "rule": rule,
            }
            for name in sudden_gains.POSITIONS
        ]
    found = sudden_gains.around(frame, shifts, evaluable=judged, level=options["pooling"]["level"])
    rows = []
    for row in found.to_dict("records"):
        estimated = row["status"] != "not_estimable"
        rows.append(
            {
                "shift": "gain",
                "statistic": f"alliance {row['position']}",
                "estimate_type": "mean_difference",
                "rule": rule,
                "estimate": row["difference"],
                "variance": row["std_error"] ** 2 if estimated else np.nan,
                "ci_low": row["ci_low"],
                "ci_high": row["ci_high"],
                "n_clients": row["n_clients"],
                "n_therapists": row["n_clusters"] if codes is not None and not row["reason"] else None,
                "share_missing": None,
                "method": ("cluster_jackknife" if not row["reason"] else "client_jackknife") if estimated else "none",
                "status": row["status"],
                "reason": row["reason"] if estimated else f"not estimable: {row['reason']}",
                **{name: row[name] for name in AROUND_MEANS if estimated},
                **{name: int(row[name]) for name in AROUND_COUNTS},
            }
        )
    return rows


def pool(summaries: list[SiteSummary], options: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return the tables ``partial``, ``hypotheses``, ``sudden_gains`` and ``change_categories``; see the results dictionary.

    Parameters
    ----------
    summaries : list of SiteSummary
    options : mapping
        The keys of ``estimate_reads`` and ``pool_reads``.
    tables : mapping
        ``alliance_outcome/timing`` for the contrast of early and late alliance.
    """
    summaries = sorted(summaries, key=lambda one: one.site)
    gathered = effects.gather(summaries)
    found: dict[str, pd.DataFrame] = {}
    for name, keys in _KEYS.items():
        chosen = gathered[gathered["model"].eq(name)] if len(gathered) else gathered
        found[name] = _rows(chosen, keys, summaries, options) if len(chosen) else pd.DataFrame()
    found["sudden_gains"] = _with_gains(found["sudden_gains"])
    found["partial"] = effects.stack(found["partial"], effects.squared(found["partial"], SQUARES))
    found["hypotheses"] = _hypotheses(found["hypotheses"], found["partial"], tables["alliance_outcome/timing"], options)
    return {name: finish(found[name], "early_gains", name) for name in found}


def _rows(chosen: pd.DataFrame, keys: Sequence[str], summaries: Sequence[SiteSummary], options: Mapping[str, Any]) -> pd.DataFrame:
    pooling = options["pooling"]
    metric = "fisher_z" if pooling["metric"] == "fisher_z" else "identity"
    scale_of = chosen["estimate_type"].map(_SCALES).fillna("identity").replace("fisher_z", metric)
    parts = []
    for scale, part in chosen.groupby(scale_of, sort=True):
        numbered = effects.scaled(part, scale)
        pooled = effects.pooled_rows(numbered, list(keys), scale, pooling)
        parts += [
            effects.site_rows(numbered, scale, pooling["level"]),
            pooled,
            effects.absent_site_rows(summaries, pooled[list(keys)], scale),
        ]
    return effects.stack(*parts)


def _with_gains(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table of sudden gains with what stands behind the alliance around them: sums over sites, and means over their gains."""
    if table.empty or "n_gains" not in table:
        return table
    table = table.reset_index(drop=True)
    sites = table[table["site"].ne(POOLED) & table["status"].isin(WITH_NUMBERS) & table["estimate_type"].eq("mean_difference")]
    for at in table.index[table["site"].eq(POOLED) & table["estimate_type"].eq("mean_difference") & table["status"].isin(WITH_NUMBERS)]:
        own = sites[sites["statistic"].eq(table.at[at, "statistic"]) & sites["std_error"].notna()]
        gains = own["n_gains"].astype(float)
        for name in AROUND_COUNTS:
            table.at[at, name] = int(own[name].astype(float).sum())
        for name in AROUND_MEANS:
            table.at[at, name] = float((gains * own[name].astype(float)).sum() / gains.sum())
    return table


STATEMENTS = {
    "a": "the alliance follows progress: in successful treatments it begins no better and grows more",
    "b": "early measures of the alliance predict the outcome worse than late ones",
    "c": "nothing is left of the alliance when intake level and early symptoms are held constant",
}


def _hypotheses(growth: pd.DataFrame, partial: pd.DataFrame, timing: pd.DataFrame, options: Mapping[str, Any]) -> pd.DataFrame:
    """Return the tests of the three hypotheses of the alliance as an artifact, each with what it says about its hypothesis."""
    window = options["questions"]["early_gains"]["windows"][0]
    late = timing[timing["contrast"].eq("early - late") & timing["sessions"].eq("as_rated")].astype(object)
    late = late.assign(hypothesis="b", statistic="r of early minus r of late alliance with the outcome", group="")
    if len(partial):
        kept = partial[
            partial["estimate_type"].eq("partial_correlation")
            & partial["window"].eq(window)
            & partial["items"].eq("as_scored")
            & partial["covariates"].eq(INTAKE_AND_GAIN)
        ].assign(hypothesis="c", statistic=f"partial r given {INTAKE_AND_GAIN}, alliance of {window}", group="")
    else:
        kept = partial
    rows = effects.stack(growth, late, kept)
    if rows.empty:
        return rows
    decisions = [_decision(row) for row in rows.to_dict("records")]
    return rows.assign(statement=rows["hypothesis"].map(STATEMENTS), decision=decisions, claim="")


def _decision(row: Mapping[str, Any]) -> str:
    """Return what a row says about its hypothesis: supports, contradicts or undecided; empty where it alone says nothing."""
    if row["status"] not in WITH_NUMBERS or pd.isna(row.get("ci_low")):
        return "not estimable" if row["status"] not in WITH_NUMBERS else ""
    above, below = row["ci_low"] > 0, row["ci_high"] < 0
    if row["hypothesis"] == "a" and row["group"] == "successful - other":
        if row["statistic"].startswith("slope"):
            return "supports" if above else "contradicts" if below else "undecided"
        return "contradicts" if above else "undecided"
    if row["hypothesis"] == "b":
        return "supports" if below else "contradicts" if above else "undecided"
    if row["hypothesis"] == "c":
        return "contradicts" if above else "undecided"
    return ""


def methods(options: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> list[Sentence]:
    """Return what was done in this run, with citation keys."""
    partial, sudden, change = tables["partial"], tables["sudden_gains"], tables["change_categories"]
    sites = partial[partial["site"].ne(POOLED) & partial["status"].isin(WITH_NUMBERS)]
    if not any(table["status"].isin(WITH_NUMBERS).any() for table in tables.values()):
        return [Sentence("Early gains could not be judged: no site has the alliance, symptoms and the outcome of enough clients.")]
    sentences: list[Sentence] = []
    start, end = options["early_gain"]["window"]
    if len(sites):
        first = "intake" if start == 0 else f"session {start}"
        sentences.append(
            Sentence(
                f"What the alliance adds to intake level and early symptoms (change from {first} to session {end}, entered as the level at "
                f"session {end}) was estimated by partial and semipartial correlations at {sites['site'].nunique()} sites; their squares "
                "are the share of the variance that the covariates leave, and of all variance.",
                ("gaston_marmar_1991",),
            )
        )
        sentences += cluster_sentences(sites["method"])
        sentences.append(pooling_sentence(options["pooling"]))
    if sudden["status"].isin(WITH_NUMBERS).any():
        sentences.append(
            Sentence(
                "Sudden gains follow the three criteria of Tang and DeRubeis as the R package suddengains codes them (the third compares "
                "with the pooled standard deviation); shares were pooled as logits.",
                ("tang_derubeis_1999",),
            )
        )
    if change["status"].isin(WITH_NUMBERS).any():
        sentences.append(
            Sentence(
                "Clients were classified by reliable change and cut-off; only clients beyond the cut-off at intake can recover, and "
                "clients without a last score count as not measured: nothing was carried forward.",
                ("jacobson_truax_1991",),
            )
        )
    return sentences
