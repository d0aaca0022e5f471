"""One model on the correlations within sites."""

from __future__ import annotations

import numpy as np
import pytest
from alliance.statistics.covariance import sandwich
from alliance.statistics.structural_fit import Moments, fit_structural, parse_structural
from alliance.statistics.within_sites import SiteMoments, within_sites

NAMES = ["x", "m", "y"]
MODEL = "m ~ a*x\ny ~ b*m + x\nindirect := a*b"


def rows(random: np.random.Generator, therapists: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    therapist = np.repeat(np.arange(therapists), size)
    shared = random.normal(0, 0.6, (therapists, 3))[therapist]
    x = random.standard_normal(therapist.size) + shared[:, 0]
    m = 0.4 * x + random.standard_normal(therapist.size) + shared[:, 1]
    return np.column_stack([x, m, 0.4 * m + random.standard_normal(therapist.size) + shared[:, 2]]), therapist


def test_levels_and_units_of_sites_do_not_matter() -> None:
    random = np.random.default_rng(1)
    data = [rows(random, 12, 6) for _ in range(3)]
    plain = within_sites([SiteMoments(72, np.cov(one.T), sandwich(one, code)) for one, code in data])
    moved = [(one * np.array([10.0, 0.1, place + 1]) + 50 * place, code) for place, (one, code) in enumerate(data)]
    other = within_sites([SiteMoments(72, np.cov(one.T), sandwich(one, code)) for one, code in moved])
    np.testing.assert_allclose(other.correlation, plain.correlation, atol=1e-12)
    np.testing.assert_allclose(other.acov, plain.acov, atol=1e-9)
    assert plain.n == 3 * 71 + 1
    assert np.diagonal(plain.acov)[[0, 3, 5]] == pytest.approx(0, abs=1e-12)


@pytest.mark.slow
def test_errors_are_those_of_repeated_samples_where_clients_share_therapists() -> None:
    runs, estimates, errors, naive = 250, [], [], []
    for seed in range(runs):
        random = np.random.default_rng(seed)
        given = []
        for therapists in (20, 25, 30, 40):
            data, therapist = rows(random, therapists, 6)
            given.append(SiteMoments(len(data), np.cov(data.T), sandwich(data, therapist)))
        pooled = within_sites(given)
        moments = Moments(pooled.n, pooled.correlation, None, NAMES)
        found = fit_structural(parse_structural(MODEL), moments, acov=[pooled.acov]).parameters
        wanted = found["op"].isin(["~", ":="])
        estimates.append(found.loc[wanted, "standardized"])
        errors.append(found.loc[wanted, "std_error_standardized"])
        naive.append(fit_structural(parse_structural(MODEL), moments).parameters.loc[wanted, "std_error_standardized"])
    spread = np.std(estimates, axis=0, ddof=1)
    # Monte Carlo error of a standard deviation: 4.5 %.
    assert np.mean(errors, axis=0) / spread == pytest.approx(np.ones(4), abs=0.13)
    assert (np.mean(naive, axis=0) < 0.95 * spread).any()
