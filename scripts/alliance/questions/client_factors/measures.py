"""Client factors and the alliance of one site, over the same clients, and the columns that name them in rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions.correlations import therapist_codes
from alliance.questions.site_data import SiteData
from alliance.variables.client import Measure, factor_definition, measure, measured_after

UNKNOWN = "unknown"


@dataclass(frozen=True)
class SiteFactors:
    """The factors of one site over its clients.

    Attributes
    ----------
    clients : Index
        Client numbers.
    codes : ndarray, shape (clients,)
        Therapist of each client; a client whose therapist is not known has a code of its own.
    therapists_known : bool
        Whether any therapist is known.
    factors : dict
        What the configuration says of each factor, ordered by name.
    found : dict of str to Measure
        The factor as measured; ``reason`` says why it is not.
    x : ndarray, shape (clients, factors)
        Values, higher is better: the sign of reversed factors is turned.
    """

    clients: pd.Index
    codes: np.ndarray
    therapists_known: bool
    factors: dict[str, Mapping[str, Any]]
    found: dict[str, Measure]
    x: np.ndarray

    @property
    def therapists(self) -> np.ndarray | None:
        """Therapist of each client; None where no therapist is known."""
        return self.codes if self.therapists_known else None

    def late(self, later: Sequence[Measure]) -> np.ndarray:
        """Return whether a factor was measured after each of some other measures, shape (clients, factors, measures)."""
        return measured_after(list(self.found.values()), list(later), self.clients)

    def measured(self, category: str) -> list[int]:
        """Return the positions of the factors of a category that the site measured."""
        return [
            position
            for position, (factor, content) in enumerate(self.factors.items())
            if content["category"] == category and not self.found[factor].reason
        ]

    def values(self, one: Measure) -> np.ndarray:
        """Return a measure over the clients, NaN where missing."""
        return one.values.reindex(self.clients).to_numpy(dtype=float)

    def ratings(self, one: Measure) -> np.ndarray:
        """Return the number of ratings behind each client's value, 0 where there is none."""
        if not len(one.times):
            return np.zeros(len(self.clients))
        return one.times["n_sessions"].reindex(self.clients).fillna(0).to_numpy(dtype=float)


def z_of_rated(x: np.ndarray, rated: np.ndarray) -> np.ndarray:
    """Return columns as z scores over the clients who are rated, others missing; columns that do not vary are missing.

    Parameters
    ----------
    x : ndarray, shape (n, m)
    rated : ndarray of bool, shape (n,)
    """
    x = np.where(rated[:, None], x, np.nan)
    n = np.isfinite(x).sum(axis=0)
    filled = np.nan_to_num(x)
    centred = np.where(np.isfinite(x), filled - filled.sum(axis=0) / np.maximum(n, 1), 0.0)
    spread = np.sqrt((centred**2).sum(axis=0) / np.maximum(n - 1, 1))
    usable = spread > 1e-12 * np.abs(filled).max(axis=0, initial=0.0)
    return np.where(np.isfinite(x), centred / np.where(usable, spread, np.nan), np.nan)


def category_means(own: SiteFactors, x: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Return the categories, and the mean of each client's standardised factors of each of them, shape (clients, categories).

    It is missing where a client lacks more than half of the factors that the site measured of a category.
    """
    categories = sorted({content["category"] for content in own.factors.values()})
    scored = z_of_rated(x, np.ones(len(x), dtype=bool))
    means = np.full((len(x), len(categories)), np.nan)
    for column, category in enumerate(categories):
        measured = own.measured(category)
        known = np.isfinite(scored[:, measured])
        enough = (known.sum(axis=1) >= len(measured) / 2) & known.any(axis=1)
        total = np.where(known, scored[:, measured], 0.0).sum(axis=1)
        means[:, column] = np.where(enough, total / np.maximum(known.sum(axis=1), 1), np.nan)
    return categories, means


def factors_of(options: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the factors of the configuration, ordered by name."""
    factors = options["questions"]["client_factors"]["factors"]
    return {name: factors[name] for name in sorted(factors)}


def site_factors(site: SiteData, options: Mapping[str, Any], others: Sequence[Measure] = ()) -> SiteFactors:
    """Return the factors of a site over all its clients and those who have one of some other measures."""
    factors = factors_of(options)
    found = {factor: measure(site, factor_definition(factor), options) for factor in factors}
    own = set(site.clients["client_no"].dropna().astype("int64")) if len(site.clients) else set()
    clients = pd.Index(sorted(own.union(*(one.values.index for one in others))), dtype="int64")
    codes, known = therapist_codes(clients, site.clients, site.scores)
    columns = [
        (-1.0 if factors[factor].get("reversed") else 1.0) * one.values.reindex(clients).to_numpy(dtype=float)
        for factor, one in found.items()
    ]
    return SiteFactors(clients, codes, known, factors, found, np.column_stack(columns) if columns else np.empty((len(clients), 0)))


def windows_and_raters(options: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the windows and raters of the alliance that are analysed, those of the headline first."""
    question = options["questions"]["client_factors"]
    windows = list(dict.fromkeys([question["window"], *question.get("windows", ())]))
    raters = list(dict.fromkeys([options["alliance"]["rater"], *question.get("raters", ())]))
    return [(window, rater) for window in windows for rater in raters]


def alliance_measure(site: SiteData, window: str, rater: str, options: Mapping[str, Any], equal_sessions: int | None = None) -> Measure:
    """Return the alliance of a site in a window as one rater sees it."""
    definition: dict[str, Any] = {"construct": "alliance", "window": window, "rater": rater}
    return measure(site, definition | ({} if equal_sessions is None else {"equal_sessions": equal_sessions}), options)


def same_rater(*pairs: tuple[str, str]) -> str:
    """Return whether the two raters of each pair are one: ``yes``, ``no``, ``mixed`` or ``unknown``."""
    known = {"yes" if first == second else "no" for first, second in pairs if first not in ("", UNKNOWN) and second not in ("", UNKNOWN)}
    complete = all(one not in ("", UNKNOWN) for pair in pairs for one in pair)
    return UNKNOWN if not known or (len(known) == 1 and not complete) else next(iter(known)) if len(known) == 1 else "mixed"


def factor_keys(factor: str, content: Mapping[str, Any], alliance_rater: str, factor_rater: str, window: str) -> dict[str, Any]:
    """Return the columns that say which factor and which alliance a row is about."""
    return {
        "parameter": factor,
        "level": "client",
        "factor": factor,
        "category": content["category"],
        "reversed": "yes" if content.get("reversed") else "no",
        "alliance_rater": alliance_rater,
        "factor_rater": factor_rater or UNKNOWN,
        "same_rater": same_rater((factor_rater, alliance_rater)),
        "window": window,
    }
