"""Does it matter whether two ratings agree, or are opposite: polynomial regression and response surfaces (claims K4, J3, F10, F11)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions import effects
from alliance.questions.alliance_outcome.levels import MIN_THERAPISTS
from alliance.questions.congruence.actor_partner import before_outcome, covariance_of, outcomes, settings, symptom_rows
from alliance.questions.congruence.dyads import (
    QUESTION,
    SUMMARIES_ONLY,
    SessionScores,
    column,
    dyads,
    named,
    not_estimable,
    notes,
    raters,
    session_table,
)
from alliance.questions.congruence.reliability import INDEX as RELIABILITY_INDEX
from alliance.questions.congruence.reliability import KIND as RELIABILITY
from alliance.questions.congruence.reliability import alliance_items, below, fields_of, reliabilities
from alliance.questions.contract import POOLED, WITH_NUMBERS
from alliance.questions.item_answers import ItemAnswers
from alliance.questions.moments import COLUMNS, Block, matrix_rows, moment_rows, read_block
from alliance.questions.part import VCOV, Part, stacked
from alliance.questions.sentences import Sentence
from alliance.questions.site_data import SiteData
from alliance.questions.summary import SiteSummary
from alliance.statistics.distributions import critical_value
from alliance.statistics.dyads import shares
from alliance.statistics.response_surface import (
    COEFFICIENTS,
    LINES,
    Polynomial,
    bands,
    compare_models,
    conditions,
    logistic_polynomial,
    polynomial,
    polynomial_over_sites,
    polynomial_terms,
    polynomial_within,
    surface,
    verdict,
)
from alliance.variables.checks import ALLIANCE_PREFIX, THERAPISTS_PREFIX
from alliance.variables.client import dropout, measure

NAME = "response_surface"
KEYS = ["surface", "kind", "outcome", "first", "second", "part", "term", "index", "same_rater", "estimate_type"]
CLIENT, WITHIN, BETWEEN = "client", "within_client", "between_client"
DROPOUT, SYMPTOMS, OUTCOME, ALLIANCE = "dropout", "symptoms", "outcome", "alliance"
REGION = ("x_mean", "y_mean", "x_sd", "y_sd", "xy_correlation")
VERDICT = "verdict"
COMFORTABLE = 10
FLAT = "no sure curvature (b3, b4 and b5 together do not differ from zero): axes may lie anywhere"
MULTIVARIATE, POOLED_COVARIANCE, ONE_STAGE = "multivariate_reml", "pooled_covariance", "one_stage"


@dataclass(frozen=True)
class Cases:
    """What a surface is fitted to at one site.

    Attributes
    ----------
    x, y, z : ndarray, shape (n,)
        Both ratings about one constant in one SD, and the outcome in SD (or 0 and 1).
    controls : ndarray, shape (n, q)
    client : ndarray, shape (n,)
    therapist : ndarray or None
    bands : ndarray, shape (n,)
        -1, 0, 1; by clients' values, or by sessions' deviations within clients.
    note, reason : str
    """

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    controls: np.ndarray
    client: np.ndarray
    therapist: np.ndarray | None
    bands: np.ndarray
    note: str = ""
    reason: str = ""

    @property
    def counts(self) -> dict[str, int | None]:
        """Rows, clients and therapists."""
        return {
            "n_sessions": len(self.x) if len(self.client) != len(np.unique(self.client)) else None,
            "n_clients": len(np.unique(self.client)),
            "n_therapists": None if self.therapist is None else len(np.unique(self.therapist)),
        }


def _no_cases(reason: str) -> Cases:
    nothing = np.zeros(0)
    return Cases(nothing, nothing, nothing, np.zeros((0, 0)), nothing.astype(int), None, nothing.astype(int), reason=reason)


def parts_of(content: Mapping[str, Any]) -> tuple[str, ...]:
    """Return at which levels a surface is fitted."""
    return (WITHIN, BETWEEN) if content["outcome"] == SYMPTOMS else (CLIENT,)


def of_alliance(content: Mapping[str, Any]) -> bool:
    """Return whether a surface is one of two raters' alliance, not of columns."""
    return content["x"].startswith(ALLIANCE_PREFIX)


def same_rater(content: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    """Return whether one person gave a rating and the outcome."""
    if content["outcome"] == DROPOUT:
        return "no"
    if not of_alliance(content):
        return "unknown"
    whose = options[content["outcome"]]["rater"]
    return "mixed" if f"{ALLIANCE_PREFIX}{whose}" in (content["x"], content["y"]) else "no"


def _values(site: SiteData, table: SessionScores, content: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[pd.DataFrame, str, str]:
    """Return both ratings of every client about one constant in one SD, what flags them, and why there are none.

    Columns ``x, y``, ``therapist`` (where known) and ``date`` (of the last rating; of columns none).
    """
    section = options["questions"][QUESTION]
    first, _ = raters(options)
    if of_alliance(content):
        found = dyads(site, table, options, section["scales"][0], section["windows"][0])
        if found.reason:
            return pd.DataFrame(), "", found.reason
        frame = found.clients()
        turned = content["x"] != f"{ALLIANCE_PREFIX}{first}"
        frame = frame.rename(columns={"first": "y", "second": "x"} if turned else {"first": "x", "second": "y"})
        middle, note = (found.low + found.high) / 2, found.note
        told = f"needs the range of answers to {found.source} for its midpoint"
    else:
        clients = pd.Index(np.sort(site.clients["client_no"].dropna().astype("int64").unique()) if len(site.clients) else [], dtype="int64")
        known = {name: column(site, table, content[name], clients) for name in ("x", "y")}
        reason = next((told for _, told in known.values() if told), "")
        if reason:
            return pd.DataFrame(), "", reason
        frame = pd.DataFrame({name: values for name, (values, _) in known.items()}, index=clients).assign(date=pd.NaT)
        frame = frame[frame[["x", "y"]].notna().all(axis=1)]
        codes = table.codes(frame.index) if len(frame) else None
        frame = frame if codes is None else frame.assign(therapist=codes)
        middle, note, told = 0.0, "", ""
    both = frame[["x", "y"]].to_numpy(dtype=float)
    spread = float(np.sqrt(both.var(axis=0, ddof=1).mean())) if len(both) > 1 else 0.0
    if not spread > 0:
        return pd.DataFrame(), "", "needs ratings that vary"
    centre = middle if section["centre"] == "midpoint" else float(both.mean())
    if not np.isfinite(centre):
        return pd.DataFrame(), "", told
    return frame.assign(x=(both[:, 0] - centre) / spread, y=(both[:, 1] - centre) / spread), note, ""


def cases(site: SiteData, table: SessionScores, content: Mapping[str, Any], part: str, options: Mapping[str, Any]) -> Cases:
    """Return what a surface of the configuration is fitted to at one site and level."""
    if site.published is not None:
        return _no_cases(SUMMARIES_ONLY)
    if content["outcome"] == SYMPTOMS:
        return _session_cases(site, table, content, part, options)
    frame, note, reason = _values(site, table, content, options)
    if reason:
        return _no_cases(reason)
    control = np.zeros((len(frame), 0))
    if content["outcome"] == OUTCOME:
        post, intake, dates, told = next(outcomes(site, options, [options["outcome"]["rater"]]))[1:]
        if told:
            return _no_cases(told)
        z, control = post.reindex(frame.index).to_numpy(dtype=float), intake.reindex(frame.index).to_numpy(dtype=float)[:, None]
        z = np.where(before_outcome(frame["date"], dates), z, np.nan)
    else:
        window = options["questions"][QUESTION]["windows"][0]
        found = (
            dropout(site, options["dropout"])
            if content["outcome"] == DROPOUT
            else measure(site, {"construct": ALLIANCE, "window": window}, options)
        )
        if found.reason:
            return _no_cases(f"needs {content['outcome']}: {found.reason}")
        z = found.values.reindex(frame.index).to_numpy(dtype=float)
        # As all outcomes, turned so that higher is better: 1 for clients who stayed.
        z = 1 - z if content["outcome"] == DROPOUT else z
    kept = np.isfinite(z) & np.isfinite(control).all(axis=1)
    frame, z, control = frame[kept], z[kept], control[kept]
    if content["outcome"] != DROPOUT and len(z) > 1 and z.std() > 0:
        z = (z - z.mean()) / z.std(ddof=1)
    therapist = frame["therapist"].to_numpy() if "therapist" in frame else None
    x, y = frame["x"].to_numpy(), frame["y"].to_numpy()
    return Cases(x, y, z, control, frame.index.to_numpy(), therapist, _bands(x, y, content, options), note)


def _bands(x: np.ndarray, y: np.ndarray, content: Mapping[str, Any], options: Mapping[str, Any]) -> np.ndarray:
    """Return on which side of the line of the claim a case lies; for complementarity the line is y = -x."""
    return bands(x, y if content["kind"] == "congruence" else -y, options["questions"][QUESTION]["band"])


def _session_cases(site: SiteData, table: SessionScores, content: Mapping[str, Any], part: str, options: Mapping[str, Any]) -> Cases:
    section = options["questions"][QUESTION]
    found = dyads(site, table, options, section["scales"][0], section["session_window"])
    if found.reason:
        return _no_cases(found.reason)
    rows, reason = symptom_rows(site, found, options)
    if reason:
        return _no_cases(reason)
    turned = content["x"] != f"{ALLIANCE_PREFIX}{raters(options)[0]}"
    rows = rows.rename(columns={"first": "y", "second": "x"} if turned else {"first": "x", "second": "y"})
    if part == BETWEEN:
        therapist = rows.groupby("client")["therapist"].first() if "therapist" in rows else None
        rows = rows.groupby("client")[["x", "y", "symptoms", "session"]].mean().reset_index()
        rows = rows if therapist is None else rows.assign(therapist=therapist.to_numpy())
    else:
        rows = rows[rows.groupby("client")["client"].transform("size") > 1].reset_index(drop=True)
        own = rows.groupby("client")[["x", "y"]].transform("mean") if len(rows) else rows[["x", "y"]]
        rows = rows.assign(x=rows["x"] - own["x"], y=rows["y"] - own["y"])
    both = rows[["x", "y"]].to_numpy(dtype=float)
    spread = float(np.sqrt(both.var(axis=0, ddof=1).mean())) if len(both) > 1 else 0.0
    if not spread > 0:
        return _no_cases("needs clients with two sessions or more that both rated, and ratings that vary")
    middle = (found.low + found.high) / 2 if section["centre"] == "midpoint" and part == BETWEEN else float(both.mean())
    if not np.isfinite(middle):
        return _no_cases(f"needs the range of answers to {found.source} for its midpoint")
    x, y = ((both - middle) / spread).T
    therapist = rows["therapist"].to_numpy() if "therapist" in rows else None
    session = rows[["session"]].to_numpy(dtype=float)
    return Cases(
        x,
        y,
        rows["symptoms"].to_numpy(dtype=float),
        session,
        rows["client"].to_numpy(),
        therapist,
        _bands(x, y, content, options),
        found.note,
    )


def _identity(name: str, content: Mapping[str, Any], part: str, options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "surface": name,
        "kind": content["kind"],
        "outcome": content["outcome"],
        "first": content["x"],
        "second": content["y"],
        "part": part,
        "same_rater": same_rater(content, options),
        "level": "session" if part == WITHIN else "client",
    }


def _row(keys: Mapping[str, Any], term: str, kind: str, **fields: Any) -> dict[str, Any]:
    return named({**keys, "term": term, "estimate_type": kind, **fields}, ["surface", "part", "term", "index", "estimate_type"])


def estimate(site: SiteData, table: SessionScores, options: Mapping[str, Any]) -> Part:
    """Return every surface of the configuration at one site."""
    part = Part()
    covariances: list[dict[str, Any]] = []
    moments = []
    answers = alliance_items(site) if any(map(of_alliance, options["questions"][QUESTION]["surfaces"].values())) else {}
    for name, content in options["questions"][QUESTION]["surfaces"].items():
        for level in parts_of(content):
            found = cases(site, table, content, level, options)
            keys = _identity(name, content, level, options)
            moments += _add_surface(part, covariances, keys, content, found, options)
            _add_reliability(part, keys, content, found, site, table, answers, options)
    part.covariances = pd.DataFrame(covariances, columns=VCOV) if covariances else stacked([], VCOV)
    part.moments = stacked(moments, COLUMNS)
    return part


def _add_reliability(
    part: Part,
    keys: Mapping[str, Any],
    content: Mapping[str, Any],
    found: Cases,
    site: SiteData,
    table: SessionScores,
    answers: Mapping[tuple[str, str], ItemAnswers],
    options: Mapping[str, Any],
) -> None:
    """Add how reliable both ratings, their squares and their product are, in the cases of the surface."""
    section = options["questions"][QUESTION]
    result, counts, reason = None, {"n_clients": 0}, found.reason
    if not reason and not of_alliance(content):
        counts, reason = found.counts, "needs answers to the items behind both ratings; columns are taken as they were sent"
    elif not reason:
        window = section["windows"][0] if keys["part"] == CLIENT else section["session_window"]
        rated = dyads(site, table, options, section["scales"][0], window)
        index = pd.Index(found.client, name="client_no")
        if keys["part"] == WITHIN:
            index = pd.MultiIndex.from_arrays([found.client, found.controls[:, 0].astype("int64")], names=["client_no", "session"])
        x, y = (pd.Series(values, index=index) for values in (found.x, found.y))
        therapist = None if found.therapist is None else pd.Series(found.therapist, index=index)
        result, counts, reason = reliabilities(site, answers, rated, content, x, y, therapist, keys["part"] == WITHIN, options)
    for term, (fields, variance) in fields_of(result, counts, reason, found.note, section["low_reliability"]).items():
        part.add({**_row(keys, term, RELIABILITY, index=RELIABILITY_INDEX), **fields}, variance)


def why_not(found: Cases, content: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    """Return why a surface can't be fitted: too few clients or therapists, or too few on one side of the line of the claim."""
    section, minimum = options["questions"][QUESTION], options["pooling"]["min_clients"]
    if found.reason:
        return found.reason
    counts = found.counts
    if counts["n_clients"] < minimum:
        return f"needs at least {minimum} clients with both ratings and the outcome; has {counts['n_clients']}"
    of_therapists = any(content[side].startswith(THERAPISTS_PREFIX) for side in ("x", "y"))
    if of_therapists and (counts["n_therapists"] is None or counts["n_therapists"] < MIN_THERAPISTS):
        return f"needs at least {MIN_THERAPISTS} therapists, who are what differs here; has {counts['n_therapists'] or 'none known'}"
    sides = {name: float((found.bands == code).mean()) for code, name in side_names(content).items() if code}
    fewest = min(sides, key=lambda name: sides[name])
    if sides[fewest] < section["least_share"]:
        return (
            f"needs at least {100 * section['least_share']:.0f} % of cases on either side of the line; has "
            f"{100 * sides[fewest]:.0f} % with {fewest}"
        )
    return ""


def side_names(content: Mapping[str, Any]) -> dict[int, str]:
    """Return what the bands of a surface are called."""
    if content["kind"] == "congruence":
        return {0: "x and y alike", -1: "x higher", 1: "y higher"}
    return {0: "x and y opposite", -1: "both high", 1: "both low"}


def fit(found: Cases, content: Mapping[str, Any], part: str) -> Polynomial:
    """Return the polynomial regression of a surface at one site."""
    if content["outcome"] == DROPOUT:
        return logistic_polynomial(found.x, found.y, found.z, None, found.therapist)
    if part == WITHIN:
        return polynomial_within(found.x, found.y, found.z, found.client, found.controls, found.therapist)
    return polynomial(found.x, found.y, found.z, found.controls, found.therapist)


def _add_surface(
    part: Part,
    covariances: list[dict[str, Any]],
    keys: Mapping[str, Any],
    content: Mapping[str, Any],
    found: Cases,
    options: Mapping[str, Any],
) -> list[pd.DataFrame]:
    """Add all rows of one surface at one level; return the moments that others need to compare models over sites."""
    counts = found.counts if not found.reason else {"n_clients": 0}
    reason = why_not(found, content, options)
    moments = []
    if not found.reason and counts["n_clients"] >= options["pooling"]["min_clients"]:
        _add_bands(part, {**keys, **counts}, content, found)
        moments.append(moment_rows(region_name(keys), ["x", "y"], np.column_stack([found.x, found.y]), keys["level"]))
    fitted = None if reason else fit(found, content, keys["part"])
    reason = reason or fitted.reason
    if reason:
        for term in ("b1", "a3", "a4") if content["kind"] == "congruence" else ("b1", "a1", "a2"):
            part.add(not_estimable(_row(keys, term, "surface_coefficient"), reason, counts))
        part.add(not_estimable(_row(keys, VERDICT, "criterion_met"), reason, counts))
        return moments
    keys = {**keys, **counts}
    few = ""
    if content["outcome"] != DROPOUT and fitted.n_rows < COMFORTABLE * (5 + found.controls.shape[1]):
        few = f"few cases: {fitted.n_rows / (5 + found.controls.shape[1]):.1f} for each term (convention: at least {COMFORTABLE})"
    rows = surface_rows(keys, content, fitted.b, fitted.vcov, fitted.df, options, fitted.curvature_p, (found.note, fitted.caution, few))
    for row, variance in rows:
        method = fitted.method if row["status"] != "not_estimable" else "none"
        part.add({"method": method, **row}, variance)
    names = {term: _row(keys, term, "surface_coefficient")["parameter"] for term in COEFFICIENTS}
    sent = fitted.vcov_to_pool
    for one in range(6):
        for other in range(one + 1, 6):
            if np.isfinite(sent[one, other]):
                pair = {"parameter1": names[COEFFICIENTS[one]], "parameter2": names[COEFFICIENTS[other]]}
                covariances.append({"model": NAME, **pair, "cov": float(sent[one, other])})
    if fitted.products is None:
        return moments
    levels = counts["n_clients"] if keys["part"] == WITHIN else 1
    _add_comparison(part, keys, compare_models(fitted.products, fitted.n_rows, levels, content["kind"]), found.note, "normal_theory")
    return [*moments, _block(keys, found, fitted)]


def block_name(keys: Mapping[str, Any]) -> str:
    """Return the name of the block of moments from which models are compared over sites."""
    return f"{NAME}:{keys['surface']}:{keys['part']}"


def region_name(keys: Mapping[str, Any]) -> str:
    """Return the name of the block that tells where the ratings lie."""
    return f"{block_name(keys)}:region"


def _block(keys: Mapping[str, Any], found: Cases, fitted: Polynomial) -> pd.DataFrame:
    """Return cross-products of the terms, controls and outcome about their means, as covariances with divisor n - 1."""
    names = moment_names(fitted.products.shape[0] - 6)
    mean = np.column_stack([polynomial_terms(found.x, found.y), found.controls, found.z]).mean(axis=0)
    return matrix_rows(block_name(keys), names, mean, fitted.products / (fitted.n_rows - 1), fitted.n_rows, keys["level"])


def moment_names(controls: int) -> list[str]:
    """Return the variables of a surface's block."""
    return ["x", "y", "xx", "xy", "yy", *(f"given{place + 1}" for place in range(controls)), "z"]


def surface_rows(
    keys: Mapping[str, Any],
    content: Mapping[str, Any],
    b: np.ndarray,
    vcov: np.ndarray,
    df: float,
    options: Mapping[str, Any],
    curvature_p: float,
    told: Sequence[str],
) -> list[tuple[dict[str, Any], float]]:
    """Return rows of coefficients, lines, axes, conditions and the verdict, each with its variance."""
    section, level = options["questions"][QUESTION], options["pooling"]["level"]
    rows: list[tuple[dict[str, Any], float]] = []
    for place, term in enumerate(COEFFICIENTS):
        if np.isfinite(b[place]):
            row = {**_row(keys, term, "surface_coefficient"), "estimate": float(b[place]), **notes(*told)}
            rows.append((row, float(vcov[place, place])))
    known = np.where(np.isfinite(b), b, 0.0)
    spread = np.where(np.isfinite(vcov), vcov, 0.0)
    found = surface(known, spread, df, level)
    curved = bool(curvature_p < 1 - level)
    flat = "" if curved else FLAT
    for one in found.itertuples(index=False):
        kind = "surface_coefficient" if one.name in LINES else "surface_axis"
        row = _row(keys, one.name, kind)
        if not np.isfinite(one.estimate):
            rows.append((not_estimable(row, "no finite value: the surface has no such axis"), np.nan))
            continue
        limits = {"estimate": one.estimate, "ci_low": one.ci_low, "ci_high": one.ci_high}
        rows.append(({**row, **limits, **notes(*told, flat if kind == "surface_axis" else "")}, one.std_error**2))
    bounds = {"axis": section["axis_bound"], "slope": section["slope_bound"]}
    judged = conditions(found, content["kind"], bounds, df, level, curved=curved)
    for one in judged:
        kind = "surface_axis" if one.name.startswith("p") else "surface_coefficient"
        row = _row(keys, one.name, kind, index="condition", bound=one.bound, p_equivalence=one.p_value, decision=one.decision)
        if not one.decision:
            rows.append(
                (not_estimable({**row, "bound": None, "p_equivalence": None}, "no finite value: the surface has no such axis"), np.nan)
            )
            continue
        limits = {"estimate": one.estimate, "ci_low": one.ci_low, "ci_high": one.ci_high}
        rows.append(({**row, **limits, **notes(*told, flat if kind == "surface_axis" else "")}, one.std_error**2))
    said = verdict(judged)
    row = _row(keys, VERDICT, "criterion_met", decision=said)
    if not said:
        rows.append((not_estimable(row, "needs a surface with principal axes"), np.nan))
    else:
        met = 1.0 if said in ("supported", "compatible") else 0.0
        rows.append(({**row, "estimate": met, **notes(*told, flat)}, np.nan))
    return rows


def _add_bands(part: Part, keys: Mapping[str, Any], content: Mapping[str, Any], found: Cases) -> None:
    names = side_names(content)
    member = np.column_stack([found.bands == code for code in names]).astype(float)
    therapist = found.therapist
    if keys["part"] == WITHIN:
        codes, client = np.unique(found.client, return_inverse=True)
        # Shares of sessions; a client's sessions stand together.
        made = _session_shares(member, client, len(codes), therapist)
    else:
        made = shares(member, therapist)
    for place, name in enumerate(names.values()):
        row = _row(keys, name, "share")
        if made.reason:
            part.add(not_estimable(row, made.reason))
        else:
            fields = {"estimate": float(made.estimate[place]), "method": made.method, **notes(found.note, made.caution)}
            part.add({**row, **fields}, float(made.vcov[place, place]))


def _session_shares(member: np.ndarray, client: np.ndarray, count: int, therapist: np.ndarray | None) -> Any:
    from alliance.statistics.covariance import cluster_sums
    from alliance.statistics.jackknife import jackknife

    rows = cluster_sums(np.column_stack([np.ones(len(member)), member]), client, count)
    first = np.zeros(count, dtype=int)
    first[client[::-1]] = np.arange(len(client))[::-1]
    clusters = None if therapist is None else therapist[first]
    return jackknife(rows, lambda total: total[..., 1:] / total[..., :1], member.shape[1], clusters)


def _add_comparison(part: Part, keys: Mapping[str, Any], found: pd.DataFrame, note: str, method: str) -> None:
    for row in comparison_rows(keys, found, note, method):
        part.add(row)


def comparison_rows(keys: Mapping[str, Any], found: pd.DataFrame, note: str, method: str) -> list[dict[str, Any]]:
    """Return the rows of models compared by corrected AIC."""
    rows = []
    for one in found.itertuples(index=False):
        for index, kind, value in (("aicc", "fit_index", one.aicc), ("weight", "akaike_weight", one.weight)):
            row = _row(keys, one.model, kind, index=index)
            if np.isfinite(value):
                rows.append({**row, "estimate": float(value), "method": method, **notes(note)})
            else:
                rows.append(not_estimable(row, "needs more cases than parameters for a corrected AIC"))
    return rows


def pool(
    gathered: pd.DataFrame, summaries: Sequence[SiteSummary], options: Mapping[str, Any], one_stage: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Return the table: rows of the sites; surfaces of coefficients pooled together; models compared within sites; rows of all sites."""
    pooling = options["pooling"]
    scales = gathered["estimate_type"].map({"share": "logit", RELIABILITY: effects.COMPLEMENT}).fillna("identity")
    frames = []
    for scale in ("identity", "logit", effects.COMPLEMENT):
        own = effects.scaled(gathered[scales.eq(scale)], scale)
        frames.append(effects.site_rows(own, scale, pooling["level"]))
        if scale != "identity":
            together = effects.pooled_rows(own, KEYS, scale, pooling)
            frames.append(_low_flagged(together, options) if scale == effects.COMPLEMENT else together)
    pooled: list[dict[str, Any]] = []
    for name, content in options["questions"][QUESTION]["surfaces"].items():
        for part in parts_of(content):
            keys = _identity(name, content, part, options)
            mine = gathered[gathered["surface"].eq(name) & gathered["part"].eq(part)]
            pooled += _pooled_surface(keys, content, mine, summaries, options)
            pooled += _pooled_comparison(keys, content, summaries, options)
            pooled += _region(keys, summaries, options)
    rows = pd.DataFrame(pooled)
    frames.append(rows.assign(site=POOLED, scale="identity") if len(rows) else rows)
    if one_stage is not None and len(one_stage):
        frames.append(one_stage)
    frames.append(effects.absent_site_rows(summaries, headline_keys(options), "identity"))
    return effects.stack(*frames)


def _low_flagged(pooled: pd.DataFrame, options: Mapping[str, Any]) -> pd.DataFrame:
    """Return pooled reliabilities, low ones flagged."""
    if pooled.empty:
        return pooled
    low = options["questions"][QUESTION]["low_reliability"]
    told = [below(value, low) if status in WITH_NUMBERS else "" for value, status in zip(pooled["estimate"], pooled["status"], strict=True)]
    reasons = ["; ".join(text for text in pair if text) for pair in zip(pooled["reason"], told, strict=True)]
    return pooled.assign(reason=reasons, status=np.where([bool(one) for one in told], "flagged", pooled["status"]))


def headline_keys(options: Mapping[str, Any]) -> pd.DataFrame:
    """Return the keys of the rows that stand for a site without an answer: the verdict on every surface."""
    rows = []
    for name, content in options["questions"][QUESTION]["surfaces"].items():
        for part in parts_of(content):
            row = _row(_identity(name, content, part, options), VERDICT, "criterion_met")
            rows.append({key: row.get(key, "") for key in KEYS})
    return pd.DataFrame(rows, columns=KEYS)


def _pooled_surface(
    keys: Mapping[str, Any], content: Mapping[str, Any], mine: pd.DataFrame, summaries: Sequence[SiteSummary], options: Mapping[str, Any]
) -> list[dict[str, Any]]:
    from alliance.statistics.multivariate_meta import pool_coefficients

    pooling = options["pooling"]
    coefficients = mine["term"].isin(COEFFICIENTS) & mine["index"].eq("")
    usable = mine[mine["status"].isin(WITH_NUMBERS) & coefficients & mine["variance"].notna()]
    sites = sorted(set(usable.loc[usable["term"].eq("b5"), "site"]))
    table = usable.set_index(["site", "term"])
    of_sites = [table.loc[(site, "b5")] for site in sites]
    counts = {}
    for name in ("n_sessions", "n_clients", "n_therapists"):
        values = [one[name] for one in of_sites]
        counts[name] = None if not values or any(pd.isna(value) for value in values) else int(sum(values))
    keys = {**keys, **counts, "n_sites": len(sites)}
    if len(sites) < pooling["min_sites"]:
        reason = effects.too_few_sites(len(sites), pooling).removeprefix("not estimable: ")
        terms = ("b1", *(("a3", "a4") if content["kind"] == "congruence" else ("a1", "a2")))
        absent = [not_estimable(_row(keys, term, "surface_coefficient"), reason) for term in terms]
        return [*absent, not_estimable(_row(keys, VERDICT, "criterion_met"), reason)]
    sent = covariance_of(summaries, NAME)
    terms = [term for term in COEFFICIENTS if all((site, term) in table.index for site in sites)]
    y = np.array([[table.loc[(site, term), "estimate"] for term in terms] for site in sites], dtype=float)
    v = np.zeros((len(sites), len(terms), len(terms)))
    for place, site in enumerate(sites):
        names = [table.loc[(site, term), "parameter"] for term in terms]
        for i, one in enumerate(names):
            for j, other in enumerate(names):
                v[place, i, j] = table.loc[(site, terms[i]), "variance"] if i == j else sent.get((site, one, other), 0.0)
    made = pool_coefficients(y, v, terms, **settings(pooling))
    if made.status == "not_estimable" or not np.isfinite(made.coefficients["estimate"]).all():
        reason = (made.reason or "the coefficients could not be pooled").removeprefix("not estimable: ")
        return [not_estimable(_row(keys, VERDICT, "criterion_met"), reason)]
    b, vcov = np.full(6, np.nan), np.full((6, 6), np.nan)
    at = [COEFFICIENTS.index(term) for term in terms]
    b[at], vcov[np.ix_(at, at)] = made.coefficients["estimate"], made.vcov
    df = np.inf if pooling["interval"] == "z" else len(sites) - 1.0
    flagged = effects.flagged_sites(sum(one["status"] == "flagged" for one in of_sites), len(sites))
    rows = surface_rows(keys, content, b, vcov, df, options, _curvature_p(b, vcov, df), (made.reason, flagged))
    headline = len(sites) >= pooling["headline_sites"]
    between = made.coefficients.set_index("name")
    told = []
    for row, variance in rows:
        error = float(np.sqrt(variance)) if np.isfinite(variance) else np.nan
        row = {**row, "std_error": error, "method": MULTIVARIATE if row["status"] != "not_estimable" else "none"}
        if row["term"] in between.index and row["status"] != "not_estimable":
            one = between.loc[row["term"]]
            row |= {name: one[name] for name in ("ci_low", "ci_high", "tau2", "tau2_low", "tau2_high", "prediction_low", "prediction_high")}
            row |= {"i2": one["i2"] / 100, "p_value": one["p_value"] if headline else np.nan}
        told.append(row)
    return told


def _curvature_p(b: np.ndarray, vcov: np.ndarray, df: float) -> float:
    """Return p of no curvature: F with 3 and the sites' degrees of freedom, chi-squared without."""
    from scipy import special

    wald = float(b[3:] @ np.linalg.pinv(vcov[3:, 3:]) @ b[3:])
    return float(special.chdtrc(3, wald) if not np.isfinite(df) else special.fdtrc(3, df, wald / 3))


def _blocks(keys: Mapping[str, Any], block: str, summaries: Sequence[SiteSummary]) -> list[tuple[SiteSummary, Block]]:
    found = []
    for one in sorted(summaries, key=lambda summary: summary.site):
        own = read_block(one.moments, block, keys["level"]) if one.status == "ok" and len(one.moments) else None
        if own is not None and own.complete:
            found.append((one, own))
    return found


def _block_counts(keys: Mapping[str, Any], found: Sequence[tuple[SiteSummary, Block]]) -> dict[str, Any]:
    """Return the numbers of sites, clients and rows behind blocks of moments."""
    clients = 0
    for one, _ in found:
        rows = one.estimates[one.estimates["surface"].eq(keys["surface"]) & one.estimates["part"].eq(keys["part"])]
        clients += int(rows["n_clients"].max())
    sessions = int(sum(own.n[0, 0] for _, own in found)) if keys["part"] == WITHIN else None
    return {"n_sites": len(found), "n_clients": clients, "n_sessions": sessions}


def _pooled_comparison(
    keys: Mapping[str, Any], content: Mapping[str, Any], summaries: Sequence[SiteSummary], options: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return models compared within sites, each with its own intercept."""
    found = _blocks(keys, block_name(keys), summaries)
    if len(found) < options["pooling"]["min_sites"]:
        return []
    products = sum(own.covariance * (own.n[0, 0] - 1) for _, own in found)
    counts = _block_counts(keys, found)
    levels = counts["n_clients"] if keys["part"] == WITHIN else len(found)
    n = int(sum(own.n[0, 0] for _, own in found))
    return comparison_rows({**keys, **counts}, compare_models(products, n, levels, content["kind"]), "", POOLED_COVARIANCE)


def _region(keys: Mapping[str, Any], summaries: Sequence[SiteSummary], options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return where the ratings of all sites lie: means, standard deviations and correlation within sites."""
    found = _blocks(keys, region_name(keys), summaries)
    if len(found) < options["pooling"]["min_sites"]:
        return []
    size = np.array([own.n[0, 0] for _, own in found])
    products = sum(own.covariance * (own.n[0, 0] - 1) for _, own in found)
    means = size @ np.array([own.mean for _, own in found]) / size.sum()
    spread = np.sqrt(np.diagonal(products) / (size.sum() - len(found)))
    values = (*means, *spread, products[0, 1] / np.sqrt(products[0, 0] * products[1, 1]))
    kinds = ("mean", "mean", "standard_deviation", "standard_deviation", "correlation")
    keys = {**keys, **_block_counts(keys, found)}
    return [
        {**_row(keys, term, kind), "estimate": float(value), "method": POOLED_COVARIANCE, **notes()}
        for term, kind, value in zip(REGION, kinds, values, strict=True)
    ]


def one_stage(sites: Iterable[SiteData], every_site: Sequence[str], options: Mapping[str, Any]) -> pd.DataFrame:
    """Return surfaces over the rows of all sites that share them, each site with its own intercept.

    Ratings and outcomes are in SD of the site, ratings about the site's one constant for both; the effect of what is held constant is one.
    """
    section = options["questions"][QUESTION]
    gathered: dict[tuple[str, str], list[tuple[str, Cases]]] = {}
    shared = []
    for site in sites:
        shared.append(site.site)
        table = session_table(site, options)
        for name, content in section["surfaces"].items():
            for part in parts_of(content):
                found = cases(site, table, content, part, options)
                if not found.reason and len(found.x):
                    gathered.setdefault((name, part), []).append((site.site, found))
    absent = sorted(set(every_site) - set(shared))
    rows = []
    for name, content in section["surfaces"].items():
        for part in parts_of(content):
            keys = {**_identity(name, content, part, options), "site": POOLED, "scale": "identity"}
            rows += _stage(keys, content, gathered.get((name, part), []), absent, options)
    # With one site there is nothing to join; a table without rows still has columns, or it could not be read again.
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=["surface", "part", "term", "site", "estimate_type", "status"])


def _stage(
    keys: Mapping[str, Any],
    content: Mapping[str, Any],
    found: Sequence[tuple[str, Cases]],
    absent: Sequence[str],
    options: Mapping[str, Any],
) -> list[dict[str, Any]]:
    if len(found) < options["pooling"]["min_sites"]:
        return []
    joined = _joined(found)
    site = np.concatenate([np.full(len(one.x), place) for place, (_, one) in enumerate(found)])
    counts = {**joined.counts, "n_sites": len(found)}
    keys = {**keys, **counts}
    reason = why_not(joined, content, options)
    fitted = None
    if not reason:
        if content["outcome"] == DROPOUT:
            dummies = (site[:, None] == np.arange(1, len(found))).astype(float)
            fitted = logistic_polynomial(joined.x, joined.y, joined.z, dummies - dummies.mean(axis=0), joined.therapist)
        elif keys["part"] == WITHIN:
            fitted = polynomial_within(joined.x, joined.y, joined.z, joined.client, joined.controls, joined.therapist)
        else:
            fitted = polynomial_over_sites(joined.x, joined.y, joined.z, site, joined.controls, joined.therapist)
        reason = fitted.reason
    if reason:
        return [{**not_estimable(_row(keys, VERDICT, "criterion_met"), reason), "method": ONE_STAGE}]
    told = f"without sites that share no rows: {', '.join(absent)}" if absent else ""
    alone = [name for name, one in found if why_not(one, content, options) or fit(one, content, keys["part"]).reason]
    # Where no site can be fitted alone, that is why the rows are joined at all.
    few = f"with the rows of {', '.join(alone)}, where no surface could be fitted alone" if 0 < len(alone) < len(found) else ""
    told = (joined.note, fitted.caution, told, few)
    rows = surface_rows(keys, content, fitted.b, fitted.vcov, fitted.df, options, fitted.curvature_p, told)
    margin = float(critical_value(options["pooling"]["level"], fitted.df))
    made = []
    for row, variance in rows:
        error = float(np.sqrt(variance)) if np.isfinite(variance) else np.nan
        row = {**row, "std_error": error, "method": ONE_STAGE}
        if row["status"] != "not_estimable" and "ci_low" not in row and np.isfinite(error):
            row |= {"ci_low": row["estimate"] - margin * error, "ci_high": row["estimate"] + margin * error}
        made.append(row)
    return made


def _joined(found: Sequence[tuple[str, Cases]]) -> Cases:
    """Return the cases of several sites in one, clients and therapists of different sites told apart."""
    parts = [one for _, one in found]
    client, therapist, clients, therapists = [], [], 0, 0
    known = all(one.therapist is not None for one in parts)
    for one in parts:
        codes = np.unique(one.client, return_inverse=True)[1]
        client.append(codes + clients)
        clients += int(codes.max()) + 1
        if known:
            codes = np.unique(one.therapist, return_inverse=True)[1]
            therapist.append(codes + therapists)
            therapists += int(codes.max()) + 1
    values = {name: np.concatenate([getattr(one, name) for one in parts]) for name in ("x", "y", "z", "controls", "bands")}
    note = next((one.note for one in parts if one.note), "")
    return Cases(**values, client=np.concatenate(client), therapist=np.concatenate(therapist) if known else None, note=note)


def methods(options: Mapping[str, Any], table: pd.DataFrame) -> list[Sentence]:
    """Return what was done in this run, with citation keys."""
    usable = table[table["status"].isin(WITH_NUMBERS)]
    section = options["questions"][QUESTION]
    if usable.empty:
        return []
    constant = "the midpoint of the scale" if section["centre"] == "midpoint" else "the mean of both ratings together"
    sentences = [
        Sentence(
            "Whether agreement matters was asked of polynomial regressions (both ratings, their squares and product), never of "
            "differences of "
            f"scores; both ratings are measured from {constant} in one SD of the site, outcomes are in SD of the site and turned so that "
            "higher is better (dropout: log odds of staying in treatment).",
            ("edwards_parry_1993", "shanock_2010"),
        ),
        Sentence(
            "A claim of congruence needs a ridge along the line of agreement (p10 = 0, p11 = 1), a fall on both sides of it (a4 < 0) and "
            "alike "
            "(a3 = 0); of complementarity the same of the line of opposites. It is called supported where equalities are shown within "
            f"bounds ({section['axis_bound']:g} for axes, {section['slope_bound']:g} for slopes), compatible where the fall is shown and "
            f"no "
            "equality excluded.",
            ("humberg_2019",),
        ),
        Sentence(
            f"A surface was not fitted where fewer than {100 * section['least_share']:.0f} % of cases lie on either side of the line by "
            f"more "
            f"than {section['band']:g} SD. Lines and axes have errors by the delta method from the covariance of the coefficients, which "
            f"leaves "
            "out each therapist in turn. Simpler models stand beside the full one by corrected AIC and Akaike weights.",
            ("shanock_2010",),
        ),
    ]
    if usable["estimate_type"].eq(RELIABILITY).any():
        text = (
            "How reliable the terms of these regressions are stands beside them: Cronbach's alpha of both ratings (of the clients' mean "
            "answers, or of deviations within clients) and what it implies for squares and product where ratings are normal; below "
            f"{section['low_reliability']:g} they are flagged (convention)."
        )
        sentences.append(Sentence(text, ("cronbach_1951", "bohrnstedt_marwell_1978")))
    if usable["part"].isin((WITHIN, BETWEEN)).any():
        sentences.append(
            Sentence(
                "Session by session, surfaces within clients (deviations from the client's own means, each client with a level of the "
                "outcome "
                "of his or her own) and between clients (means) are kept apart, the number of the session held constant.",
                ("nestler_2019",),
            )
        )
    if usable["site"].eq(POOLED).any():
        sentences.append(
            Sentence(
                "Coefficients of the sites were pooled together with their covariances (standard errors from leaving out therapists, "
                "correlations from leaving out clients) and surfaces follow from the pooled coefficients; beside them stands one "
                "regression of "
                "the rows of all sites, each with its own intercept.",
                ("jackson_riley_2014",),
            )
        )
    return sentences
