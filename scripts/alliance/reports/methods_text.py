"""The methods paragraphs: sentences that hold for this run, with their citations."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pandas as pd

from alliance.questions import coverage
from alliance.questions.client_factors import participants
from alliance.questions.contract import COMPUTED, WITHHELD
from alliance.questions.sentences import Sentence
from alliance.reports import numbers
from alliance.reports.bibliography import cited
from alliance.reports.chapters.common import instrument_name, plural
from alliance.reports.elements import listed
from alliance.reports.inputs import ReportData, question_module

END = re.compile(r"([.?!])$")
NAME = re.compile(r"(?<=[a-z0-9])_(?=[a-z0-9])")


def of_question(data: ReportData, question: str) -> list[Sentence]:
    """Return the sentences that a question's module says about this run, and how well its kinds of intervals did in simulations."""
    module = question_module(question)
    options = {**data.options, "seed": data.options["study"]["seed"]}
    tables = {name: _as_computed(table) for name, table in data.tables[question].items()}
    return [*module.methods(options, tables), *_simulated(data, question)]


def _as_computed(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table in which numbers that are withheld count as estimated: what was done does not depend on what may be shown."""
    return table.assign(status=table["status"].where(table["status"].ne(WITHHELD), "estimated"))


def _simulated(data: ReportData, question: str) -> list[Sentence]:
    rows = [table.loc[table["status"].isin(COMPUTED), ["estimate_type", "method"]] for table in data.tables[question].values()]
    used = {tuple(pair) for part in rows for pair in part.drop_duplicates().itertuples(index=False)}
    known = coverage.of_rows(data.coverage, used, data.options["pooling"]["interval"])
    return [Sentence(text) for text in coverage.sentences(known)]


def general(data: ReportData) -> list[Sentence]:
    """Return what was done before and around all questions: data, scoring, pooling, software."""
    scoring, pooling = data.options["scoring"], data.options["pooling"]
    at_once = "; models of the rows of all sites that share them stand beside, each named as such" if _rows_at_once(data) else ""
    used = sorted({key for status in data.included for key in status.get("instruments", {})})
    sentences = [
        Sentence(
            f"{plural(data.n_included, 'site')} of {numbers.count(data.n_sites)} contributed to the results; each was analysed by "
            f"itself and its aggregated results were combined{at_once}.",
        ),
        Sentence("Client and therapist identifiers were replaced by keyed hashes before scoring."),
        MISSING_RULES[scoring["missing_rule"]](scoring),
    ]
    sentences.append(Sentence(_design(data)))
    if data.tables.get("alliance_outcome"):
        text = "The main result is the one that the configuration names (alliance and outcome); all others are secondary."
        sentences.append(Sentence(text))
    if used:
        citations = tuple(key for name in used if name in data.instruments for key in data.instruments[name].reference)
        sentences.insert(1, Sentence(f"The sites used {listed([instrument_name(key) for key in used])}.", citations))
    if scoring["derive_short_forms"]:
        sentences.append(Sentence("Short forms were also scored from long forms where the item map is certain."))
    if scoring["exclude_improvement_items"]:
        sentences.append(Sentence("Items that describe improvement (HAq-I) were left out of scores."))
    sentences.append(
        Sentence(
            f"A site’s estimate needs at least {plural(pooling['min_clients'], 'client')}, a pooled estimate at least "
            f"{plural(pooling['min_sites'], 'site')}; with fewer than {plural(pooling['headline_sites'], 'site')} "
            "pooled p values are not shown.",
        )
    )
    described = data.tables.get("client_factors", {}).get(participants.NAME)
    if described is not None:
        sentences += participants.methods(described)
    sentences.append(Sentence("Prediction intervals show where the true value of a new site would be expected.", ("inthout_2016",)))
    sentences.append(
        Sentence(
            f"Computations ran in a Snakemake workflow (alliance-pipeline {data.provenance['version']}); pooled values follow the "
            "definitions of the metafor package.",
            ("molder_2021", "viechtbauer_2010"),
        )
    )
    return sentences


def _design(data: ReportData) -> str:
    """Return which designs the sites state; what nobody assigned holds for all of them."""
    designs = [str(status.get("site_facts", {}).get("design") or "") for status in data.included]
    stated = listed([f"{name} ({plural(designs.count(name), 'site')})" for name in sorted(set(designs) - {""})])
    unknown = f"{plural(designs.count(''), 'site')} did not state a design" if "" in designs else ""
    told = "; ".join(text for text in (f"designs as sites state them: {stated}" if stated else "", unknown) if text)
    return f"Nobody was assigned to a good or a poor alliance{f'; {told}' if told else ''}."


def _rows_at_once(data: ReportData) -> bool:
    """Tell whether some number comes from the rows of several sites at once."""
    return any(
        table.loc[table["status"].isin(COMPUTED), "method"].str.contains("one_stage").any()
        for tables in data.tables.values()
        for table in tables.values()
    )


def _instrument_rule(scoring: dict[str, Any]) -> Sentence:
    return Sentence("Scales with unanswered items followed each instrument’s own rule; the data dictionary names the conventions.")


def _strict_rule(scoring: dict[str, Any]) -> Sentence:
    return Sentence("A scale was scored only where all of its items were answered.")


def _proration_rule(scoring: dict[str, Any]) -> Sentence:
    share = numbers.percent(scoring["min_answered_proportion"])
    return Sentence(f"A scale was scored where at least {share} of its items were answered; the mean of these stands for the others.")


MISSING_RULES = {"instrument": _instrument_rule, "strict": _strict_rule, "proration": _proration_rule}


def printed(data: ReportData, sentences: Sequence[Sentence]) -> tuple[str, ...]:
    """Return sentences with their citations in parentheses before the full stop."""
    return tuple(
        _with_citation(_typeset(sentence.text.strip()), cited(dict(data.references), sentence.citations)) for sentence in sentences
    )


def _typeset(text: str) -> str:
    """Print minus signs, apostrophes, percentages and names of the configuration as everywhere else in the report."""
    return NAME.sub(" ", numbers.typeset(text).replace(" - ", f" {numbers.MINUS} ").replace("'", "’"))


def _with_citation(text: str, citation: str) -> str:
    if not citation:
        return text
    ending = END.search(text)
    return f"{text[:-1]} {citation}{ending.group()}" if ending else f"{text} {citation}."


def cited_keys(sentences: Sequence[Sentence]) -> list[str]:
    """Return the keys that sentences cite, each once, in order."""
    return list(dict.fromkeys(key for sentence in sentences for key in sentence.citations))
