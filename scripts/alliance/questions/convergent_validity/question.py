"""Convergent validity: how far the measures of the alliance overlap, and whether they predict alike (claims A5 to A12, A16).

Spread over modules by what they answer: ``pairs`` (every pair of measures), ``means`` (what the pairs of a site say
together), ``prediction`` (the outcome), ``pooling`` (tables).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from alliance.configuration.options import without_windows_unused
from alliance.questions import effects
from alliance.questions.contract import POOLED, WITH_NUMBERS, finish
from alliance.questions.convergent_validity import pooling
from alliance.questions.convergent_validity.means import absent_overlap_rows, overlap_rows
from alliance.questions.convergent_validity.pairs import DISATTENUATED, HTMT, R, from_published, from_rows
from alliance.questions.convergent_validity.prediction import prediction_rows
from alliance.questions.correlations import variances
from alliance.questions.part import Part, largest_counts
from alliance.questions.sentences import Sentence, cluster_sentences, pooling_sentence
from alliance.questions.site_data import SiteData
from alliance.questions.summary import COUNTED, SiteSummary
from alliance.questions.unchanged import NOTHING, Unchanged

estimate_reads = (
    "alliance.instruments",
    "alliance.scale",
    "alliance.window",
    "alliance.windows",
    "outcome.instruments",
    "outcome.scale",
    "outcome.rater",
    "outcome.timepoint",
    "outcome.tailored",
    "outcome.broad",
    "pooling.min_clients",
    "questions.convergent_validity.timepoint_window",
)
pool_reads = ("alliance.window", "pooling", "questions.convergent_validity")
needs = ()
tables = ("pairs", "overlap_summary", "predictive_contrast", "leave_one_out")
reads_ratings = True


def part_options(options: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the options of the parts that do not read when the alliance of the main analyses was measured, nor the outcome."""
    alliance = {key: value for key, value in options["alliance"].items() if key != "window"}
    given = {name: value for name, value in options.items() if name != "outcome"}
    return dict.fromkeys(("pairs", "overlap"), without_windows_unused({**given, "alliance": alliance}))


def estimate(site: SiteData, options: Mapping[str, Any], constants: Mapping[str, Any], unchanged: Unchanged = NOTHING) -> SiteSummary:
    """Return the overlap of every pair of alliance measures at one site, what the pairs say together, and how they predict the outcome.

    Pairs are two instruments with one rater (totals with totals, subscales with subscales), one scale with two raters, and two subscales of
    one instrument. Both scores are averaged over the sessions of the window that have both. Clients, not sessions, are the units.

    Parameters
    ----------
    site : SiteData
    options : mapping
        The keys of ``estimate_reads``.
    constants : mapping
        Not used.
    unchanged : Unchanged
        ``pairs`` and ``overlap``, where they are taken over.
    """
    window = options["questions"]["convergent_validity"]["timepoint_window"]
    if "pairs" in unchanged and "overlap" in unchanged:
        pairs, overlap = unchanged.part("pairs"), unchanged.part("overlap")
    else:
        pairs, overlap = _pairs_and_overlap(site, part_options(options)["pairs"], window)
    reason = "" if pairs.rows else _no_pairs(window)
    predicted = prediction_rows(site, options)
    rows = [*pairs.rows, *overlap.rows, *predicted[0]]
    largest = largest_counts(rows)
    of_pairs = pairs.facts
    counts = {name: max((n for n in (of_pairs.get(name), largest[name]) if n is not None), default=None) for name in COUNTED}
    return SiteSummary(
        site=site.site,
        label=site.label,
        question="convergent_validity",
        n=counts,
        facts={"window": window, "pairs": of_pairs, "reason": reason},
        estimates=pd.DataFrame(rows),
        vcov=variances(rows, [*pairs.variances, *overlap.variances, *predicted[1]]),
    )


def _pairs_and_overlap(site: SiteData, options: Mapping[str, Any], window: str) -> tuple[Part, Part]:
    """Return the rows of pairs, with how many there are and the site's counts as facts, and what they say together."""
    found = (from_rows if site.published is None else from_published)(site, options, window)
    reason = "" if found.rows else _no_pairs(window)
    together = absent_overlap_rows(reason) if found.pairs is None else overlap_rows(site, found.pairs)
    facts = {"pairs": sum(row["estimate_type"] == R for row in found.rows), **found.counts}
    return Part(found.rows, found.variances, facts=facts), Part(*together)


def _no_pairs(window: str) -> str:
    return f"not estimable: needs two alliance measures of the same sessions in window {window}; has none"


def pool(summaries: list[SiteSummary], options: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return the tables of the question; see the results dictionary.

    Parameters
    ----------
    summaries : list of SiteSummary
    options : mapping
        The keys of ``pool_reads``.
    tables : mapping
        Not used.
    """
    summaries = sorted(summaries, key=lambda one: one.site)
    gathered = effects.gather(summaries)
    no_pair = _no_pairs(options["questions"]["convergent_validity"]["timepoint_window"])
    pairs, left_out = pooling.pair_tables(gathered, summaries, options, no_pair)
    pairs = finish(pairs, "convergent_validity", "pairs")
    found = {
        "pairs": pairs,
        "overlap_summary": pooling.overlap_table(gathered, pairs, summaries, options),
        "predictive_contrast": pooling.prediction_table(gathered, summaries, options),
        "leave_one_out": left_out,
    }
    return {name: finish(table, "convergent_validity", name) for name, table in found.items()}


def methods(options: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> list[Sentence]:
    """Return what was done in this run, with citation keys."""
    pairs, question = tables["pairs"], options["questions"]["convergent_validity"]
    estimated = pairs[pairs["site"].ne(POOLED) & pairs["status"].isin(WITH_NUMBERS)]
    r = pairs[pairs["estimate_type"].eq(R)]
    sites = estimated[estimated["estimate_type"].eq(R)]
    if sites.empty:
        return [Sentence("Convergent validity could not be estimated: no site has two alliance measures of the same sessions.")]
    sentences = [
        Sentence(
            f"Shared variance of alliance measures is the squared correlation of client scores averaged over the sessions of window "
            f"{question['timepoint_window']} in which both were rated, {len(sites[list(pooling.KEYS)].drop_duplicates())} pairs at "
            f"{sites['site'].nunique()} sites.",
            ("horvath_luborsky_1993", "tichenor_hill_1989"),
        ),
        *cluster_sentences(estimated["method"]),
    ]
    if estimated["estimate_type"].eq(DISATTENUATED).any():
        text = (
            "Correlations were corrected for unreliability by omega total of the items at the same sessions (one-factor model); "
            "standard errors leave out each therapist (or client) in both the correlation and the reliabilities. Corrected "
            "correlations at or above 1 are flagged, and are pooled as they are."
        )
        sentences.append(Sentence(text, ("spearman_1904", "mcdonald_1999")))
    if estimated["estimate_type"].eq(HTMT).any():
        text = "Whether two scales measure different constructs was judged by the heterotrait-monotrait ratio of item correlations."
        sentences.append(Sentence(text, ("henseler_2015",)))
    overlap = tables["overlap_summary"]
    if overlap.loc[overlap["status"].isin(WITH_NUMBERS), "pairs_kind"].eq("parallel").any():
        text = (
            "Subscales count as parallel where the instrument files say that both are meant to measure one of the constructs that the "
            "review finds shared; where a file is silent, a pair is neither parallel nor not."
        )
        sentences.append(Sentence(text, ("horvath_luborsky_1993",)))
    predicted = tables["predictive_contrast"]
    if predicted["status"].isin(WITH_NUMBERS).any():
        text = (
            f"Whether two measures predict alike was tested on the clients who have both (window {options['alliance']['window']}): "
            f"difference of their correlations with the outcome, and two one-sided tests against ±{question['equivalence_bound']:g}; "
            "Williams' test, which takes clients as independent, stands beside."
        )
        sentences.append(Sentence(text, ("schuirmann_1987", "steiger_1980")))
    if r["shared_items"].eq("yes").any():
        sentences.append(
            Sentence("Pairs of a short form and the long form it was derived from share items; they are flagged and not summarised.")
        )
    if r["derived"].eq("yes").any():
        text = (
            "Short forms scored from the answers to a long form are pooled apart from short forms that were filled in, and do not count in "
            "ranges and means beside the long form."
        )
        sentences.append(Sentence(text))
    if (r["site"].eq(POOLED) & r["status"].isin(WITH_NUMBERS)).any():
        sentences.append(pooling_sentence(options["pooling"]))
    return sentences
