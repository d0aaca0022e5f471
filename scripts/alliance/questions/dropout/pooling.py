"""Tables of the question on dropout from what sites send: pooled ratios and risks, curves from sums, definitions, calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions import effects
from alliance.questions.contract import POOLED, WITH_NUMBERS
from alliance.questions.dropout import curves, models
from alliance.questions.dropout import periods as spans
from alliance.questions.sentences import Sentence, pooling_sentence
from alliance.questions.summary import SiteSummary
from alliance.statistics.competing_risks import cumulative_incidence

HAZARD_KEYS = ["definition", "cause", "hazard_model", "link", "therapists", "term", "session", "same_rater", "estimate_type"]
SURVIVAL_KEYS = ["definition", "group", "session", "estimate_type"]
DEFINITION_KEYS = ["definition", "compared_with", "estimate_type"]
CALIBRATION_KEYS = ["definition", "validation", "statistic", "group", "session", "estimate_type"]
SCALES = {
    "hazard_ratio": effects.RATIO,
    "odds_ratio": effects.RATIO,
    "observed_to_expected": effects.RATIO,
    "cumulative_risk": "logit",
    "share": "logit",
}
NOT_POOLED = "frailty_sd"


def tables_of(
    gathered: pd.DataFrame, summaries: Sequence[SiteSummary], options: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]
) -> dict[str, pd.DataFrame]:
    """Return the tables ``hazard``, ``survival``, ``definitions`` and ``calibration``, not yet in their final form."""
    of = {
        name: gathered[gathered["model"].eq(name)] if len(gathered) else gathered
        for name in ("hazard", "survival", "definitions", "calibration")
    }
    one_stage = _read(tables.get("one_stage", pd.DataFrame()))
    hazards = _hazard(of["hazard"], summaries, options, one_stage)
    found = {
        "hazard": hazards,
        "survival": _survival(of["survival"], summaries, options),
        "definitions": _definitions(of["definitions"], hazards, summaries, options),
        "calibration": _calibration(of["calibration"], summaries, options, one_stage),
    }
    return {name: _with_sessions(frame) for name, frame in found.items()}


def _read(one_stage: pd.DataFrame) -> pd.DataFrame:
    """Return what was fitted over the rows of all sites, with empty text where there is none."""
    if one_stage.empty:
        return one_stage
    text = dict.fromkeys((*HAZARD_KEYS, *CALIBRATION_KEYS, "table", "site", "reason", "status", "method"))
    whole = one_stage.reindex(columns=[*one_stage, *(name for name in text if name not in one_stage)])
    filled = whole.astype(dict.fromkeys(text, object)).fillna(dict.fromkeys(text, ""))
    for name in ("session", "group"):
        filled[name] = [str(int(float(value))) if str(value).replace(".", "").isdigit() else str(value) for value in filled[name]]
    return filled


def _with_sessions(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table with its sessions as numbers."""
    return frame.assign(session=pd.to_numeric(frame["session"], errors="coerce")) if "session" in frame else frame


def _rows(
    chosen: pd.DataFrame, keys: Sequence[str], summaries: Sequence[SiteSummary], options: Mapping[str, Any]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of sites (those of sites without an answer too) and pooled rows, each kind of estimate on its scale."""
    pooling, sites, pooled = options["pooling"], [], []
    scale_of = chosen["estimate_type"].map(SCALES).fillna("identity")
    for scale, part in chosen.groupby(scale_of, sort=True):
        numbered = effects.scaled(part, scale)
        together = effects.pooled_rows(numbered, list(keys), scale, pooling)
        sites += [
            effects.site_rows(numbered, scale, pooling["level"]),
            effects.absent_site_rows(summaries, together[list(keys)], scale),
        ]
        pooled.append(_with_events(together, numbered, keys))
    return effects.stack(*sites), effects.stack(*pooled)


def _with_events(pooled: pd.DataFrame, numbered: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Return pooled rows with the events of the sites behind them."""
    if "n_events" not in numbered or pooled.empty:
        return pooled
    used = numbered[numbered["y"].notna() & numbered["v"].notna()]
    counted = used.assign(n_events=used["n_events"].astype("float64")).groupby(list(keys))["n_events"].sum(min_count=1)
    of_rows = pd.MultiIndex.from_frame(pooled[list(keys)])
    return pooled.assign(n_events=counted.reindex(of_rows).to_numpy())


def _hazard(chosen: pd.DataFrame, summaries: Sequence[SiteSummary], options: Mapping[str, Any], one_stage: pd.DataFrame) -> pd.DataFrame:
    if chosen.empty:
        return chosen
    # Who judged endings differs between sites; what is pooled over them says so.
    by = [name for name in HAZARD_KEYS if name != "same_rater"]
    agreed = chosen.groupby(by)["same_rater"].transform(_agreed)
    spread = chosen["estimate_type"].eq(NOT_POOLED)
    sites, pooled = _rows(chosen[~spread].assign(same_rater=agreed[~spread]), HAZARD_KEYS, summaries, options)
    own = chosen.assign(key=chosen["model"] + " " + chosen["parameter"]).set_index(["site", "key"])["same_rater"]
    if len(sites) and "parameter" in sites:
        named = pd.MultiIndex.from_arrays([sites["site"], sites["model"].astype(str) + " " + sites["parameter"].astype(str)])
        sites["same_rater"] = pd.Series(own.reindex(named).to_numpy(), index=sites.index).fillna(sites["same_rater"])
    frailties = effects.site_rows(effects.scaled(chosen[spread], "identity"), "identity", options["pooling"]["level"])
    beside = one_stage[one_stage["table"].eq("hazard")] if len(one_stage) else one_stage
    if len(beside):
        rater = {tuple(row[name] for name in by): row["same_rater"] for row in pooled.to_dict("records")}
        beside = beside.assign(same_rater=[rater.get(tuple(row[name] for name in by), "") for row in beside.to_dict("records")])
    return effects.stack(sites, frailties, pooled, beside)


def _agreed(values: pd.Series) -> str:
    known = sorted(set(values) - {"", "unknown"})
    return known[0] if len(known) == 1 else "mixed" if known else sorted(set(values))[-1]


def _survival(chosen: pd.DataFrame, summaries: Sequence[SiteSummary], options: Mapping[str, Any]) -> pd.DataFrame:
    """Return the curves of sites, and those of all sites together from the sums of clients at risk and of endings."""
    pooling = options["pooling"]
    main = options["dropout"]["definition"]
    sites = effects.site_rows(effects.scaled(chosen, "identity"), "identity", pooling["level"]) if len(chosen) else chosen
    pooled: list[dict[str, Any]] = []
    for group in (curves.EVERYONE, *spans.THIRDS):
        sums, names = _sums(summaries, group, main)
        if len(names) < pooling["min_sites"]:
            reason = f"needs at least {pooling['min_sites']} sites with clients at risk; has {len(names)}"
            pooled += [{**row, "n_sites": len(names)} for row in curves._no_curve(main, group, reason)]
            continue
        curve = cumulative_incidence(*(sums[name] for name in curves.COUNTS))
        common = {"definition": main, "group": group, "n_clients": sums["at_risk"][0], "n_sites": len(names), "method": "pooled_counts"}
        errors = (curve.staying_error, curve.incidence_error)
        pooled += curves.curve_fields(common, sums, (curve.staying, curve.incidence), errors, pooling["level"])
    rows = pd.DataFrame(pooled).assign(site=POOLED, scale="identity")
    rows["std_error"] = np.sqrt(rows["variance"].astype(float)) if "variance" in rows else np.nan
    absent = effects.absent_site_rows(summaries, rows[rows["session"].eq("1")][SURVIVAL_KEYS].drop_duplicates(), "identity")
    return effects.stack(sites, absent, rows)


def _sums(summaries: Sequence[SiteSummary], group: str, definition: str) -> tuple[dict[str, list[int]], list[str]]:
    """Return counts by session added up over sites, and the sites that have any."""
    found = {}
    for one in summaries:
        sent = one.facts.get("survival") if one.status == "ok" else None
        if sent and sent.get("definition") == definition and sent["groups"].get(group):
            found[one.site] = sent["groups"][group]
    longest = max((len(counts["at_risk"]) for counts in found.values()), default=0)
    sums = {
        name: np.sum([np.pad(counts[name], (0, longest - len(counts[name]))) for counts in found.values()], axis=0).astype(int).tolist()
        for name in curves.COUNTS
        if found
    }
    return sums, list(found)


def _definitions(chosen: pd.DataFrame, hazards: pd.DataFrame, summaries: Sequence[SiteSummary], options: Mapping[str, Any]) -> pd.DataFrame:
    sites, pooled = _rows(chosen, DEFINITION_KEYS, summaries, options) if len(chosen) else (chosen, chosen)
    if hazards.empty:
        return effects.stack(sites, pooled)
    ratios = hazards[
        hazards["cause"].eq(models.LEAVING)
        & hazards["hazard_model"].eq(models.FIRST_SESSION)
        & hazards["link"].eq("cloglog")
        & hazards["therapists"].eq(models.FRAILTY)
        & hazards["term"].eq(spans.FIRST)
    ]
    return effects.stack(sites, pooled, ratios.assign(compared_with=""))


def _calibration(
    chosen: pd.DataFrame, summaries: Sequence[SiteSummary], options: Mapping[str, Any], one_stage: pd.DataFrame
) -> pd.DataFrame:
    """Return the calibration at each site, pooled, in groups over all sites, and of sites left out in turn where rows are shared."""
    grouped = chosen["estimate_type"].eq(curves.RISK) if len(chosen) else pd.Series(dtype=bool)
    frames = []
    if len(chosen):
        sites, pooled = _rows(chosen[~grouped], CALIBRATION_KEYS, summaries, options)
        shown = effects.site_rows(effects.scaled(chosen[grouped], "identity"), "identity", options["pooling"]["level"])
        frames += [sites, pooled, shown]
    frames.append(_calibration_groups(summaries, options))
    left_out = one_stage[one_stage["table"].eq("calibration")] if len(one_stage) else one_stage
    if len(left_out):
        frames += _rows(left_out.drop(columns="table"), CALIBRATION_KEYS, (), options)
    return effects.stack(*frames)


def _calibration_groups(summaries: Sequence[SiteSummary], options: Mapping[str, Any]) -> pd.DataFrame:
    """Return predicted and observed risks by group of predicted risk from sums over sites that told of the same session."""
    sent = {
        one.site: one.facts["calibration"]
        for one in summaries
        if one.status == "ok"
        and one.facts.get("calibration")
        and one.facts["calibration"]["definition"] == options["dropout"]["definition"]
    }
    horizon = max(options["questions"]["dropout"]["horizons"])
    sent = {site: facts for site, facts in sent.items() if facts["session"] == horizon}
    common = {
        "definition": options["dropout"]["definition"],
        "validation": curves.THERAPISTS_LEFT_OUT,
        "session": str(horizon),
        "estimate_type": curves.RISK,
        "site": POOLED,
        "scale": "identity",
        "n_sites": len(sent),
    }
    if len(sent) < options["pooling"]["min_sites"]:
        reason = (
            f"not estimable: needs at least {options['pooling']['min_sites']} sites with predictions for session {horizon}; has {len(sent)}"
        )
        absent = {"group": "1", "status": "not_estimable", "reason": reason, "method": "none"}
        return pd.DataFrame([{**common, **absent, "statistic": name} for name in (curves.PREDICTED, curves.OBSERVED)])
    groups: dict[str, dict[str, Any]] = {}
    for group in sorted({name for facts in sent.values() for name in facts["groups"]}, key=int):
        here = [facts["groups"][group] for facts in sent.values() if group in facts["groups"]]
        groups[group] = {
            "n": sum(one["n"] for one in here),
            "predicted": sum(one["predicted"] for one in here),
            **({"therapists": sum(one["therapists"] for one in here)} if all("therapists" in one for one in here) else {}),
            **{name: np.sum([one[name] for one in here], axis=0).astype(int).tolist() for name in curves.COUNTS},
        }
    facts = {"definition": common["definition"], "validation": common["validation"], "session": horizon, "groups": groups}
    rows = pd.DataFrame(curves.group_rows(facts, options["pooling"]["level"], "pooled_counts"))
    rows["std_error"] = np.sqrt(rows["variance"].astype(float)) if "variance" in rows else np.nan
    return rows.assign(**{name: value for name, value in common.items() if name not in rows})


def methods(options: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> list[Sentence]:
    """Return what was done in this run, with citation keys."""
    hazards, survival, shown = tables["hazard"], tables["survival"], tables["calibration"]
    known = hazards[hazards["status"].isin(WITH_NUMBERS)]
    counted = survival["status"].isin(WITH_NUMBERS)
    if known.empty and not counted.any():
        return [Sentence("Leaving treatment could not be studied: no site has sessions, endings and enough clients who left.")]
    question, main = options["questions"]["dropout"], options["dropout"]["definition"]
    sentences = [
        Sentence(
            f"Dropout is leaving by the definition “{main}”; after every attended session it was asked whether the client came again. "
            "Treatments that were broken off from outside or still go on are censored before their last session, since it is not known "
            "whether these clients would have come again; planned endings compete with dropout."
        )
    ]
    if len(known):
        form = {
            "log": "changes by a constant factor with every doubling of the number of the session",
            "steps": f"is constant within steps that begin at sessions {', '.join(map(str, [1, *question['steps']]))}",
        }[question["baseline"]]
        sentences.append(
            Sentence(
                "Hazards were modelled in discrete time by binomial regression with the complementary log-log link, whose coefficients are "
                f"log hazard ratios, and beside it with the logit link; the hazard {form}. Alliance and intake severity are in standard "
                "deviations of the site.",
                ("prentice_gloeckler_1978", "singer_willett_1993"),
            )
        )
    carry = question["carry"]
    if carry and known["term"].eq(spans.CHANGE).any():
        sentences.append(
            Sentence(
                "For the change of the alliance since the first session, the last rating stands in for up to "
                f"{carry} session{'s' if carry > 1 else ''} without one; no outcome is carried forward."
            )
        )
    if known["method"].isin(("hazard_frailty", "hazard_one_stage")).any():
        sentences.append(
            Sentence(
                "Clients of one therapist share a normal random intercept (frailty), integrated out by adaptive Gauss-Hermite quadrature; "
                "that there is none was tested by the likelihood ratio at the boundary.",
                ("pinheiro_bates_1995", "self_liang_1987"),
            )
        )
    if known["cause"].eq(models.SUBDISTRIBUTION).any():
        sentences.append(
            Sentence(
                "For the subdistribution hazard of dropout, clients who ended as planned stayed at risk, weighted for censoring.",
                ("berger_2020",),
            )
        )
    if known["estimate_type"].eq("risk_difference").any():
        half = question["contrast"] / 2
        sentences.append(
            Sentence(
                f"Risks of dropout at a first-session alliance of {half:g} SD above and below the mean follow from the hazards of dropout "
                "and of planned endings and were averaged over the clients; their errors come from leaving out each therapist in turn."
            )
        )
    if counted.any():
        sentences.append(
            Sentence(
                "Shares still in treatment and risks of dropout by session are Kaplan-Meier and Aalen-Johansen estimates by third of "
                "the site’s first-session alliance; over sites they rest on sums of clients at risk and of endings, with errors that take "
                f"clients as independent. Curves stop where fewer than {curves.SMALLEST_CELL} clients are at risk.",
                ("aalen_johansen_1978",),
            )
        )
    if shown["status"].isin(WITH_NUMBERS).any():
        told = "Calibration was judged on the clients of therapists that the model was fitted without"
        if shown["validation"].eq(curves.SITES_LEFT_OUT).any():
            told += ", and on sites that it was fitted without where sites share rows"
        sentences.append(
            Sentence(f"{told}: observed against expected dropouts, and the slope of the predicted risk.", ("steyerberg_2019",))
        )
    if known["hazard_model"].eq(models.PHASE_ONE).any():
        begin, end = question["phase_one"]["sessions"]
        rule = {
            "lowest_third": "the mean alliance of these sessions lies in the lowest third of the site",
            "below_mean_by": f"it lies {question['phase_one']['amount']} SD or more below the site’s mean",
            "drop_by": f"it lies {question['phase_one']['amount']} SD or more below the client’s first-session alliance",
        }[question["phase_one"]["rule"]]
        sentences.append(
            Sentence(
                f"Phase 1 of the alliance (sessions {begin} to {end}) counts as failed where {rule}; only clients who came beyond session "
                f"{end} are compared, in what happened after it (landmark analysis).",
                ("anderson_1983",),
            )
        )
    if (known["site"].eq(POOLED) & known["method"].str.startswith("two_stage")).any():
        sentences.append(pooling_sentence(options["pooling"], "Log hazard and odds ratios were pooled"))
    if known["method"].eq("hazard_one_stage").any():
        sentences.append(
            Sentence("Beside these stands one model over the rows of all sites that share them, with an intercept for every site.")
        )
    return sentences
