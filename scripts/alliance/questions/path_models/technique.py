"""Technique and alliance of one session, and symptoms of a later one: do they depend on each other within clients? (claim J2)"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions import effects
from alliance.questions.contract import WITH_NUMBERS
from alliance.questions.part import Part
from alliance.questions.path_models.conditions import KEYS
from alliance.questions.path_models.mediation import Sessions, named, out_of_order
from alliance.questions.sentences import Sentence, cluster_sentences, pooling_sentence
from alliance.questions.site_data import SiteData
from alliance.questions.summary import SiteSummary
from alliance.variables.checks import EVENTS_PREFIX
from alliance.variables.client import attended_sessions, event_rates, in_window

NAME = "technique"
TOPIC = "technique_by_alliance"
FORM = "prior_symptoms"
WITHIN, ACROSS = "within_clients", "across_levels"
SLOPE, INTERACTION = "slope_standardised", "interaction_standardised"
PRODUCT, BY_MEAN = "technique x alliance", "technique x client's mean alliance"
LOW, HIGH = "technique at alliance - 1 SD", "technique at alliance + 1 SD"
# In the order of within_interaction.EFFECTS: which variable, where, contrast, type.
_ROWS = (
    (True, WITHIN, "", SLOPE),
    (False, WITHIN, "", SLOPE),
    (True, WITHIN, PRODUCT, INTERACTION),
    (True, ACROSS, BY_MEAN, INTERACTION),
    (True, WITHIN, LOW, SLOPE),
    (True, WITHIN, HIGH, SLOPE),
)
_HEADLINE = 2


def estimate(site: SiteData, options: Mapping[str, Any]) -> Part:
    """Return one site's slopes and interactions of every pair of technique and alliance.

    Parameters
    ----------
    site : SiteData
    options : mapping
        Configuration; section ``questions.path_models.technique``.
    """
    part = Part()
    section = options["questions"]["path_models"][NAME]
    if section["enabled"]:
        sessions = Sessions(site, options)
        for pair in sorted(section["pairs"]):
            _add_pair(part, sessions, pair, section["pairs"][pair])
    return part


def pair_rows(sessions: Sessions, content: Mapping[str, Any]) -> tuple[pd.DataFrame, dict[str, Any], str]:
    """Return the sessions of clients with technique, alliance and symptoms, and symptoms ``lag`` sessions later, and why there are none.

    One row a client and session: ``client, session, technique, alliance, prior, outcome``. Higher is better for symptoms. Rows whose
    dates contradict the numbers of their sessions are left out and counted.
    """
    columns = ["client", "session", "technique", "alliance", "prior", "outcome"]
    facts: dict[str, Any] = {"sources": {}, "left_out_against_order": 0}
    site, options = sessions.site, sessions.options
    if site.published is not None:
        return pd.DataFrame(columns=columns), facts, f"needs {_what_it_needs(content)}; the site publishes correlations only"
    series = {}
    for role in ("technique", "alliance", "outcome"):
        construct = content[role]["construct"]
        if construct.startswith(EVENTS_PREFIX):
            found, reason = event_rates(site, construct)
            series[role] = found.rename(columns={"client_no": "client", "score": "value"})
            facts["sources"][role] = f"{construct} (an hour of session)"
        else:
            series[role], measured = sessions.scores(content[role])
            reason, facts["sources"][role] = measured.reason, measured.source
        if reason:
            return pd.DataFrame(columns=columns), facts, f"{named(content[role])}: {reason}"
    frame = series["technique"].rename(columns={"value": "technique"})
    later = series["outcome"].assign(session=series["outcome"]["session"] - content["lag"])
    for name, other in (("alliance", series["alliance"]), ("prior", series["outcome"]), ("outcome", later)):
        frame = frame.merge(other.rename(columns={"value": name}), on=["client", "session"], how="inner")
    if content["window"]:
        keys = frame[["client", "session"]].rename(columns={"client": "client_no"})
        frame = frame[in_window(keys, options["alliance"]["windows"][content["window"]], attended_sessions(site))]
    contradicted = out_of_order(frame, [0, content["lag"]], sessions.dates)
    facts["left_out_against_order"] = int(contradicted.sum())
    return frame[~contradicted].sort_values(["client", "session"]).reset_index(drop=True)[columns], facts, ""


def _what_it_needs(content: Mapping[str, Any]) -> str:
    technique, alliance, outcome = (named(content[role]) for role in ("technique", "alliance", "outcome"))
    when = "one session later" if content["lag"] == 1 else f"{content['lag']} sessions later"
    return f"{technique}, {alliance} and {outcome} of one session and {outcome} {when}"


def _keys(pair: str, content: Mapping[str, Any], options: Mapping[str, Any], which: int) -> dict[str, Any]:
    """Return the columns that identify a row."""
    of_technique, where, contrast, kind = _ROWS[which]
    definition = content["technique" if of_technique else "alliance"]
    construct = definition["construct"]
    events = construct.startswith(EVENTS_PREFIX)
    rater = definition.get("rater") or ("observer" if events else options.get(construct, {}).get("rater", ""))
    outcome = content["outcome"].get("rater") or options["symptoms"]["rater"]
    return {
        **dict.fromkeys(KEYS, ""),
        "topic": TOPIC,
        "variable": named(definition),
        "rater": rater,
        "window": content["window"] or "",
        "form": FORM,
        "where": where,
        "pair": pair,
        "contrast": contrast,
        "same_rater": "yes" if rater == outcome else "no",
        "estimate_type": kind,
    }


def _add_pair(part: Part, sessions: Sessions, pair: str, content: Mapping[str, Any]) -> None:
    from alliance.statistics.within_interaction import SESSIONS, within_interaction

    site, options = sessions.site, sessions.options
    frame, facts, reason = pair_rows(sessions, content)
    part.facts[pair] = facts
    counts = frame.groupby("client").size()
    enough, minimum = int((counts >= SESSIONS).sum()), options["pooling"]["min_clients"]
    if not reason and enough < minimum:
        reason = f"needs at least {minimum} clients with {SESSIONS} times {_what_it_needs(content)}; has {enough}"
    fields: dict[str, Any] = {"n_clients": enough, "n_sessions": int(counts[counts >= SESSIONS].sum())}
    if not reason:
        known = sessions.therapists is not None
        held = ["prior", *(["session"] if options["questions"]["path_models"][NAME]["session_trend"] else [])]
        result = within_interaction(
            *(frame[name].to_numpy(dtype=float) for name in ("technique", "alliance", "outcome")),
            frame["client"].to_numpy(),
            frame["client"].map(sessions.therapists).to_numpy() if known else None,
            held=frame[held].to_numpy(dtype=float),
            min_clients=minimum,
        ).found
        reason = f"{_what_it_needs(content)}: {result.reason}" if result.reason else ""
    if reason:
        row = {**_keys(pair, content, options, _HEADLINE), **fields, "method": "none", "status": "not_estimable"}
        _add(part, {**row, "reason": f"not estimable: {reason}"}, np.nan)
        return
    low, high = result.interval(options["pooling"]["level"])
    fields |= {
        "n_therapists": result.n_clusters if known else None,
        "share_missing": 1 - enough / len(site.clients) if len(site.clients) >= enough else None,
        "method": result.method,
        "status": "flagged" if result.caution else "estimated",
        "reason": result.caution,
    }
    for which, (value, variance) in enumerate(zip(result.estimate, np.diagonal(result.vcov), strict=True)):
        limits = {"estimate": float(value), "ci_low": float(low[which]), "ci_high": float(high[which])}
        _add(part, {**_keys(pair, content, options, which), **fields, **limits}, variance)


def _add(part: Part, row: Mapping[str, Any], variance: float) -> None:
    parameter = "; ".join(str(row[key]) for key in (*KEYS, "estimate_type") if row[key])
    part.add({"level": "within", **row, "parameter": parameter}, variance)


def pool(gathered: pd.DataFrame, summaries: Sequence[SiteSummary], options: Mapping[str, Any]) -> pd.DataFrame:
    """Return rows of table ``conditions``: those of the sites, and their random-effects means.

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
    keys = [*KEYS, "estimate_type"]
    pooled = effects.pooled_rows(gathered, keys, "identity", pooling) if len(gathered) else pd.DataFrame()
    shown = pd.DataFrame([_keys(pair, content, options, _HEADLINE) for pair, content in sorted(section["pairs"].items())])
    sites = effects.site_rows(gathered, "identity", pooling["level"]) if len(gathered) else pd.DataFrame()
    return effects.stack(sites, pooled, effects.absent_site_rows(summaries, shown[keys], "identity"))


def methods(options: Mapping[str, Any], table: pd.DataFrame) -> list[Sentence]:
    """Return what was done in this run, with citation keys; ``table`` is ``conditions``."""
    section = options["questions"]["path_models"][NAME]
    if not section["enabled"]:
        return []
    found = table[table["topic"].eq(TOPIC) & table["status"].isin(WITH_NUMBERS)]
    if found.empty:
        return [Sentence("Technique and alliance within clients: no site has both, and symptoms before and after, for enough sessions.")]
    trend = " and the number of the session" if section["session_trend"] else ""
    return [
        Sentence(
            "Whether technique and alliance depend on each other within clients was estimated from deviations from clients' own means: "
            "later symptoms on technique, alliance and their product, given the symptoms of the same session"
            f"{trend}; the product of deviations was made a deviation again, so that no difference between clients enters it. The product "
            "of technique and the client's mean alliance stands in the same model. Slopes are in standard deviations within clients.",
            ("giesselmann_schmidt_catran_2022",),
        ),
        Sentence(
            "Prior symptoms as deviations from a mean that holds the later ones too have too small a slope where sessions are few.",
            ("nickell_1981",),
        ),
        *cluster_sentences(found["method"]),
        pooling_sentence(options["pooling"], "Slopes and interactions of technique and alliance were pooled"),
    ]
