"""Client factors at intake and the alliance: by category of the review, over time, beside the alliance (claims F1 to F8, F13, F14);
and who took part.

The parts lie in modules of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from alliance.questions import effects
from alliance.questions.client_factors import categories as client_factors_categories
from alliance.questions.client_factors import correlations, instruments, over_time, participants, unique_shared
from alliance.questions.client_factors.correlations import ASSUMED_CORRELATION, HEADLINE
from alliance.questions.client_factors.measures import alliance_measure, site_factors, windows_and_raters
from alliance.questions.contract import POOLED, WITH_NUMBERS, finish
from alliance.questions.part import largest_counts, summary_fields
from alliance.questions.sentences import Sentence, cluster_sentences, pooling_sentence
from alliance.questions.site_data import SiteData
from alliance.questions.summary import SiteSummary

estimate_reads = (
    "alliance.instruments",
    "alliance.scale",
    "alliance.rater",
    "alliance.windows",
    "outcome",
    "pooling.min_clients",
    "questions.client_factors",
)
pool_reads = ("outcome.rater", "outcome.form", "pooling", "questions.client_factors")
needs = ()
tables = ("factors", "categories", "over_time", "unique_shared", "instruments", "leave_one_out", "participants")

UNIQUE_SHARED, OVER_TIME, INSTRUMENTS, PARTICIPANTS = "unique_shared", "over_time", instruments.NAME, participants.NAME
OTHERS = "others"
"""Part whose rows bring a model of their own: other windows and raters, and slopes."""


def estimate(site: SiteData, options: Mapping[str, Any], constants: Mapping[str, Any]) -> SiteSummary:
    """Return one site's part of every table.

    A factor is a column of the clients table, ``<instrument>.<scale>`` at intake, or ``intake_severity`` (as sent with clients, else the
    outcome instrument at intake, higher is worse). The sign of reversed factors is turned.

    Parameters
    ----------
    site : SiteData
    options : mapping
        The keys of ``estimate_reads``.
    constants : mapping
        Not used.
    """
    if site.published is not None:
        first = correlations.published_headline(site.published, options)
        parts = {HEADLINE: first, UNIQUE_SHARED: unique_shared.published(site.published, options)}
        counts = {"clients": largest_counts(first.rows)["clients"] or 0}
    else:
        wanted = windows_and_raters(options)
        alliances = {one: alliance_measure(site, *one, options) for one in wanted}
        alliance = alliances[wanted[0]]
        own = site_factors(site, options, list(alliances.values()))
        parts = {
            HEADLINE: correlations.headline(own, alliance, wanted[0][0], options),
            OTHERS: correlations.others(own, alliances, options),
            UNIQUE_SHARED: unique_shared.estimate(site, own, alliance, options),
            OVER_TIME: over_time.estimate(site, own, alliance, options),
            INSTRUMENTS: instruments.estimate(site, own, options),
        }
        therapists = len(set(own.codes.tolist())) if own.therapists_known else None
        counts = {"clients": len(own.clients), "therapists": therapists, "sessions": alliance.n_sessions}
    parts[PARTICIPANTS] = participants.estimate(site)
    fields = summary_fields(parts, own_models=(HEADLINE, OTHERS))
    # Courses over time rest on more sessions than the main window has.
    counts |= {"sessions": max(counts.get("sessions") or 0, fields["n"]["sessions"] or 0)}
    facts = {key: value for part in parts.values() for key, value in part.facts.items()}
    return SiteSummary(site=site.site, label=site.label, question="client_factors", facts=facts, **{**fields, "n": counts})


def pool(summaries: list[SiteSummary], options: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return the tables; see the results dictionary.

    Parameters
    ----------
    summaries : list of SiteSummary
    options : mapping
        The keys of ``pool_reads``, and ``seed``.
    tables : mapping
        Not used.
    """
    scale = effects.pooling_scale(options["pooling"])
    summaries = sorted(summaries, key=lambda one: one.site)
    gathered = effects.gather(summaries) if summaries else pd.DataFrame()
    factors = left_out = pd.DataFrame()
    main, of_parts = gathered, dict.fromkeys((UNIQUE_SHARED, OVER_TIME, INSTRUMENTS, PARTICIPANTS), gathered)
    if len(gathered):
        main = effects.scaled(gathered[gathered["model"].eq(HEADLINE)], scale)
        of_parts = {name: gathered[gathered["model"].eq(name)].reset_index(drop=True) for name in of_parts}
        factors, left_out = correlations.tables(gathered, main, summaries, scale, options)
    categories, categories_left_out = client_factors_categories.category_tables(summaries, main, options, scale)
    found = {
        "factors": factors,
        "categories": categories,
        UNIQUE_SHARED: unique_shared.pool(of_parts[UNIQUE_SHARED], summaries, options, UNIQUE_SHARED),
        OVER_TIME: over_time.pool(of_parts[OVER_TIME], summaries, options),
        INSTRUMENTS: instruments.pool(of_parts[INSTRUMENTS], main, summaries, scale, options),
        "leave_one_out": effects.stack(left_out, categories_left_out),
        PARTICIPANTS: participants.pool(of_parts[PARTICIPANTS], summaries, options),
    }
    why = (({"estimate_type": "equality_test"}, "a test"),)
    return {name: finish(effects.say_why_no_interval(table, why), "client_factors", name) for name, table in found.items()}


def methods(options: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> list[Sentence]:
    """Return what was done in this run, with citation keys."""
    every = tables["factors"]
    factors = every[every["headline"].eq("yes")]
    sites = factors[factors["site"].ne(POOLED) & factors["status"].isin(WITH_NUMBERS)]
    if sites.empty:
        return [Sentence("Client factors could not be related to the alliance: no site has both.")]
    window = options["questions"]["client_factors"]["window"]
    turned = sorted(set(sites.loc[sites["reversed"].eq("yes"), "factor"]))
    sentences = [
        Sentence(
            f"{sites['factor'].nunique()} client factors at intake were correlated with the alliance in window {window} at "
            f"{sites['site'].nunique()} sites, each in its category"
            + (f"; signs were turned where higher means worse ({', '.join(turned)})." if turned else "."),
            ("horvath_luborsky_1993",),
        )
    ]
    sentences += cluster_sentences(sites["method"])
    pooled = factors["site"].eq(POOLED) & factors["status"].isin(WITH_NUMBERS)
    if pooled.any():
        sentences.append(pooling_sentence(options["pooling"]))
        sentences.append(
            Sentence(
                "The mean of a category is the mean of its factors within each site, its variance from the covariance of their "
                "correlations, which share clients; then sites are pooled. Differences of categories know that the same clients stand in "
                "both. The mean weighted by clients is given as in the 1991 meta-analysis, without a standard error.",
                ("horvath_symonds_1991",),
            )
        )
    if sites["method"].eq("published_n").any():
        sentences.append(
            Sentence(
                "Where a site published correlations of factors with the alliance but not those among the factors, two of them were taken "
                f"to correlate {ASSUMED_CORRELATION:g} (convention).",
                ("olkin_siotani_1976",),
            )
        )
    if factors["decision"].ne("").any():
        bound = options["questions"]["client_factors"]["severity_bound"]
        text = f"Whether a factor, such as severity, has no weight was tested against ±{bound:g} by two one-sided tests."
        sentences.append(Sentence(text, ("schuirmann_1987",)))
    if (every["estimate_type"].eq("slope_standardised") & every["status"].isin(WITH_NUMBERS)).any():
        text = (
            "Slopes of the alliance on each factor were split into those within therapists (deviations from the mean of a therapist's "
            "clients) and between therapists (these means), by least squares with each therapist left out in turn."
        )
        sentences.append(Sentence(text, ("raudenbush_bryk_2002", "bell_mccaffrey_2002")))
    sentences += unique_shared.methods(options, tables["unique_shared"])
    sentences += over_time.methods(options, tables["over_time"])
    return sentences + instruments.methods(options, tables[INSTRUMENTS])
