"""Faults in what the study's authors wrote: collected, then shown all at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Fault:
    """One fault in a configuration file.

    Parameters
    ----------
    file : str
        Name of the file as the user knows it.
    line : int
        Line of the file, 1-based; 0 where it is not known.
    key : str
        Dotted path of the key, empty for the whole file.
    message : str
        What is wrong and what to do.
    """

    file: str
    line: int
    key: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}, line {self.line}" if self.line else self.file
        return f"{place}: {self.key}: {self.message}" if self.key else f"{place}: {self.message}"


class ConfigurationError(Exception):
    """All faults found in the configuration, so that they can be mended in one go."""

    def __init__(self, faults: Iterable[Fault]):
        self.faults = sorted(set(faults))
        super().__init__("\n".join(str(fault) for fault in self.faults))


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the most similar known word, or the list of known words if none is near."""
    known = sorted(known)
    return similar(word, known) or (f"; known: {', '.join(known)}" if known else "")


def similar(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the most similar known word; empty if none is near."""
    close = difflib.get_close_matches(str(word), sorted(known), n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else ""
