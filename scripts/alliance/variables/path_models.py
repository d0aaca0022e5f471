"""The variables of the path models of a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RESERVED = ("comparison", "cross_lagged", "mediation", "conditions", "technique")
"""Names that no path model may have: other parts of the question go by them."""


def definitions(section: Mapping[str, Any], model: str) -> dict[str, Mapping[str, Any]]:
    """Return the variables that a model's syntax may use: those shared by all models, and its own, which come first.

    Parameters
    ----------
    section : mapping
        ``questions.path_models`` of the configuration.
    model : str
        Name of a model.
    """
    return {**(section.get("variables") or {}), **(section["models"][model].get("variables") or {})}
