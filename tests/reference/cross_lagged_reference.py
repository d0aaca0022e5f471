"""Cross-lagged models whose values lavaan gives, and the rows it gets; run this file to store its values again."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import r_script
from alliance.statistics.cross_lagged import GROWTH, MODELS, growth_syntax, panel_syntax
from alliance.statistics.resampling import generator

HERE = Path(__file__).resolve().parent
SERIES = ("a", "s")
TIMES = (0.0, 1.0, 2.0, 4.0)
ERRORS = np.array([[0.15, 0.16, 0.17, 0.18], [0.2, 0.2, 0.2, 0.2]])
TEXTS = {
    **{name: panel_syntax(SERIES, len(TIMES), **settings) for name, settings in MODELS.items()},
    "known_errors": panel_syntax(SERIES, len(TIMES), equal_lags=True, error_variances=ERRORS),
    GROWTH: growth_syntax(SERIES, TIMES),
}


def rows() -> pd.DataFrame:
    """Return two series at four waves of clients of 20 therapists, a fifth of the scores missing."""
    random = generator(4, "cross_lagged_reference")
    count, waves = 250, len(TIMES)
    therapist = np.sort(random.integers(0, 20, count))
    stable = random.normal(size=(count, 2)) @ np.array([[1.0, 0.4], [0.0, 0.9]]) + 0.4 * random.normal(size=(20, 2))[therapist]
    within = random.normal(size=(count, 2)) * 1.1
    scores = []
    for wave in range(waves):
        if wave:
            change = random.normal(size=(count, 2)) @ np.array([[1.0, 0.3], [0.0, 0.95]])
            within = within @ np.array([[0.3, 0.15], [0.05, 0.35]]) + change
        scores.append(10 + 0.2 * wave + stable + within)
    values = np.stack(scores)
    columns = {f"{name}{wave + 1}": values[wave, :, place] for place, name in enumerate(SERIES) for wave in range(waves)}
    frame = pd.DataFrame(columns)
    frame = frame.mask(random.uniform(size=frame.shape) < 0.2)
    return frame.assign(therapist=therapist)[frame.notna().any(axis=1)].reset_index(drop=True)


def computed() -> dict:
    """Return what lavaan gives now."""
    settings = {"missing": "ml", "estimator": "MLR", "cluster": "therapist"}
    cases = {name: {"model": text, "data": "panel", "settings": settings} for name, text in TEXTS.items()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows().to_csv(folder / "panel.csv", index=False, float_format="%.17g")
        (folder / "row_models.json").write_text(json.dumps(cases), encoding="utf-8")
        return r_script.values("structural_rows.R", folder)


def stored() -> dict:
    """Return what lavaan gave when the values were stored."""
    return json.loads((HERE / "cross_lagged.json").read_text(encoding="utf-8"))


if __name__ == "__main__":
    (HERE / "cross_lagged.json").write_text(json.dumps(computed(), sort_keys=True) + "\n", encoding="utf-8")
