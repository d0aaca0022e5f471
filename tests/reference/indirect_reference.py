"""Data of the reference tests of indirect effects, and the values that R gives for them.

``python tests/reference/indirect_reference.py`` computes the stored values again (needs Rscript).
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import r_script
import statistics_reference

HERE = Path(__file__).resolve().parent
MODELS = {
    "saturated": "m ~ a*x + z\ny ~ b*m + c*x + z\nindirect := a*b\ntotal := c + a*b",
    "overidentified": "m ~ a*x + z\nm2 ~ m\ny ~ b*m + d*m2\nindirect := a*b",
    "latent": "f =~ m + m2 + y2\nf ~ a*x\ny ~ b*f + z\nindirect := a*b",
}


def rows() -> pd.DataFrame:
    """Return the 300 clients of 30 therapists of :func:`statistics_reference.simulated_rows`."""
    return statistics_reference.simulated_rows()


def holes() -> pd.DataFrame:
    """Return the same with a tenth of the values missing, some of them where x is high."""
    data = rows()
    random = np.random.Generator(np.random.PCG64(4))
    for name in ("z", "m", "m2", "y", "y2"):
        share = np.where(data["x"] > 0, 0.15, 0.05) if name == "y" else 0.1
        data.loc[random.random(len(data)) < share, name] = np.nan
    return data


def computed() -> dict:
    """Return what R gives now."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows().to_csv(folder / "rows.csv", index=False)
        holes().to_csv(folder / "holes.csv", index=False)
        (folder / "models.json").write_text(json.dumps(MODELS), encoding="utf-8")
        return r_script.values("indirect.R", folder)


def stored() -> dict:
    """Return what R gave when the values were stored."""
    return json.loads((HERE / "indirect.json").read_text(encoding="utf-8"))


if __name__ == "__main__":
    (HERE / "indirect.json").write_text(json.dumps(computed(), sort_keys=True) + "\n", encoding="utf-8")
