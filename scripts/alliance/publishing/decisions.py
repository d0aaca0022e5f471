"""What was hidden, and why: never a value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

RULES = {
    "clients": "a number, or one side of a share, would rest on too few clients",
    "therapists": "a number would rest on too few therapists, or on a number of therapists that is not known",
    "dominance": "one therapist has, or may have, too large a part of the clients of a number, of one side of a share or of a site",
    "df": "a model would have too few residual degrees of freedom",
    "site": "the site is too small to be shown by itself",
    "complement": "the number would let one that is hidden be worked out",
    "difference": "comparing it with another number, or with the last version, would tell of single clients",
    "count": "a count of few people",
    "rounding": "counts and numbers are rounded",
    "detail": "files, rows, values and other details that may point at a person",
    "extreme": "the smallest or largest value belongs to a single person",
    "personal": "dates, contacts and very high ages",
}


@dataclass(frozen=True, order=True)
class Decision:
    """What was hidden in one output.

    Parameters
    ----------
    output : str
        ``question/table``, ``sensitivity/table``, or another part of the bundle in words.
    site : str
        Site whose numbers these are; empty: no single one. Never a site that is not shown.
    rule : str
        One of :data:`RULES`.
    n_cells : int
        Rows (or cells of a list) that were hidden.
    why : str
        The rule in plain words.
    """

    output: str
    site: str
    rule: str
    n_cells: int
    why: str


class DisclosureError(Exception):
    """Something cannot be made safe, so that nothing is published.

    Parameters
    ----------
    hits : sequence of str
        Where, and what to do; no values.
    """

    def __init__(self, hits: Iterable[str]) -> None:
        self.hits = tuple(hits)
        super().__init__("nothing is published: " + "; ".join(self.hits))

    def __reduce__(self) -> tuple[type[DisclosureError], tuple[tuple[str, ...]]]:
        return DisclosureError, (self.hits,)


class Ledger:
    """Collects what is hidden while the parts of a bundle are gated."""

    def __init__(self) -> None:
        self._cells: Counter[tuple[str, str, str]] = Counter()

    def add(self, output: str, site: str, rule: str, n_cells: int = 1) -> None:
        """Add hidden cells; none add nothing."""
        if n_cells:
            self._cells[output, site, rule] += int(n_cells)

    def take(self, other: Ledger) -> None:
        """Add what another ledger holds."""
        self._cells.update(other._cells)

    def decisions(self) -> tuple[Decision, ...]:
        """Return everything hidden, sorted."""
        return tuple(sorted(Decision(*key, n_cells, RULES[key[2]]) for key, n_cells in self._cells.items()))
