"""How often a site's path is said to differ where all sites are alike: six sites of 50 clients, nine therapists each.

Prints, for two models and for complete and incomplete clients, the share of runs in which the overall test rejects (5 %) and in which some
site's path differs after Holm. Run by hand: ``PYTHONPATH=scripts python tests/reference/site_equality_level.py`` (four minutes).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from alliance.statistics.row_moments import moments_of_rows
from alliance.statistics.site_equality import site_equality
from alliance.statistics.structural_fit import Moments
from alliance.statistics.structural_model import parse_structural
from alliance.statistics.within_sites import SiteMoments, correlation_acov, correlation_matrix

SITES, CLIENTS, THERAPISTS, BETWEEN_THERAPISTS = 6, 50, 9, 0.05
SMALL = "alliance ~ empathy + intake\noutcome ~ alliance + empathy + intake"
LARGE = (
    "alliance_3 ~ alliance + empathy + intake\nempathy_3 ~ empathy + intake\noutcome ~ alliance_3 + intake\n"
    "alliance_3 ~~ empathy_3\nempathy_3 ~~ outcome"
)
CASES = ((SMALL, 0.25, 150, 1), (LARGE, 0.25, 100, 2), (SMALL, 0.0, 150, 3))


def site(model_names: list[str], missing: float, random: np.random.Generator) -> tuple[Moments, np.ndarray]:
    """Return the correlations of one simulated site and their sampling covariance; outcomes are missing twice as often as the rest."""
    therapist = np.arange(CLIENTS) % THERAPISTS
    shared = random.standard_normal((THERAPISTS, 3))[therapist] * np.sqrt(BETWEEN_THERAPISTS)
    empathy, intake = random.standard_normal((2, CLIENTS))
    empathy = empathy + shared[:, 0]
    alliance = 0.4 * empathy - 0.05 * intake + 0.9 * random.standard_normal(CLIENTS) + shared[:, 1]
    later = 0.65 * alliance + 0.1 * empathy + 0.7 * random.standard_normal(CLIENTS)
    cause = later if "alliance_3" in model_names else alliance
    rows = pd.DataFrame(
        {
            "alliance": alliance,
            "alliance_3": later,
            "empathy": empathy,
            "empathy_3": 0.85 * empathy + 0.5 * random.standard_normal(CLIENTS),
            "intake": intake,
            "outcome": 0.35 * cause + 0.45 * intake + 0.8 * random.standard_normal(CLIENTS) + shared[:, 2],
        }
    )[model_names]
    share = np.where(rows.columns == "outcome", missing, missing / 2)
    rows = rows.mask(random.random(rows.shape) < share)
    kept = rows.notna().any(axis=1).to_numpy()
    rows = rows[kept].reset_index(drop=True)
    found = moments_of_rows(rows, therapist[kept])
    present = rows.notna().to_numpy(dtype=float)
    together = (present.T @ present)[np.triu_indices(len(model_names), 1)]
    n = len(together) / (1 / together).sum()
    acov = correlation_acov(SiteMoments(n, found.covariance, found.acov))
    return Moments(n, correlation_matrix(found.covariance), None, model_names), acov


def main() -> None:
    for syntax, missing, runs, seed in CASES:
        random, model = np.random.default_rng(seed), parse_structural(syntax)
        overall, any_site = [], []
        for _ in range(runs):
            moments, acov = zip(*(site(list(model.observed), missing, random) for _ in range(SITES)))
            found = site_equality(model, moments, [str(place) for place in range(SITES)], acov=acov, units=[THERAPISTS] * SITES)
            if found.status == "not_estimable":
                continue
            overall.append(found.overall.p_value is not None and found.overall.p_value < 0.05)
            any_site.append((found.site_paths["p_holm"] < 0.05).any())
        print(f"{len(model.observed)} variables, {missing:.0%} of outcomes missing, {len(overall)} runs:", end=" ")
        print(f"overall {np.mean(overall):.3f}, some site's path {np.mean(any_site):.3f}")


if __name__ == "__main__":
    main()
