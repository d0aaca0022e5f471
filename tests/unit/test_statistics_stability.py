"""Stability over sessions: known truth, what cannot be estimated, and what is flagged."""

from __future__ import annotations

import numpy as np
import pytest
from alliance.statistics.stability import lagged, stability, stability_contrast


def course(clients: int, sessions: int, stays: float, seed: int, therapists: int = 20) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    therapist = np.arange(clients) % therapists
    person = np.sqrt(0.1) * random.normal(size=therapists)[therapist] + np.sqrt(0.9) * random.normal(size=clients)
    return np.sqrt(stays) * person[:, None] + np.sqrt(1 - stays) * random.normal(size=(clients, sessions)), therapist


def test_intervals_cover_the_true_stability_and_no_difference() -> None:
    covered, same = [], []
    for seed in range(400):
        scores, therapist = course(60, 8, 0.6, seed)
        found = stability(scores[:, :4], therapist)
        covered.append(found.ci_low <= 0.6 <= found.ci_high)
        contrast = stability_contrast(scores[:, :4], scores[:, 4:], therapist)
        same.append(contrast.ci_low <= 0 <= contrast.ci_high)
    for share in (np.mean(covered), np.mean(same)):
        assert share == pytest.approx(0.95, abs=3 * np.sqrt(0.95 * 0.05 / 400))


def test_one_pair_without_therapists_is_a_correlation() -> None:
    scores, _ = course(50, 3, 0.5, 1)
    found = stability(scores, pairs=[(0, 2)])
    assert found.estimate == pytest.approx(np.corrcoef(scores[:, 0], scores[:, 2])[0, 1], abs=1e-12)
    assert (found.method, found.n_clients, found.n_clusters, found.status) == ("client_jackknife", 50, 0, "estimated")
    assert found.std_error_z == pytest.approx(1 / np.sqrt(47), rel=0.25)
    assert stability(100 + 5 * scores, pairs=[(0, 2)]).std_error_z == pytest.approx(found.std_error_z, rel=1e-9)


def test_pairs_with_few_clients_are_left_out_and_said_where_none_is_left() -> None:
    scores, therapist = course(40, 4, 0.5, 2)
    scores[5:, 3] = np.nan
    found = stability(scores, therapist)
    assert (found.n_pairs, found.estimate) == (2, stability(scores[:, :3], therapist).estimate)
    few = stability(scores[:8], therapist[:8])
    assert (few.status, few.reason) == ("not_estimable", "needs two sessions with scores of the same 10 clients; has 8 at most")
    one = stability(scores[:, :1], therapist)
    assert one.reason == "needs two sessions with scores of the same 10 clients; has 0 at most" and np.isnan(one.estimate)
    constant = scores.copy()
    constant[:, 1] = 4.0
    assert "constant" in stability(constant, therapist).reason
    assert stability(np.repeat(scores[:, :1], 2, axis=1), therapist).status == "not_estimable"


def test_few_therapists_are_flagged_and_shapes_checked() -> None:
    scores, _ = course(60, 4, 0.5, 3)
    found = stability(scores, np.arange(60) % 3)
    assert (found.method, found.status) == ("client_jackknife", "flagged") and "fewer than 5 therapists (3)" in found.reason
    with pytest.raises(ValueError, match="same clients and sessions"):
        stability_contrast(scores, scores[:, :3])
    assert lagged(4) == [(0, 1), (1, 2), (2, 3)] and lagged(4, 3) == [(0, 3)] and lagged(2, 2) == []
