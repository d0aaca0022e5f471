"""Indirect effects of the path models, one value a client: the chain, its place in time, and what would undo it (claims F6, I6, J1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions import effects
from alliance.questions.contract import POOLED, WITH_NUMBERS
from alliance.questions.part import Part
from alliance.questions.path_model_sample import PathSample, model_of
from alliance.questions.path_models_fits import PERCENTILE, STANDARDISED, TYPES, PooledFit, SiteFit
from alliance.questions.sentences import Sentence
from alliance.statistics.indirect_effects import Chain, e_value_of_path, indirect_effects, zero_at
from alliance.statistics.structural_fit import StructuralFit

CONFOUNDER, E_VALUE = "confounder_correlation", "e_value"
LEVEL = "client"
KEYS = ["model", "effect", "level", "definition", "estimate_type", "interval"]


def told(chain: Chain) -> str:
    """Return an effect's chain of variables in one expression."""
    return "; ".join(" -> ".join(one) for one in chain.variables)
