"""Moments within sites, from those of many sites, with their sampling covariance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alliance.statistics.covariance import correlation_matrix, elements, jacobian, matrix_of, normal_theory


@dataclass(frozen=True)
class SiteMoments:
    """Moments of one site.

    Attributes
    ----------
    n : float
        Clients.
    covariance : ndarray, shape (p, p)
        Divisor n - 1, or correlations.
    acov : ndarray, shape (p (p + 1) / 2,) * 2, or None
        Sampling covariance of its elements (upper triangle row by row); None: clients are taken as independent and normal.
    """

    n: float
    covariance: np.ndarray
    acov: np.ndarray | None = None


@dataclass(frozen=True)
class WithinSites:
    """Correlations within sites.

    Attributes
    ----------
    correlation : ndarray, shape (p, p)
    acov : ndarray, shape (p (p + 1) / 2,) * 2
        Sampling covariance of its elements; zero for the diagonal.
    n : float
        Degrees of freedom within sites plus 1.
    """

    correlation: np.ndarray
    acov: np.ndarray
    n: float


@dataclass(frozen=True)
class SiteGroups:
    """Moments of several groups of clients at one site.

    Attributes
    ----------
    n : ndarray, shape (G,)
        Clients.
    covariances : ndarray, shape (G, p, p)
        Divisor n - 1.
    acov : ndarray, shape (G p (p + 1) / 2,) * 2, or None
        Sampling covariance of the elements (upper triangles row by row), one group after the other; None: clients are taken as
        independent and normal.
    """

    n: np.ndarray
    covariances: np.ndarray
    acov: np.ndarray | None = None


@dataclass(frozen=True)
class GroupsWithinSites:
    """Covariances within sites by group of clients.

    Attributes
    ----------
    covariances : ndarray, shape (G, p, p)
        In standard deviations within sites and groups, the same for all groups.
    acov : ndarray, shape (G p (p + 1) / 2,) * 2
        Sampling covariance of their elements, one group after the other.
    n : ndarray, shape (G,)
        Degrees of freedom within sites plus 1.
    """

    covariances: np.ndarray
    acov: np.ndarray
    n: np.ndarray

    def acov_of(self, one: int, other: int) -> np.ndarray:
        """Return the sampling covariance of the elements of two groups."""
        size = len(self.acov) // len(self.n)
        return self.acov[one * size : (one + 1) * size, other * size : (other + 1) * size]


@dataclass(frozen=True)
class MomentsWithinSites:
    """Means and covariances within sites.

    Attributes
    ----------
    mean : ndarray, shape (p,)
        Weighted by clients.
    covariance : ndarray, shape (p, p)
        Weighted by degrees of freedom.
    acov : ndarray, shape (p + p (p + 1) / 2,) * 2
        Sampling covariance of the means and then of the elements of the matrix (upper triangle row by row).
    n : float
        Degrees of freedom within sites plus 1.
    """

    mean: np.ndarray
    covariance: np.ndarray
    acov: np.ndarray
    n: float


def moments_within_sites(
    n: Sequence[float], means: Sequence[np.ndarray], covariances: Sequence[np.ndarray], acov: Sequence[np.ndarray]
) -> MomentsWithinSites:
    """Pool means and covariances of sites as they are, for models in which spread and level may change from variable to variable.

    Parameters
    ----------
    n, means, covariances : sequences
        Clients, means (p,) and covariances (p, p; divisor n - 1) of each site, at least one.
    acov : sequence of ndarray
        For each site as in :class:`MomentsWithinSites`.
    """
    count = np.asarray(n, dtype=float)
    of_mean, of_covariance = count / count.sum(), (count - 1) / (count - 1).sum()
    p = len(means[0])
    total = np.zeros_like(acov[0])
    for place, one in enumerate(acov):
        weight = np.r_[np.full(p, of_mean[place]), np.full(len(one) - p, of_covariance[place])]
        total += one * np.outer(weight, weight)
    covariance = np.tensordot(of_covariance, np.stack(covariances), axes=1)
    return MomentsWithinSites(of_mean @ np.stack(means), covariance, total, float((count - 1).sum() + 1))


def within_sites(sites: Sequence[SiteMoments]) -> WithinSites:
    """Pool the correlation matrices of sites, weighted by their degrees of freedom (n - 1).

    Variables are standardised within sites first, since sites may measure them with other instruments; where all use one instrument and
    vary alike this is the correlation matrix of the pooled covariance within sites. The sampling covariance of a site's correlations
    follows from that of its covariances by the delta method.

    Parameters
    ----------
    sites : sequence of SiteMoments
        At least one; complete matrices of the same variables.
    """
    weight = np.array([one.n - 1 for one in sites])
    share = weight / weight.sum()
    correlation = sum(w * correlation_matrix(one.covariance) for w, one in zip(share, sites))
    acov = sum(w**2 * correlation_acov(one) for w, one in zip(share, sites))
    return WithinSites(correlation, acov, float(weight.sum() + 1))


def groups_within_sites(sites: Sequence[SiteGroups]) -> GroupsWithinSites:
    """Pool the covariance matrices of groups of clients over sites, each group weighted by its degrees of freedom (n - 1).

    Variables are first divided by their standard deviation within the groups of the site (variances weighted by degrees of freedom), the
    same for all groups: what is equal over groups stays so, and groups may differ in spread. The sampling covariance follows by the delta
    method.

    Parameters
    ----------
    sites : sequence of SiteGroups
        At least one; complete matrices of the same variables in the same groups.
    """
    weight = np.array([one.n - 1 for one in sites])
    share = weight / weight.sum(axis=0)
    size = len(elements(sites[0].covariances[0]))
    covariances, total = np.zeros_like(sites[0].covariances), np.zeros((weight.shape[1] * size,) * 2)
    for own, one in zip(share, sites):
        covariances = covariances + own[:, None, None] * _in_common_units(one.covariances, one.n)
        spread = np.repeat(own, size)
        total += np.outer(spread, spread) * _common_units_acov(one)
    return GroupsWithinSites(covariances, total, weight.sum(axis=0) + 1)


def _in_common_units(covariances: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Return matrices (..., G, p, p) of variables divided by their standard deviation within groups."""
    variance = np.einsum("g,...gpp->...p", (n - 1) / (n - 1).sum(), covariances)
    return covariances / np.sqrt(variance[..., None, :, None] * variance[..., None, None, :])


def _common_units_acov(site: SiteGroups) -> np.ndarray:
    groups, p, _ = site.covariances.shape
    given = np.concatenate([elements(one) for one in site.covariances])
    size = len(given) // groups
    spread = site.acov
    if spread is None:
        spread = np.zeros((len(given),) * 2)
        for group, one in enumerate(site.covariances):
            here = slice(group * size, (group + 1) * size)
            spread[here, here] = normal_theory(one, site.n[group])

    def turned(stack: np.ndarray) -> np.ndarray:
        matrices = np.stack([matrix_of(stack[..., group * size : (group + 1) * size], p) for group in range(groups)], axis=-3)
        units = _in_common_units(matrices, site.n)
        return np.concatenate([elements(units[..., group, :, :]) for group in range(groups)], axis=-1)

    deviation = [np.sqrt(np.diagonal(one)) for one in site.covariances]
    slopes = jacobian(turned, given, np.concatenate([elements(np.outer(one, one)) for one in deviation]))
    return slopes @ spread @ slopes.T


def correlation_acov(site: SiteMoments) -> np.ndarray:
    """Return the sampling covariance of the elements of a site's correlation matrix, by the delta method; zero for the diagonal."""
    covariance = np.asarray(site.covariance, dtype=float)
    p = len(covariance)
    spread = normal_theory(covariance, site.n) if site.acov is None else site.acov
    deviation = np.sqrt(np.diagonal(covariance))
    slopes = jacobian(
        lambda stack: elements(correlation_matrix(matrix_of(stack, p))),
        elements(covariance),
        elements(np.outer(deviation, deviation)),
    )
    return slopes @ spread @ slopes.T
