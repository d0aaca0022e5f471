"""How often the rule for measurement invariance errs: false alarms, and differences that are found.

``python tests/reference/invariance_decisions.py`` prints a table (minutes). Twelve items of three factors correlated .6, answers 1 to 7.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from alliance.statistics.invariance import invariance_of_groups
from alliance.statistics.resampling import generator
from alliance.statistics.structural_fit import Moments

ITEMS = tuple(f"i{number}" for number in range(1, 13))
FACTORS = {"task": ITEMS[:4], "bond": ITEMS[4:8], "goal": ITEMS[8:]}
RUNS = {2: 300, 5: 200, 20: 60}
ROOT = np.linalg.cholesky(np.full((3, 3), 0.6) + 0.4 * np.eye(3))


def answers(random: np.random.Generator, n: int, mean: float, change: float) -> Moments:
    """Return moments of one group; ``change`` is added to the intercept of i3."""
    factors = mean + random.standard_normal((n, 3)) @ ROOT.T
    values = 4.5 + 0.8 * np.repeat(factors, 4, axis=1) + 0.8 * random.standard_normal((n, 12))
    values[:, 2] += change
    values = np.clip(np.round(values), 1, 7)
    return Moments(n, np.cov(values, rowvar=False), values.mean(axis=0), ITEMS)


def main() -> None:
    """Print one line a condition."""
    print("groups    n change runs | configural not estimable | metric fails | scalar fails | strict fails | i3 freed | other freed")
    for groups, n, change in product(RUNS, (60, 150, 400), (0.0, 0.6)):
        random = generator(1, "invariance_decisions", groups, n, change)
        counts = np.zeros(6)
        for _ in range(RUNS[groups]):
            means = np.append(0.0, random.normal(0, 0.3, groups - 1))
            moments = [answers(random, n, mean, change if place == 1 else 0.0) for place, mean in enumerate(means)]
            found = invariance_of_groups(FACTORS, moments, [f"g{place}" for place in range(groups)])
            decided = {step.model: step.decision for step in found.steps}
            freed = {one.item for step in found.steps for one in step.freed}
            fails = [decided.get(name) == "fails" for name in ("metric", "scalar", "strict")]
            counts += [decided["configural"] != "holds", *fails, "i3" in freed, bool(freed - {"i3"})]
        shares = counts / RUNS[groups]
        print(f"{groups:6d} {n:4d} {change:6.1f} {RUNS[groups]:4d} | " + " | ".join(f"{share:.3f}" for share in shares), flush=True)


if __name__ == "__main__":
    main()
