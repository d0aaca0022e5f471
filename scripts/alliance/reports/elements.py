"""What a page is made of: tables, figures, sentences and chapters, as data that the templates draw."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace

from alliance.reports.numbers import UNKNOWN
from alliance.reports.page import visible

MOST_ROWS, FIRST_ROWS = 150, 100
MOST_FOLDED_ROWS, FIRST_FOLDED_ROWS = 15, 10


@dataclass(frozen=True)
class Column:
    """A column of a printed table.

    Parameters
    ----------
    label : str
        Its head.
    number : bool
        True aligns it to the right.
    wide : bool
        True keeps room for sentences.
    optional : bool
        True leaves it out of a table in which it would be empty.
    """

    label: str
    number: bool = False
    wide: bool = False
    optional: bool = False


@dataclass(frozen=True)
class Cell:
    """A printed cell.

    Parameters
    ----------
    text : str
        What is read.
    value : float, str or None
        What is sorted by and downloaded, in full precision; the text where it is None. Where the text has several numbers, such as those of
        an interval, it is downloaded itself.
    link : str
        Address inside the report; empty for none.
    """

    text: str
    value: float | str | None = None
    link: str = ""


@dataclass(frozen=True)
class Table:
    """A printed table; the first cell of a row is its header. A folded one is opened by the reader.

    ``configurations`` names the element that holds what each option changes, where rows are specifications of a multiverse.
    Of a table with more than :data:`MOST_ROWS` rows the first :data:`FIRST_ROWS` and the emphasised ones are drawn as a table
    (``drawn``); the others follow as text, from which the page's script draws them when they are asked for. Tables that the reader has to
    open (``folded`` by themselves, ``inside`` a fold or beside a figure) draw fewer, so that pages of many tables open fast.
    """

    id: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    empty: str = "There is nothing to show."
    emphasised: frozenset[int] = frozenset()
    folded: bool = False
    inside: bool = False
    configurations: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"table {self.id}: a row has {len(row)} cells for {len(self.columns)} columns")
        kept = [
            position
            for position, column in enumerate(self.columns)
            if not column.optional or any(row[position].text not in ("", UNKNOWN) for row in self.rows)
        ]
        object.__setattr__(self, "columns", tuple(self.columns[position] for position in kept))
        object.__setattr__(self, "rows", tuple(tuple(row[position] for position in kept) for row in self.rows))

    @property
    def drawn(self) -> tuple[tuple[bool, tuple[Cell, ...]], ...]:
        """The rows that the page draws as a table, and whether each is emphasised."""
        return tuple((index in self.emphasised, row) for index, row in enumerate(self.rows) if self._is_drawn(index))

    @property
    def further(self) -> tuple[tuple[Cell, ...], ...]:
        """The rows that the page holds as text."""
        return tuple(row for index, row in enumerate(self.rows) if not self._is_drawn(index))

    @property
    def further_text(self) -> str:
        """The further rows as they are read: one line a row, cells separated by tabs."""
        return "\n".join("\t".join(" ".join(cell.text.split()) for cell in row) for row in self.further)

    @property
    def further_values(self) -> str:
        """What the further rows are sorted by, and lead to, as JSON: 0 for a cell whose text says all, else value and address."""
        return json.dumps([[_hidden(cell) for cell in row] for row in self.further], ensure_ascii=False, separators=(",", ":"))

    def _is_drawn(self, index: int) -> bool:
        most, first = (MOST_FOLDED_ROWS, FIRST_FOLDED_ROWS) if self.folded or self.inside else (MOST_ROWS, FIRST_ROWS)
        return len(self.rows) <= most or index < first or index in self.emphasised


def _hidden(cell: Cell) -> int | list[str]:
    value = cell.text if cell.value is None else cell.value
    if value == cell.text and not cell.link:
        return 0
    return [visible(str(value)), *([visible(cell.link)] if cell.link else [])]


@dataclass(frozen=True)
class Figure:
    """A figure: its drawings (SVG), the sentence that replaces it for those who cannot see it, and its data.

    ``narrow`` is drawn for screens too narrow for ``svg``; empty where one drawing fits all.
    """

    id: str
    title: str
    alt: str
    svg: bytes
    narrow: bytes = b""
    note: str = ""
    data: Table | None = None

    def __post_init__(self) -> None:
        if self.data is not None:
            object.__setattr__(self, "data", replace(self.data, inside=True))


@dataclass(frozen=True)
class Part:
    """A heading inside a chapter, with what was found there in sentences."""

    id: str
    title: str
    sentences: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fold:
    """Parts of a chapter that the reader opens: a title, what they say in sentences, and their tables and figures."""

    id: str
    title: str
    blocks: tuple[Table | Figure, ...]
    told: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        blocks = tuple(replace(block, inside=True) if isinstance(block, Table) else block for block in self.blocks)
        object.__setattr__(self, "blocks", blocks)


@dataclass(frozen=True)
class Verdict:
    """A highlighted block: what each test says, and one plain sentence that follows from them."""

    id: str
    title: str
    tests: tuple[str, ...]
    conclusion: str
    cautions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Chapter:
    """What one or several questions of the configuration found, as it is told to a reader.

    ``question`` is what the reader asks, ``sources`` are the questions of the configuration whose methods are told, ``standing`` says what
    of it was registered, ``withheld`` how many of its numbers are withheld.
    """

    id: str
    title: str
    question: str
    sources: tuple[str, ...]
    findings: tuple[str, ...] = ()
    blocks: tuple[Table | Figure | Part | Fold | Verdict, ...] = ()
    methods: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    headlines: tuple[str, ...] = ()
    missing: tuple[str, ...] = field(default=())
    standing: str = ""
    withheld: str = ""


def slug(text: str) -> str:
    """Return text that may stand in an ``id``: letters a to z, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "part"


def text_cell(value: object) -> Cell:
    """Return a cell for text; a dash where there is none."""
    text = "" if value is None or value != value else str(value)
    return Cell(text or UNKNOWN, text)


def number_cell(text: str, value: object) -> Cell:
    """Return a cell that shows ``text`` and keeps the number itself for sorting and download."""
    known = value is not None and value == value
    return Cell(text, float(value) if known else "")  # type: ignore[arg-type]


def listed(items: list[str]) -> str:
    """Return a list in words: ``a``, ``a and b``, ``a, b, and c``."""
    if len(items) < 3:
        return " and ".join(items)
    return ", ".join(items[:-1]) + ", and " + items[-1]
