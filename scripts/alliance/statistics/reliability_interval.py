"""Reliability coefficients with intervals on the scale of ln(1 - reliability), and groups of clients to leave out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from alliance.statistics.distributions import critical_value
from alliance.statistics.resampling import generator

CLIENT_GROUPS = 50


@dataclass(frozen=True)
class Coefficient:
    """A coefficient of reliability with its interval. Numbers are NaN where there is none; then ``reason`` says why.

    Attributes
    ----------
    estimate, std_error, ci_low, ci_high : float
        ``std_error`` is that of the coefficient itself (delta method).
    status, reason : str
        ``estimated``, ``flagged`` or ``not_estimable``, and why.
    name : str
        What it is called, where several stand together.
    """

    estimate: float
    std_error: float
    ci_low: float
    ci_high: float
    status: str = "estimated"
    reason: str = ""
    name: str = ""

    @property
    def ln_complement(self) -> float:
        """ln(1 - estimate), on which coefficients are pooled (Bonett, 2010); NaN for a perfect one."""
        return float(np.log1p(-self.estimate)) if self.estimate < 1 else np.nan

    @property
    def ln_error(self) -> float:
        """Standard error of ln(1 - estimate)."""
        return self.std_error / (1 - self.estimate) if self.estimate < 1 else np.nan


def no_coefficient(reason: str, name: str = "") -> Coefficient:
    """Return a coefficient that has no estimate."""
    return Coefficient(np.nan, np.nan, np.nan, np.nan, "not_estimable", reason, name)


@dataclass(frozen=True)
class LeftOut:
    """What leaving out each unit in turn gives.

    Attributes
    ----------
    std_error : ndarray, shape (m,)
        Of ln(1 - reliability); NaN where a coefficient does not exist without one of the units.
    df : float
        Units - 1.
    method : str
        ``cluster_jackknife`` or ``client_jackknife``.
    caution : str
        Why clients are taken as independent, where therapists are known.
    """

    std_error: np.ndarray
    df: float
    method: str
    caution: str

    def coefficient(self, which: int, estimate: float, level: float, cautions: str = "") -> Coefficient:
        """Return the estimate of the coefficient at one position with its interval."""
        error = float(self.std_error[which])
        margin = float(critical_value(level, self.df)) * error
        low, high = (1 - (1 - estimate) * np.exp(sign * margin) for sign in (1, -1))
        reasons = [text for text in (cautions, self.caution) if text]
        if not np.isfinite(error):
            unit = "therapists" if self.method == "cluster_jackknife" else "clients"
            reasons.append(f"no interval: without one of the {unit} there is no estimate")
        return Coefficient(
            float(estimate),
            float((1 - estimate) * error),
            float(low),
            float(high),
            "flagged" if reasons else "estimated",
            "; ".join(reasons),
        )


def leave_out(without: Callable[[np.ndarray, int], np.ndarray], therapists: np.ndarray | None, clients: int, min_clusters: int) -> LeftOut:
    """Return the errors of reliabilities by leaving out each therapist in turn, or clients.

    With fewer than ``min_clusters`` therapists clients are taken as independent: each is left out in turn, or, of more than 100, each of 50
    random groups.

    Parameters
    ----------
    without : callable
        Takes codes 0.. of the unit of each client and the number of units, and returns the coefficients without each, shape (units, m).
    therapists : ndarray of int, shape (clients,), or None
        Codes 0.. of the therapist of each client.
    clients : int
        Number of clients, in an order that does not depend on the order of rows.
    min_clusters : int
        Fewer therapists: clients are taken as independent.
    """
    caution = ""
    if therapists is not None:
        count = int(therapists.max()) + 1
        if count >= min_clusters:
            return LeftOut(_error(without(therapists, count)), count - 1.0, "cluster_jackknife", "")
        caution = f"fewer than {min_clusters} therapists ({count}): clients taken as independent"
    groups = clients if clients <= 2 * CLIENT_GROUPS else CLIENT_GROUPS
    units = np.arange(clients)
    if groups < clients:
        units = generator(0, "groups of clients").permutation(units % groups)
    return LeftOut(_error(without(units, groups)), groups - 1.0, "client_jackknife", caution)


def _error(values: np.ndarray) -> np.ndarray:
    usable = (values < 1).all(axis=0)
    logs = np.log1p(-np.where(usable, values, 0.0))
    spread = ((logs - logs.mean(axis=0)) ** 2).sum(axis=0) * (len(values) - 1) / len(values)
    return np.where(usable, np.sqrt(spread), np.nan)
