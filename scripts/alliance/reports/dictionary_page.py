"""The data dictionary: every instrument that can be used, its scales and its rules. No item wording."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from alliance.instruments.dictionary import dictionary_entries
from alliance.reports import numbers
from alliance.reports.bibliography import listing
from alliance.reports.bibliography import short as citation
from alliance.reports.chapters import common
from alliance.reports.elements import Cell, Column, Table, listed, number_cell, text_cell
from alliance.reports.inputs import ReportData
from alliance.reports.page import Section

DIRECTION = {"higher_is_better": "higher is better", "higher_is_worse": "higher is worse"}
Entry = Mapping[str, Any]


def content(data: ReportData) -> dict[str, Any]:
    """Return what the template of the dictionary page draws."""
    used = {key for status in data.statuses for key in status.get("instruments", {})}
    entries = dictionary_entries(data.instruments, used)
    return {
        "used": _instrument_tables(data, [entry for entry in entries if entry["used"]], "used", "Instruments in this study"),
        "others": _instrument_tables(data, [entry for entry in entries if not entry["used"]], "others", "Other instruments"),
        "scales": scale_table(entries),
        "notes": [
            (f"{common.instrument_name(entry['key'])} ({entry['key']})", _typeset(entry["version_note"]))
            for entry in entries
            if entry["version_note"]
        ],
        "references": listing(dict(data.references), [key for entry in entries for key in entry["reference"]]),
    }


def sections(content: dict[str, Any]) -> list[Section]:
    """Return the table of contents of the dictionary page."""
    return [
        Section("in-use", "Instruments in this study"),
        Section("scales", "Scales and items"),
        Section("other-instruments", "Other instruments"),
        Section("versions", "Versions"),
        Section("references", "References"),
    ]


def _instrument_tables(data: ReportData, entries: Sequence[Entry], id: str, caption: str) -> list[Table]:
    return [instrument_table(data, entries, id, caption), *([rule_table(data, entries, id, caption)] if entries else [])]


def instrument_table(data: ReportData, entries: Sequence[Entry], id: str, caption: str) -> Table:
    """Return one row an instrument: who fills it in, its items, answers and score."""
    rows = tuple(
        (
            Cell(entry["name"]),
            Cell(entry["key"]),
            Cell(common.construct_words(entry["construct"])),
            text_cell(listed(list(entry["forms"]))),
            common.count_cell(entry["n_items"]),
            Cell(_with_minus(entry["response"])),
            Cell(DIRECTION[entry["direction"]]),
            Cell(_unit(entry["unit"])),
        )
        for entry in entries
    )
    labels = ("Name", "Key", "Construct", "Raters", "Items", "Answers", "Direction", "Score")
    return Table(
        f"dictionary-{id}",
        f"{caption}: who fills them in, items, answers and score",
        tuple(Column(label, label == "Items") for label in labels),
        rows,
        empty="No instrument is in use.",
    )


def rule_table(data: ReportData, entries: Sequence[Entry], id: str, caption: str) -> Table:
    """Return one row an instrument: what is done about unanswered items, what is scored, and the sources."""
    rows = tuple(
        (
            Cell(common.instrument_name(entry["key"])),
            Cell("from items" if entry["scored_from_items"] else f"sent scale scores only: {_typeset(entry['why_off'])}"),
            text_cell(_typeset(f"{entry['missing_rule']} ({entry['missing_status']})") if entry["missing_rule"] else ""),
            text_cell("; ".join(citation(data.references[name]) if name in data.references else name for name in entry["reference"])),
        )
        for entry in entries
    )
    labels = ("Instrument", "Scored", "Unanswered items", "Reference")
    columns = tuple(Column(label, wide=label != labels[0]) for label in labels)
    return Table(f"dictionary-{id}-rules", f"{caption}: rules and sources", columns, rows, empty="No instrument is in use.")


def _typeset(text: str) -> str:
    return numbers.typeset(numbers.ranges(text.replace("`", "")))


def _unit(unit: str) -> str:
    method, _, factor = unit.partition(" x ")
    return f"{method} of the items" + (f" × {factor}" if factor else "")


def scale_table(entries: Sequence[Entry]) -> Table:
    """Return one row a scale: its items by number, which of them are reversed, what it measures."""
    rows = tuple(
        (
            Cell(common.measure(entry["key"], scale["name"])),
            common.count_cell(scale["n_items"]),
            text_cell(_numbers(scale["items"])),
            text_cell(_numbers(scale["turned"])),
            number_cell(_span(scale["range"]), None if scale["range"] is None else scale["range"][0]),
            Cell(scale["facet"]),
        )
        for entry in entries
        for scale in entry["scales"]
    )
    labels = ("Scale", "Number of items", "Items", "Reversed items", "Possible scores", "Facet")
    return Table(
        "dictionary-scales",
        "Scales, by item numbers",
        tuple(Column(label, label in ("Number of items", "Possible scores"), label == "Items") for label in labels),
        rows,
        note="Scales of two instruments are the same variable only where their facets are equal. A dash means not known here.",
    )


def _numbers(items: list[int]) -> str:
    """Return numbers of items, three or more in a row as a range (``1–12, 15``)."""
    runs: list[list[int]] = []
    for item in items:
        if runs and item == runs[-1][-1] + 1:
            runs[-1].append(item)
        else:
            runs.append([item])
    return ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)


def _span(span: tuple[float, float] | None) -> str:
    return numbers.UNKNOWN if span is None else _with_minus(f"{span[0]:g} to {span[1]:g}")


def _with_minus(text: str) -> str:
    """Return text whose negative numbers carry a minus sign in place of a hyphen."""
    return re.sub(r"(?<![\w-])-(?=[0-9])", numbers.MINUS, text)
