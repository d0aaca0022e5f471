"""Tables of the question on ruptures from what sites send, and how they came about in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from alliance.questions import effects
from alliance.questions.contract import POOLED, WITH_NUMBERS
from alliance.questions.sentences import Sentence, cluster_sentences, pooling_sentence
from alliance.questions.summary import SiteSummary

KEYS = {
    "criteria": ["criterion", "rule", "rated_by", "statistic", "unit", "estimate_type"],
    "base_rates": ["criterion", "rule", "rated_by", "surrogates", "unit", "statistic", "estimate_type"],
    "agreement": ["criterion", "compared_with", "unit", "statistic", "same_rater", "estimate_type"],
    "outcome": ["criterion", "rule", "outcome", "topic", "term", "covariates", "same_rater", "estimate_type"],
}
NAMING = {name: [key for key in keys if key not in ("rule", "rated_by", "same_rater")] for name, keys in KEYS.items()}
SCALES = {"share": "logit", "hazard_ratio": effects.RATIO}
UNITS_OF_SITES = "depth"
CITED = {
    "drop": (
        "a fall from one session to the next by {sd:g} SD within clients",
        ("strauss_2006",),
    ),
    "reliable_drop": (
        "a fall larger than measurement error gives ({critical:g} standard errors of a difference, reliability within clients)",
        ("jacobson_truax_1991",),
    ),
    "decline": (
        "a fall over one or more sessions in a row by {sd:g} times the larger of the client's own SD and that between clients",
        ("gumz_2012",),
    ),
    "v_shape": (
        "a fall by {sd:g} residual SD around the client's own line and back to within {recovery:g} of them in {within:d} sessions, "
        "where the line does not fall",
        ("stiles_2004",),
    ),
    "control_chart": (
        "a rating below the client's mean less {sigma:g} times the mean moving range over 1.128",
        ("eubanks_carter_2012",),
    ),
    "self_report": ("ruptures that {rater}s reported", ("muran_2009",)),
    "observed": ("ruptures that observers coded", ("eubanks_2015",)),
}


def tables_of(gathered: pd.DataFrame, summaries: Sequence[SiteSummary], options: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
    """Return the four tables, not yet in their final form."""
    found = {}
    for name, keys in KEYS.items():
        own = gathered[gathered["model"].eq(name)] if len(gathered) else gathered
        found[name] = _rows(own, keys, summaries, options["pooling"]) if len(own) else pd.DataFrame()
    return found


def _rows(chosen: pd.DataFrame, keys: Sequence[str], summaries: Sequence[SiteSummary], pooling: Mapping[str, Any]) -> pd.DataFrame:
    chosen = _same_keys(chosen, keys)
    scale_of = chosen["estimate_type"].map(SCALES).fillna("identity")
    parts = []
    for scale, part in chosen.groupby(scale_of, sort=True):
        numbered = effects.scaled(part, scale)
        pooled = _with_events(effects.pooled_rows(numbered, list(keys), scale, pooling), numbered, keys)
        parts += [
            effects.site_rows(numbered, scale, pooling["level"]),
            pooled,
            effects.absent_site_rows(summaries, pooled[list(keys)], scale),
        ]
    return effects.stack(*parts)


def _same_keys(chosen: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Return rows whose describing keys agree over sites, so that they are pooled together.

    A site that lacks a criterion does not know the unit of its depths; who judged endings differs between sites.
    """
    by = [key for key in keys if key not in ("unit", "same_rater")]
    if "statistic" in keys and "unit" in keys:
        depth = chosen["statistic"].eq(UNITS_OF_SITES)
        known = chosen["status"].isin(WITH_NUMBERS)
        unit = chosen["unit"].where(known).groupby([chosen[key] for key in by]).transform("first")
        chosen = chosen.assign(unit=chosen["unit"].where(~depth | unit.isna(), unit))
    if "same_rater" in keys:
        agreed = chosen.groupby(by)["same_rater"].transform(_agreed)
        chosen = chosen.assign(same_rater=agreed)
    return chosen


def _agreed(values: pd.Series) -> str:
    known = sorted(set(values) - {"", "unknown"})
    return known[0] if len(known) == 1 else "mixed" if known else sorted(set(values))[-1]


def _with_events(pooled: pd.DataFrame, numbered: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Return pooled rows with the dropouts of the sites behind them."""
    if "n_events" not in numbered or pooled.empty or "covariates" not in keys:
        return pooled
    used = numbered[numbered["y"].notna() & numbered["v"].notna()]
    counted = used.assign(n_events=used["n_events"].astype("float64")).groupby(list(keys))["n_events"].sum(min_count=1)
    return pooled.assign(n_events=counted.reindex(pd.MultiIndex.from_frame(pooled[list(keys)])).to_numpy())


AT_THE_END = {"unrepaired": "count as unrepaired", "left_out": "were left out"}


def methods(options: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> list[Sentence]:
    """Return what was done in this run, with citation keys."""
    question, criteria = options["questions"]["ruptures"], tables["criteria"]
    sites = criteria[criteria["site"].ne(POOLED) & criteria["status"].isin(WITH_NUMBERS)]
    if sites.empty:
        return [Sentence("Ruptures could not be judged: no site has the alliance session by session, reports or codes of ruptures.")]
    used = [name for name in question["criteria"] if sites["criterion"].eq(name).any()]
    described, cited = [], []
    for name in used:
        rule = question["criteria"][name]
        text, keys = CITED[rule["rule"]]
        described.append(f"{name.replace('_', ' ')}: {text.format(**rule)}")
        cited += keys
    repair = question["repair"]
    sentences = [
        Sentence(
            f"Ruptures were sought by {len(used)} criteria, none of which is the right one ({'; '.join(described)}). Clients with fewer "
            f"than {question['min_sessions']} rated sessions were not judged; over more than {question['largest_gap']} "
            f"session{'s' if question['largest_gap'] > 1 else ''} from one rating to the next there is no fall.",
            tuple(dict.fromkeys(cited)),
        ),
        Sentence(
            f"A rupture of ratings counts as repaired when {100 * repair['share']:g} % of the fall was made up for within "
            f"{repair['within']} session{'s' if repair['within'] > 1 else ''} of the lowest rating; both numbers are conventions. "
            f"Ruptures whose time for repair had not passed at the last rating {AT_THE_END[question['at_the_end']]}."
        ),
        Sentence(
            f"What noise alone gives was found from {question['surrogates']} series a client with the client's own mean and SD: the "
            "ratings in random order, and normal values with the site's autocorrelation of neighbouring sessions."
        ),
        Sentence(
            "Agreement of criteria is told by kappa and, since ruptures are rare, by kappa corrected for prevalence and bias.",
            ("cohen_1960", "byrt_1993"),
        ),
    ]
    outcome = tables["outcome"]
    if outcome["status"].isin(WITH_NUMBERS).any():
        sentences.append(
            Sentence(
                "Outcomes after repaired, unrepaired and no ruptures were compared at the same intake level and the same early symptoms; "
                "for dropout, what was known after each session decided whether a rupture was open, so that leaving early does not make a "
                "rupture unrepaired."
            )
        )
    sentences += cluster_sentences(sites["method"])
    sentences.append(
        pooling_sentence(options["pooling"], "Shares were pooled as logits, hazard ratios as logarithms and differences as they are,")
    )
    return sentences
