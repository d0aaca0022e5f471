"""Sentences of the methods paragraph, with the works they cite."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Sentence:
    """One sentence and the keys of ``workflow/references.bib`` it cites."""

    text: str
    citations: tuple[str, ...] = ()
    again: str = ""
    """What is said in its place where the same procedure was told before; empty: the sentence itself."""
    procedure: str = ""
    """What is told, so that it is told once."""


def told_once(sentences: Iterable[Sentence]) -> list[Sentence]:
    """Return sentences without repetitions: the same procedure of other numbers is named, not told again."""
    told, procedures = [], set()
    for sentence in dict.fromkeys(sentences):
        if sentence.procedure in procedures:
            told.append(Sentence(sentence.again))
            continue
        if sentence.procedure:
            procedures.add(sentence.procedure)
        told.append(sentence)
    return list(dict.fromkeys(told))


_TAU2 = {
    "reml": ("by random-effects models (restricted maximum likelihood)", ("viechtbauer_2005",)),
    "dersimonian_laird": ("by random-effects models (DerSimonian and Laird)", ("dersimonian_laird_1986",)),
    "paule_mandel": ("by random-effects models (Paule and Mandel)", ("paule_mandel_1982",)),
    "fixed": ("by the fixed-effect model", ()),
}
_INTERVAL = {
    "guarded_hartung_knapp": (
        "Hartung-Knapp intervals whose standard error is never smaller than the classic one",
        ("hartung_knapp_2001", "knapp_hartung_2003"),
    ),
    "hartung_knapp": ("Hartung-Knapp intervals", ("hartung_knapp_2001",)),
    "z": ("normal intervals", ()),
}


INDEPENDENT = {"independent", "likelihood_independent", "client_jackknife", "normal_theory"}
"""Methods of site rows that take clients as independent."""


def cluster_sentences(methods: Iterable[str]) -> list[Sentence]:
    """Return how standard errors of sites respect clients who share a therapist, given the methods of their rows."""
    used = set(methods)
    sentences = []
    if used & {"cluster_jackknife", "likelihood_jackknife"}:
        text = "Standard errors of a site respect clients who share a therapist (each therapist left out in turn; t with therapists - 1)."
        sentences.append(Sentence(text, ("bell_mccaffrey_2002",)))
    if "cluster_robust" in used:
        text = "Where leaving out one of the therapists left no estimate, the sandwich standard error was taken."
        sentences.append(Sentence(text, ("liang_zeger_1986",)))
    if used & INDEPENDENT:
        text = (
            "Where a site's therapists are few, not known or ignored by choice, clients were taken as independent; tables name the method."
        )
        sentences.append(Sentence(text))
    return sentences


def pooling_sentence(pooling: Mapping[str, Any], what: str = "") -> Sentence:
    """Return how site estimates were pooled.

    Parameters
    ----------
    pooling : mapping
        Section ``pooling`` of the configuration.
    what : str
        What was pooled; default correlations in their metric.
    """
    what = what or ("Correlations were pooled as Fisher's z" if pooling["metric"] == "fisher_z" else "Correlations were pooled as they are")
    model, first = _TAU2[pooling["tau2"]]
    interval, second = _INTERVAL[pooling["interval"]]
    ending = (
        "" if pooling["tau2"] == "fixed" else "; prediction intervals use t with k - 1 degrees of freedom, tau² has a Q-profile interval"
    )
    third = () if pooling["tau2"] == "fixed" else ("viechtbauer_2007", "higgins_2009")
    procedure = f"{model} with {100 * pooling['level']:g} % {interval}{ending}"
    return Sentence(f"{what} {procedure}.", (*first, *second, *third), f"{what} in the same way.", procedure)
