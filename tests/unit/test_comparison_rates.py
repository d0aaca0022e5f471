"""How often comparing sites raises an alarm: at sites that differ by chance alone, and at one with a fault of known size."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from alliance.sites.comparison import compare, shifted_distributions
from test_comparison import REGISTRY, codes, study, turn

ITEM_LEVEL_STUDIES = 10
STUDIES = 200


def moments(draw: np.random.Generator, n_sites: int, shift: float = 0.0, factor: float = 1.0, between: float = 0.2) -> pd.DataFrame:
    """Return the moments of one scale at sites of 20 to 80 clients, normal scores of sd 1; the first site's moved and stretched.

    True means differ between sites with sd ``between``, true standard deviations by a tenth.
    """
    rows = []
    for site in range(n_sites):
        n = int(draw.integers(20, 81))
        scores = draw.normal(0, between) + np.exp(draw.normal(0, 0.1)) * draw.standard_normal(n)
        scores = scores * factor + shift if site == 0 else scores
        numbers = {"n_clients": n, "n_rows": n, "mean": scores.mean(), "sd_between_client": scores.std(ddof=1), "sd_within_client": np.nan}
        rows.append(
            {"site": f"s{site:02d}", "instrument": "wai_sr", "rater": "client", "scale": "total", "timepoint": "session", **numbers}
        )
    return pd.DataFrame(rows).assign(minimum_possible=np.nan, maximum_possible=np.nan, alpha=0.9)


def rates(code: str, seed: int, n_sites: int, **fault: float) -> tuple[float, float]:
    """Return in what share of studies the first site is named, and any other."""
    draw = np.random.default_rng(seed)
    named = [{issue.site for issue in shifted_distributions(moments(draw, n_sites, **fault)) if issue.code == code} for _ in range(STUDIES)]
    return float(np.mean(["s00" in sites for sites in named])), float(np.mean([bool(sites - {"s00"}) for sites in named]))


@pytest.mark.parametrize(("n_sites", "shifted", "rescaled"), [(4, 0.01, 0.03), (6, 0.02, 0.055), (12, 0.02, 0.07)])
def test_sites_that_differ_by_chance_raise_v26_in_2_and_v27_in_7_of_100_studies_at_most(
    n_sites: int, shifted: float, rescaled: float
) -> None:
    """Shares of studies with any alarm, measured in 400 studies: V26 .5, 1.5 and 2 %, V27 2, 5.5 and 7 % with 4, 6 and 12 sites.

    The more sites, the more of them may stand apart by chance. The bounds allow 3 standard errors of 200 studies.
    """
    for code, share in (("V26", shifted), ("V27", rescaled)):
        assert sum(rates(code, 11, n_sites)) <= share + 3 * np.sqrt(share * (1 - share) / STUDIES), code


@pytest.mark.parametrize(
    ("code", "fault", "found"),
    [
        ("V26", {"shift": 1.0}, (0.38, 0.42, 0.49)),
        ("V26", {"shift": 1.5}, (0.70, 0.79, 0.91)),
        ("V26", {"shift": 2.0}, (0.87, 0.95, 0.99)),
        ("V27", {"factor": 0.5}, (0.51, 0.60, 0.68)),
        ("V27", {"factor": 2.0}, (0.50, 0.66, 0.74)),
        ("V27", {"factor": 3.0}, (0.84, 0.92, 0.98)),
    ],
)
def test_a_mean_moved_by_2_sd_or_a_spread_tripled_is_named_in_5_of_6_studies_with_4_sites_and_nearly_all_with_12(
    code: str, fault: dict[str, float], found: tuple[float, ...]
) -> None:
    """``found``: share of 400 studies in which the site at fault was named, with 4, 6 and 12 sites of 20 to 80 clients.

    Shares of 200 other studies are within 4 standard errors of these.
    """
    for n_sites, share in zip((4, 6, 12), found):
        named, _ = rates(code, 12, n_sites, **fault)
        assert abs(named - share) <= 4 * np.sqrt(share * (1 - share) * (1 / 400 + 1 / STUDIES)), n_sites


@pytest.mark.parametrize(("key", "mean"), [("wai_sr", 3.8), ("wai_s", 5.0)])
def test_none_of_10_clean_studies_raises_v18_or_h12(key: str, mean: float) -> None:
    """Six sites of 40 clients in three sessions; true site means differ by a fifth of a standard deviation of items."""
    raised = [issue.code for seed in range(ITEM_LEVEL_STUDIES) for issue in compare(study(key, 500 + seed, mean=mean, n_clients=40))]
    assert not {"V18", "H12"} & set(raised)


def test_answers_shifted_by_one_are_named_by_v18_in_10_of_10_studies_and_at_no_other_site() -> None:
    def shift(values: np.ndarray) -> np.ndarray:
        return np.where(values == 1, np.nan, values - 1)

    for seed in range(ITEM_LEVEL_STUDIES):
        found = codes(compare(study("wai_sr", 500 + seed, shift, mean=3.8, n_clients=40)))
        assert {site for code, site in found if code == "V18"} == {"elm"}, seed


def test_an_item_reversed_before_it_was_sent_is_named_by_h12_in_10_of_10_studies_and_at_no_other_site() -> None:
    change = turn(REGISTRY["wai_s"], 4)
    for seed in range(ITEM_LEVEL_STUDIES):
        issues = [issue for issue in compare(study("wai_s", 500 + seed, change, n_clients=40)) if issue.code == "H12"]
        assert [(issue.site, issue.column) for issue in issues] == [("elm", "i4")], seed
