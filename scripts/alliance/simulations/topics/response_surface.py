"""Response surfaces of one site: slopes and curvatures along both lines, and the first principal axis, of clients of therapists.

Both ratings and what is left of the outcome vary between therapists. Ratings differ by a mean; the outcome is best where they agree.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from alliance.simulations.clients import clustered_normal, therapists_of_clients
from alliance.simulations.framework import LEVEL, SINGLE_SITE, Condition, Intervals
from alliance.statistics.response_surface import LINES, polynomial, polynomial_terms, surface, surface_parameters

COEFFICIENTS = np.array([0.0, 0.3, 0.2, -0.25, 0.4, -0.2])
MEANS = (0.15, -0.15)
CORRELATION = 0.4
TOLD = {
    **{name: "slopes and curvatures of response surfaces" for name in LINES},
    "p11": "first principal axes of response surfaces",
    "p10": "first principal axes of response surfaces",
}


def conditions() -> list[Condition]:
    """Return sizes and shares of the variance that lie between therapists."""
    sizes = ((60, 12), (150, 30), (300, 30))
    return [
        Condition(f"n{n}_therapists{therapists}_icc{icc:g}", {"n_clients": n, "n_therapists": therapists, "icc": icc})
        for (n, therapists), icc in product(sizes, (0.0, 0.1))
    ]


def simulate(condition: Condition, random: np.random.Generator, runs: int) -> list[Intervals]:
    """Return the surface's parameters with intervals by the delta method from leaving out therapists."""
    sizes = condition.parameters
    therapists = therapists_of_clients(int(sizes["n_clients"]), int(sizes["n_therapists"]))
    correlation = np.eye(3)
    correlation[0, 1] = correlation[1, 0] = CORRELATION
    values = clustered_normal(random, correlation, therapists, float(sizes["icc"]), runs)
    rows = []
    for x, y, left in np.moveaxis(values, -1, 1):
        x, y = x + MEANS[0], y + MEANS[1]
        fitted = polynomial(x, y, polynomial_terms(x, y) @ COEFFICIENTS[1:] + left, None, therapists)
        rows.append(surface(fitted.b, fitted.vcov, fitted.df, LEVEL).set_index("name"))
    truths = dict(zip(rows[0].index, surface_parameters(COEFFICIENTS), strict=True))
    results = []
    for name, what in TOLD.items():
        estimate, low, high, error = np.array(
            [one.loc[name, ["estimate", "ci_low", "ci_high", "std_error"]] for one in rows], dtype=float
        ).T
        kind, interval = ("surface_coefficient", "jackknife") if name in LINES else ("surface_axis", "delta")
        numbers = (float(truths[name]), estimate, low, high, (estimate, error), SINGLE_SITE)
        results.append(Intervals(name, what, kind, "cluster_jackknife", interval, *numbers))
    return results
