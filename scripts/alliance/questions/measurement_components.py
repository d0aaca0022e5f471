"""The first principal component of the therapist-offered conditions and the alliance scales (claim I5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from alliance.questions.part import Part
from alliance.questions.sentences import Sentence
from alliance.questions.site_data import SiteData
from alliance.questions.summary import SiteSummary


def estimate(site: SiteData, options: Mapping[str, Any]) -> Part:
    """Return one site's rows."""
    return Part()


def pool(gathered: pd.DataFrame, summaries: Sequence[SiteSummary], options: Mapping[str, Any]) -> pd.DataFrame:
    """Return the table: rows of the sites and pooled rows."""
    return pd.DataFrame()


def methods(options: Mapping[str, Any], table: pd.DataFrame) -> list[Sentence]:
    """Return what was done in this run, with citation keys."""
    return []
