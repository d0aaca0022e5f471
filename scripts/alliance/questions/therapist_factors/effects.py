"""What therapists bring: traits and training on the alliance, its parts and its course, and with which clients (F9, F10, H7, H8)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions import effects
from alliance.questions.contract import POOLED, WITH_NUMBERS
from alliance.questions.part import VCOV, Part
from alliance.questions.sentences import Sentence, pooling_sentence
from alliance.questions.summary import SiteSummary
from alliance.questions.therapist_factors.sample import COURSE as SESSIONS
from alliance.questions.therapist_factors.sample import SUMMARIES_ONLY, Sample, of_client, of_therapist, scales
from alliance.statistics.distributions import critical_value
from alliance.statistics.therapist_effects import (
    TherapistRegression,
    detectable_noncentrality,
    detectable_r,
    therapist_regression,
)

LEVEL, COURSE, BEFORE_AFTER, INTERACTION = "level", "course", "before_after", "interaction"
KEYS = ["topic", "factor", "factor_kind", "alliance_scale", "contrast", "alliance_rater", "window", "same_rater", "estimate_type"]
MEANS, ONE_STAGE_MEANS = "therapist_means", "one_stage_therapist_means"
SELF_RATED = ("attachment", "introject", "other")
MIN_THERAPISTS = 5
TESTED = ("slope_standardised", "slope_contrast", "interaction_standardised", "slope_over_sessions", "mean_difference")


@dataclass(frozen=True)
class Found:
    """A number with its error before it becomes a row."""

    estimate: float
    std_error: float
    df: float
    caution: str = ""


def contrast_of(kind: str, options: Mapping[str, Any]) -> tuple[str, dict[str, float]]:
    """Return the contrast of the scales and their weights: what training should raise comes first, what attachment concerns comes first."""
    chosen = options["questions"]["therapist_factors"]["contrast"]
    mean_of, against = chosen["mean_of"], chosen["against"]
    together = f"({' + '.join(mean_of)}) / {len(mean_of)}" if len(mean_of) > 1 else mean_of[0]
    weights = {**{scale: 1 / len(mean_of) for scale in mean_of}, against: -1.0}
    if kind in ("attachment", "introject"):
        return f"{against} - {together}", {scale: -weight for scale, weight in weights.items()}
    return f"{together} - {against}", weights


def estimate(found: Sample, options: Mapping[str, Any], published: bool) -> Part:
    """Return the rows of one site.

    Parameters
    ----------
    found : Sample
        Of the site.
    options : mapping
        The keys of the question's ``estimate_reads``.
    published : bool
        Whether the site sends summaries only.
    """
    part = Part()
    known: list[dict[str, Any]] = []
    for rows, covariances in _blocks(found, options, one_stage=False):
        for row in rows:
            if published:
                row = absent(row, SUMMARIES_ONLY)
            part.add(row | {"level": "therapist"})
            part.variances[-1] = row.get("variance", np.nan)
            part.rows[-1].pop("variance", None)
        known += covariances
    part.covariances = pd.DataFrame(known, columns=VCOV)
    return part


def one_stage(found: Sample, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return rows over all sites that share rows: effects of therapists within sites, one regression (or mixed model) for all."""
    return [row for rows, _ in _blocks(found, options, one_stage=True) for row in rows]


def parameter(row: Mapping[str, Any]) -> str:
    """Return the name of a row within a site summary."""
    return "; ".join(f"{key}={row[key]}" for key in KEYS if key != "same_rater" and row.get(key))


def _blocks(found: Sample, options: Mapping[str, Any], one_stage: bool) -> Iterator[tuple[list[dict[str, Any]], list[dict[str, Any]]]]:
    """Yield rows and the covariances of their estimates."""
    question = options["questions"]["therapist_factors"]
    for window in question["windows"]:
        frame = found.clients.get(window, pd.DataFrame())
        share = _share_between(frame, options, one_stage)
        for factor, content in question["factors"].items():
            yield _level_rows(found, window, factor, content["kind"], share, options, one_stage)
    for factor, content in question["factors"].items():
        if content["kind"] == "alliance_training":
            yield _course_rows(found, factor, options, one_stage), []
    if any(content["kind"] == "alliance_training" for content in question["factors"].values()) and question["after_training"]:
        yield _before_after_rows(found, options, one_stage), []
    for pair in question["pairs"]:
        yield _interaction_rows(found, question["windows"][0], pair, options, one_stage), []


def _keys(topic: str, factor: str, kind: str, scale: str, contrast: str, window: str, options: Mapping[str, Any]) -> dict[str, Any]:
    rater = options["alliance"]["rater"]
    return {
        "topic": topic,
        "factor": factor,
        "factor_kind": kind,
        "alliance_scale": scale,
        "contrast": contrast,
        "alliance_rater": rater,
        "window": window,
        "same_rater": "yes" if rater == "therapist" and kind in SELF_RATED else "no",
    }


def counted(used: pd.DataFrame, everybody: Mapping[str, int], one_stage: bool) -> dict[str, Any]:
    """Return the counts of a row: clients, therapists, sessions, what clients lack, and over several sites their number."""
    clients = int(used["client"].nunique()) if len(used) else 0
    sessions = None if not len(used) else int(used["n_sessions"].sum()) if "n_sessions" in used else len(used)
    total = sum(n for site, n in everybody.items() if not len(used) or site in set(used["site"]))
    counts: dict[str, Any] = {
        "n_clients": clients,
        "n_therapists": int(used["therapist"].nunique()) if len(used) else 0,
        "n_sessions": sessions,
        "share_missing": 1 - clients / total if total else None,
    }
    return counts | {"n_sites": int(used["site"].nunique()) if len(used) else 0} if one_stage else counts


def few_sites(used: pd.DataFrame) -> str:
    """Return that a model over sites lacks sites, or nothing."""
    sites = used["site"].nunique() if len(used) else 0
    return "" if sites > 1 else f"needs the rows of several sites that have these; has {sites}"


def absent(row: Mapping[str, Any], reason: str) -> dict[str, Any]:
    kept = {key: value for key, value in row.items() if key not in ("estimate", "variance", "ci_low", "ci_high", "df", "p_joint")}
    return {**kept, "method": "none", "status": "not_estimable", "reason": f"not estimable: {reason}"}


def _filled(row: Mapping[str, Any], found: Found, method: str, options: Mapping[str, Any], therapists: float) -> dict[str, Any]:
    """Return a row with its numbers; flagged where its therapists could show only large effects."""
    question, level = options["questions"]["therapist_factors"], options["pooling"]["level"]
    margin = float(critical_value(level, found.df)) * found.std_error
    reasons = [found.caution, low_power(therapists, row["n_therapists"], question, level)]
    reason = "; ".join(one for one in reasons if one)
    return {
        **row,
        "estimate": found.estimate,
        "variance": found.std_error**2,
        "ci_low": found.estimate - margin,
        "ci_high": found.estimate + margin,
        "df": found.df,
        "method": method,
        "status": "flagged" if reason else "estimated",
        "reason": reason,
    }


def low_power(independent: float, therapists: int, question: Mapping[str, Any], level: float) -> str:
    """Return in words that so many therapists could show only large correlations; empty where they could show smaller ones."""
    smallest = detectable_r(independent, question["power"], level)
    if not smallest > question["low_power_r"]:
        return ""
    return f"with {therapists} therapists only a correlation of {smallest:.2f} or more could be detected (power {question['power']:g})"


def _share_between(frame: pd.DataFrame, options: Mapping[str, Any], one_stage: bool) -> float:
    """Return the share of the variance between therapists of a site of the mean of all scales, which weighs the therapists' means."""
    from alliance.statistics.multilevel import mixed_model

    wanted = [scale for scale in scales(options) if scale in frame]
    if not wanted or frame.empty:
        return 0.0
    rows = frame[["site", "therapist"]].assign(mean=frame[wanted].mean(axis=1)).dropna()
    if one_stage:
        model = mixed_model(rows, "mean", [], ["site", "therapist"], random={"site": ()}, absorbed={"site": ["1"]})
    else:
        model = mixed_model(rows, "mean", ["1"], ["therapist"])
    if model.fit is None:
        return 0.0
    between, within = (float(value) for value in model.variances["variance"].iloc[-2:])
    return between / (between + within)


def _level_rows(
    found_rows: Sample, window: str, factor: str, kind: str, share: float, options: Mapping[str, Any], one_stage: bool
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the slopes of all scales on one trait of therapists, their contrast, and the slopes' covariances."""
    frame, reasons = found_rows.clients.get(window, pd.DataFrame()), found_rows.reasons
    column = of_therapist(factor)
    wanted = scales(options)
    there = [scale for scale in wanted if scale in frame]
    used = frame[frame[[column, *there]].notna().all(axis=1)] if len(frame) and there and column in frame else frame.iloc[:0]
    counts = counted(used, found_rows.everybody, one_stage)
    name, weights = contrast_of(kind, options)
    rows = [
        {**_keys(LEVEL, factor, kind, scale, "", window, options), **counts, "estimate_type": "slope_standardised"} for scale in wanted
    ] + [{**_keys(LEVEL, factor, kind, "", name, window, options), **counts, "estimate_type": "slope_contrast"}]
    found = _regressed(used, column, there, share, options, one_stage) if len(used) else None
    general = (few_sites(used) if one_stage else "") or _general_reason(reasons, column, found, counts["n_clients"], options)
    if general or found is None:
        return [absent(row, general or "needs clients with the alliance") for row in rows], []
    method = ONE_STAGE_MEANS if one_stage else MEANS
    done, chosen = [], [scale for scale in wanted if scale in weights]
    for row in rows:
        lacking = [scale for scale in (chosen if row["contrast"] else [row["alliance_scale"]]) if scale not in there]
        if lacking:
            done.append(absent(row, reasons.get(lacking[0], f"needs the scale {lacking[0]} of the alliance")))
            continue
        own = weights if row["contrast"] else {row["alliance_scale"]: 1.0}
        numbers = found.combination([own.get(scale, 0.0) for scale in there])
        filled = _filled(row, Found(*numbers, found.df), method, options, found.df + 2)
        if row["contrast"]:
            filled["p_joint"] = found.joint_p([there.index(scale) for scale in chosen])
        done.append(filled)
    return done, [] if one_stage else _scale_covariances(done, there, found)


def _regressed(
    used: pd.DataFrame, column: str, there: Sequence[str], share: float, options: Mapping[str, Any], one_stage: bool
) -> TherapistRegression:
    if one_stage:
        # A site whose therapists cannot be compared with each other says nothing within sites.
        several = used.groupby("site")["therapist"].transform("nunique") > 1
        used = used[several]
    site = used["site"].to_numpy() if one_stage else None
    return therapist_regression(used[list(there)], used[column], used["therapist"].to_numpy(), share, site, min_therapists=MIN_THERAPISTS)


def _general_reason(reasons: Mapping[str, str], column: str, found: TherapistRegression | None, n: int, options: Mapping[str, Any]) -> str:
    minimum = options["pooling"]["min_clients"]
    for name in ("therapist", "alliance", column):
        if name in reasons:
            return reasons[name]
    if n < minimum:
        return f"needs at least {minimum} clients with the alliance whose therapists sent it; has {n}"
    return found.reason if found is not None else "needs clients with the alliance"


def _scale_covariances(rows: Sequence[Mapping[str, Any]], there: Sequence[str], found: TherapistRegression) -> list[dict[str, Any]]:
    names = {row["alliance_scale"]: parameter(row) for row in rows if not row["contrast"]}
    pairs = [(i, j) for i in range(len(there)) for j in range(i + 1, len(there))]
    return [{"parameter1": names[there[i]], "parameter2": names[there[j]], "cov": float(found.vcov[i, j])} for i, j in pairs]


def _modelled(
    rows: Sequence[Mapping[str, Any]],
    used: pd.DataFrame,
    outcome: str,
    fixed: Sequence[str],
    absorbed: Sequence[str],
    levels: Sequence[str],
    random: Mapping[str, Sequence[str]],
    terms: Sequence[str],
    options: Mapping[str, Any],
    one_stage: bool,
) -> list[dict[str, Any]]:
    """Return rows with effects of a mixed model; over several sites each has its own intercept and effects of ``absorbed``."""
    from alliance.statistics.multilevel import mixed_model

    if one_stage:
        settings = {"random": {"site": (), **random}, "absorbed": {"site": ["1", *absorbed]}}
        model = mixed_model(used, outcome, list(fixed), ["site", *levels], level=options["pooling"]["level"], **settings)
    else:
        model = mixed_model(used, outcome, ["1", *absorbed, *fixed], list(levels), random=random, level=options["pooling"]["level"])
    if model.fit is None:
        return [absent(row, model.reason) for row in rows]
    independent = used["therapist"].nunique() - (used["site"].nunique() - 1)
    method = "one_stage" if one_stage else "mixed_model"
    done = []
    for row, term in zip(rows, terms, strict=True):
        one = model.coefficients.loc[term]
        caution = model.reason if model.status == "flagged" else ""
        found = Found(float(one["estimate"]), float(one["std_error"]), float(one["df"]), caution)
        done.append(_filled(row, found, method, options, independent))
    return done


def _needs(
    used: pd.DataFrame, what: str, options: Mapping[str, Any], reasons: Mapping[str, str], columns: Sequence[str], one_stage: bool
) -> str:
    """Return why a mixed model of therapists cannot be fitted, or nothing."""
    for name in columns:
        if name in reasons:
            return reasons[name]
    if one_stage and (lacking := few_sites(used)):
        return lacking
    minimum = options["pooling"]["min_clients"]
    clients, therapists = (used[name].nunique() if len(used) else 0 for name in ("client", "therapist"))
    if clients < minimum or therapists < MIN_THERAPISTS:
        return f"needs at least {minimum} clients of {MIN_THERAPISTS} therapists with {what}; has {clients} of {therapists}"
    return ""


def _course_rows(found: Sample, factor: str, options: Mapping[str, Any], one_stage: bool) -> list[dict[str, Any]]:
    """Return whether the alliance changes more over sessions with therapists trained in it (claim H8)."""
    column = of_therapist(factor)
    frame = found.sessions
    used = frame[frame[[column, "alliance"]].notna().all(axis=1)] if len(frame) and column in frame else frame.iloc[:0]
    scale = options["alliance"]["scale"]
    row = {
        **_keys(COURSE, factor, "alliance_training", scale, "", "every session", options),
        **counted(used, found.everybody, one_stage),
        "estimate_type": "slope_over_sessions",
    }
    reason = _needs(used, "the alliance in sessions", options, found.reasons, ("therapist", "sessions", column), one_stage)
    if reason:
        return [absent(row, reason)]
    used = used.assign(level=used[column], by_session=used[column] * used[SESSIONS])
    random = {name: ("1", SESSIONS) for name in ("therapist", "client")}
    fixed = ["level", "by_session"]
    return _modelled([row], used, "alliance", fixed, [SESSIONS], ["therapist", "client"], random, ["by_session"], options, one_stage)


def _before_after_rows(found: Sample, options: Mapping[str, Any], one_stage: bool) -> list[dict[str, Any]]:
    """Return how the alliance of the same therapists differs before and after their training (interrupted series, claim H8)."""
    frame = found.sessions
    used = frame[frame[["after", "alliance"]].notna().all(axis=1)] if len(frame) else frame.iloc[:0]
    if len(used):
        both = used.groupby("therapist")["after"].transform("nunique") == 2
        used = used[both]
    column, scale = options["questions"]["therapist_factors"]["after_training"], options["alliance"]["scale"]
    keys = _keys(BEFORE_AFTER, column, "alliance_training", scale, "", "every session", options)
    counts = counted(used, found.everybody, one_stage)
    rows = [{**keys, **counts, "contrast": "after - before", "estimate_type": kind} for kind in ("mean_difference", "slope_over_sessions")]
    what = "sessions before and after the training"
    reason = _needs(used, what, options, found.reasons, ("therapist", "sessions", "after"), one_stage)
    if reason:
        return [absent(row, reason) for row in rows]
    # Sessions are counted from their middle, so that the difference in level is that of a session in the middle of treatment.
    centred = used[SESSIONS] - used[SESSIONS].mean()
    used = used.assign(**{SESSIONS: centred, "by_session": used["after"] * centred})
    random = {"therapist": ("1", "after"), "client": ("1", SESSIONS)}
    fixed = ["after", "by_session"]
    return _modelled(rows, used, "alliance", fixed, [SESSIONS], ["therapist", "client"], random, fixed, options, one_stage)


def _interaction_rows(
    found: Sample, window: str, pair: Mapping[str, str], options: Mapping[str, Any], one_stage: bool
) -> list[dict[str, Any]]:
    """Return the product of a client's and a therapist's trait on the alliance, beside both (claim F10)."""
    frame, reasons = found.clients.get(window, pd.DataFrame()), found.reasons
    client, therapist, scale = of_client(pair["client"]), of_therapist(pair["therapist"]), options["alliance"]["scale"]
    columns = [client, therapist, scale]
    used = frame[frame[columns].notna().all(axis=1)] if len(frame) and set(columns) <= set(frame) else frame.iloc[:0]
    name = f"client {pair['client']} x therapist {pair['therapist']}"
    row = {
        **_keys(INTERACTION, name, "other", scale, "", window, options),
        **counted(used, found.everybody, one_stage),
        "factor_kind": "dyad",
        "estimate_type": "interaction_standardised",
    }
    reason = _needs(used, "both traits and the alliance", options, reasons, ("therapist", "alliance", scale, client, therapist), one_stage)
    if reason:
        return [absent(row, reason)]
    trait = f"the client's {pair['client']}"
    used = used.assign(**{trait: used[client], "therapist_trait": used[therapist], "product": used[client] * used[therapist]})
    fixed = [trait, "therapist_trait", "product"]
    # The client's trait may matter more with some therapists for other reasons; without this the error of the product is too small.
    random = {"therapist": ("1", trait)}
    return _modelled([row], used, scale, fixed, [], ["therapist"], random, ["product"], options, one_stage)


def pool(
    gathered: pd.DataFrame, summaries: Sequence[SiteSummary], options: Mapping[str, Any], one_stage_rows: pd.DataFrame
) -> pd.DataFrame:
    """Return the table ``effects``: rows of sites, pooled over sites, and of all therapists at once."""
    pooling = options["pooling"]
    pooled = effects.pooled_rows(gathered, KEYS, "identity", pooling) if len(gathered) else pd.DataFrame()
    together = effects.with_sites(pooled, gathered, summaries, KEYS, "identity", pooling) if len(pooled) else pd.DataFrame()
    return with_power(effects.stack(together, one_stage_rows), options)


def with_power(rows: pd.DataFrame, options: Mapping[str, Any]) -> pd.DataFrame:
    """Return rows with the test against the bounds, the smallest detectable effect, and the smallest detectable correlation."""
    from alliance.statistics.equivalence import equivalence

    question, pooling = options["questions"]["therapist_factors"], options["pooling"]
    bound, power, level = question["equivalence_bound"], question["power"], pooling["level"]
    done = []
    for row in rows.to_dict("records"):
        therapists, sites = row.get("n_therapists"), row.get("n_sites")
        if pd.notna(therapists) and pd.notna(sites):
            row["detectable_r"] = detectable_r(float(therapists) - max(float(sites), 1.0) + 1, power, level)
        if row["status"] in WITH_NUMBERS and pd.notna(row.get("std_error")):
            df = _df(row, pooling)
            row["minimum_detectable"] = detectable_noncentrality(df, power, level) * row["std_error"]
            tested = equivalence(row["estimate"], row["std_error"], (-bound, bound), df, level)
            row |= {"bound": bound, "p_equivalence": tested.p_tost, "decision": tested.decision}
        done.append(row)
    return pd.DataFrame(done)


def _df(row: Mapping[str, Any], pooling: Mapping[str, Any]) -> float:
    if row["site"] == POOLED and pd.isna(row.get("df")):
        return np.inf if pooling["interval"] == "z" else float(row["n_sites"]) - 1
    return float(row["df"])


def methods(options: Mapping[str, Any], table: pd.DataFrame) -> list[Sentence]:
    """Return what was done in this run, with citation keys."""
    estimated = table[table["status"].isin(WITH_NUMBERS)]
    if estimated.empty:
        return [Sentence("What therapists bring could not be related to the alliance: see the reasons in the table.")]
    question, rater = options["questions"]["therapist_factors"], options["alliance"]["rater"]
    contrast = question["contrast"]
    named = f"{', '.join(contrast['mean_of'])} and {contrast['against']}"
    sentences = [
        Sentence(
            f"The {rater}-rated alliance ({named}, and {options['alliance']['scale']}) was related to what therapists sent, each in SD of "
            "the site, by regressing the therapists' means of all scales together, weighted by what a mean of so many clients is worth; "
            "slopes, their contrast and their tests have therapists - 2 degrees of freedom. Training enters as the level that was sent, "
            "in equal steps.",
            ("rencher_christensen_2012",),
        ),
        pooling_sentence(options["pooling"], "Slopes of sites were pooled"),
        Sentence(
            f"“No effect” was tested by two one-sided tests against ±{question['equivalence_bound']:g} SD; beside every estimate stands "
            f"the smallest effect that would be found with a power of {question['power']:g}.",
            ("schuirmann_1987",),
        ),
    ]
    if estimated["method"].eq(ONE_STAGE_MEANS).any():
        text = "Beside that, the means of all therapists of all sites that share rows were regressed at once, with an intercept a site."
        sentences.append(Sentence(text))
    if estimated["topic"].isin((INTERACTION, COURSE, BEFORE_AFTER)).any():
        text = (
            "Products of a client's and a therapist's trait, and change over sessions by training, come from linear mixed models with "
            "Satterthwaite's degrees of freedom, in which the client's trait (or change) varies over therapists."
        )
        sentences.append(Sentence(text, ("kuznetsova_2017",)))
    return sentences
