"""Answers to items as they enter the scales: what reliability, structure and invariance are estimated from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from alliance.instruments.registry import TOTAL, Instrument
from alliance.instruments.scoring import answers, derived_ratings, item_columns, response_limits
from alliance.questions.site_data import SiteData
from alliance.variables.client import attended_sessions, in_window

SESSION = "session"
ALL_SESSIONS = "all sessions"


@dataclass(frozen=True)
class ItemAnswers:
    """Answers of one instrument by one rater.

    Parameters
    ----------
    instrument : Instrument
    rater : str
    derived_from : str
        Long form whose items these are; empty where the instrument itself was filled in.
    forms : DataFrame
        One row a filled-in form: ``client_no, therapist_no, timepoint, session, rater_no``, sorted by client, session and rater.
    answers : ndarray, shape (forms, items)
        Answers turned by the scoring key, higher is more of what the scale is called; NaN where unanswered.
    items : list of int
        Item numbers, in the order of the columns.
    minimum, maximum : float
        The lowest and highest answer the site's form allows (the narrowest range that holds all declared ones).
    """

    instrument: Instrument
    rater: str
    derived_from: str
    forms: pd.DataFrame
    answers: np.ndarray
    items: list[int]
    minimum: float
    maximum: float

    @property
    def form(self) -> str:
        """The name of this rater's form; the instrument's name where it has none."""
        return self.instrument.forms.get(self.rater, self.instrument.name)

    @property
    def categories(self) -> int:
        """Number of answers an item allows."""
        response = self.instrument.response
        if response is not None and response.values is not None:
            return len(response.values)
        return round((self.maximum - self.minimum) / (response.step if response is not None else 1)) + 1

    @property
    def answer_range(self) -> str:
        """The lowest and highest answer in words; moments of items on other ranges are not comparable."""
        return f"{self.minimum:g} to {self.maximum:g}"

    @property
    def scales(self) -> dict[str, list[int]]:
        """Item numbers of every scale with at least two items, the total last; a total of one scale's items is left out."""
        found = {name: self.instrument.scale_items(name) for name in self.instrument.scale_names}
        found = {name: items for name, items in found.items() if len(items) > 1 and set(items) <= set(self.items)}
        if TOTAL in found and any(found[name] == found[TOTAL] for name in found if name != TOTAL):
            del found[TOTAL]
        return found

    def scale(self, name: str) -> np.ndarray:
        """Return the answers of a scale's items as they enter it, shape (forms, items of the scale)."""
        columns = [self.items.index(item) for item in self.instrument.scale_items(name)]
        values = self.answers[:, columns]
        if not self.instrument.composites[name].reversed:
            turned = np.isin(self.instrument.scale_items(name), self.instrument.reverse)
            values = np.where(turned, self.minimum + self.maximum - values, values)
        return values

    def rows(self, chosen: np.ndarray) -> ItemAnswers:
        """Return the forms that a mask or positions choose."""
        forms = self.forms[chosen] if chosen.dtype == bool else self.forms.iloc[chosen]
        return ItemAnswers(
            self.instrument,
            self.rater,
            self.derived_from,
            forms.reset_index(drop=True),
            self.answers[chosen],
            self.items,
            self.minimum,
            self.maximum,
        )

    def window(self, definition: Mapping[str, Any], attended: pd.DataFrame) -> ItemAnswers:
        """Return the forms of sessions inside a window of the configuration (``attended``: see ``variables.client``)."""
        sessions = self.forms["timepoint"].eq(SESSION).to_numpy(dtype=bool) & self.forms["session"].notna().to_numpy(dtype=bool)
        rated = self.rows(sessions)
        return rated.rows(in_window(rated.forms, definition, attended)) if len(rated.forms) else rated

    def timepoint(self, name: str) -> ItemAnswers:
        """Return the forms of one timepoint."""
        return self.rows(self.forms["timepoint"].eq(name).to_numpy(dtype=bool))

    def one_a_client(self) -> ItemAnswers:
        """Return the first form of every client, by session and then by rater: clients are the units, one occasion each."""
        return self.rows(~self.forms["client_no"].duplicated().to_numpy(dtype=bool))


def item_answers(site: SiteData, constructs: Sequence[str] = ()) -> Iterator[ItemAnswers]:
    """Yield the answers of every instrument a site filled in as items, by instrument and rater, short forms derived from long ones last.

    Parameters
    ----------
    site : SiteData
    constructs : sequence of str
        Constructs of the instruments; empty: all.
    """
    filled_in = ((key, "", site.ratings[key]) for key in sorted(site.ratings) if key in site.instruments)
    derived = derived_ratings(site.ratings, site.instruments) if len(site.ratings) else ()
    for source in (filled_in, derived):
        for key, parent, ratings in source:
            instrument = site.instruments[key]
            if not instrument.scored_from_items or (constructs and instrument.construct not in constructs):
                continue
            for rater, rows in ratings.groupby("rater", sort=True, observed=True):
                found = _turned(rows, instrument, str(rater), parent)
                if found is not None:
                    yield found


def _turned(rows: pd.DataFrame, instrument: Instrument, rater: str, parent: str) -> ItemAnswers | None:
    items = item_columns(rows, instrument)
    raw = answers(rows, items)
    filled = np.isfinite(raw).any(axis=0) if items else np.zeros(len(rows), dtype=bool)
    if not filled.any():
        return None
    rows, raw = rows[filled], raw[:, filled]
    low, high = response_limits(rows, instrument)
    reverse = np.isin(items, instrument.reverse)[:, None]
    turned = np.where(reverse, low + high - raw, raw)
    names = ["client_no", "therapist_no", "timepoint", "session", "rater_no"]
    forms = rows.reindex(columns=names).reset_index(drop=True)
    order = forms.sort_values(["client_no", "timepoint", "session", "rater_no"], kind="stable", na_position="last").index.to_numpy()
    return ItemAnswers(
        instrument=instrument,
        rater=rater,
        derived_from=parent,
        forms=forms.iloc[order].reset_index(drop=True),
        answers=turned.T[order],
        items=items,
        minimum=float(low.min()),
        maximum=float(high.max()),
    )


def attended_for(site: SiteData, windows: Mapping[str, Any]) -> pd.DataFrame:
    """Return the attended sessions that windows by phase or from the end need; empty where windows go by session numbers."""
    return attended_sessions(site) if any(one.get("sessions") is None for one in windows.values()) else pd.DataFrame()
