"""Compute the constants that all sites share for one question, from every site's moments of scales."""

from __future__ import annotations

import argparse
import importlib
import json
from pathlib import Path

import pandas as pd
from alliance.files import hold_text_as_python, write_json


def main() -> None:
    hold_text_as_python()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--question", required=True)
    parser.add_argument("--moments", required=True, nargs="+", type=Path, help="every site's scale_moments.csv")
    parser.add_argument("--options", required=True, type=json.loads, help="what the question reads of the configuration, as JSON")
    parser.add_argument("--output", required=True, type=Path)
    given = parser.parse_args()

    module = importlib.import_module(f"alliance.questions.{given.question}.question")
    frames = [pd.read_csv(path) for path in sorted(given.moments)]
    filled = [frame for frame in frames if len(frame)]
    moments = pd.concat(filled, ignore_index=True) if filled else frames[0]
    write_json(given.output, module.prepare(moments.sort_values(list(moments.columns[:5])), given.options))


if __name__ == "__main__":
    main()
