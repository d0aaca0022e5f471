"""The data dictionary: every instrument that can be used, its scales and its rules. No item wording."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alliance.reports import numbers
from alliance.reports.bibliography import listing
from alliance.reports.bibliography import short as citation
from alliance.reports.chapters import common
from alliance.reports.elements import Cell, Column, Table, listed, number_cell, text_cell
from alliance.reports.inputs import ReportData
from alliance.reports.page import Section

DIRECTION = {"higher_is_better": "higher is better", "higher_is_worse": "higher is worse"}
RULES = {"proration": "mean of the answered items", "scale_mean_rounded": "rounded mean of the scale", "strict": "none may be missing"}


def content(data: ReportData) -> dict[str, Any]:
    """Return what the template of the dictionary page draws."""
    used = {key for status in data.statuses for key in status.get("instruments", {})}
    keys = [key for instrument in data.instruments.values() for key in instrument.reference]
    return {
        "used": instrument_table(
            data, {key: value for key, value in data.instruments.items() if key in used}, "used", "Instruments in this study"
        ),
        "others": instrument_table(
            data, {key: value for key, value in data.instruments.items() if key not in used}, "others", "Other instruments"
        ),
        "scales": scale_table(data.instruments),
        "notes": [
            (f"{common.instrument_name(key)} ({key})", one.version_note) for key, one in data.instruments.items() if one.version_note
        ],
        "references": listing(dict(data.references), keys),
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


def instrument_table(data: ReportData, instruments: Mapping[str, Any], id: str, caption: str) -> Table:
    """Return one row an instrument: forms, items, answers, rules, certainty, sources."""
    rows = tuple(
        (
            Cell(one.name),
            Cell(key),
            Cell(one.construct.replace("_", " ")),
            text_cell(listed(list(one.forms))),
            common.count_cell(one.n_items),
            Cell(_answers(one)),
            Cell(DIRECTION[one.direction]),
            Cell(_unit(one)),
            Cell(_missing(one)),
            Cell("from items" if one.scored_from_items else f"sent scale scores only: {one.why_not_scored}"),
            text_cell("; ".join(citation(data.references[name]) if name in data.references else name for name in one.reference)),
        )
        for key, one in instruments.items()
    )
    labels = ("Name", "Key", "Construct", "Raters", "Items", "Answers", "Direction", "Score", "Unanswered items", "Scored", "Reference")
    return Table(
        f"dictionary-{id}",
        caption,
        tuple(Column(label, label == "Items", label in ("Scored", "Unanswered items", "Reference")) for label in labels),
        rows,
        empty="No instrument is in use.",
    )


def _answers(one: Any) -> str:
    if one.response is None:
        return "as the site declares" if one.response_from_site else numbers.UNKNOWN
    answers = f"{one.response.min:g} to {one.response.max:g}".replace("-", numbers.MINUS)
    return answers + (" (or as the site declares)" if one.response_from_site else "")


def _unit(one: Any) -> str:
    factor = "" if one.score.multiply == 1 else f" × {one.score.multiply:g}"
    return f"{one.score.method} of the items{factor}"


def _missing(one: Any) -> str:
    rule = one.missing
    text = RULES.get(rule.rule, rule.rule)
    if rule.rule != "strict":
        text += f", at most {common.plural(rule.max_missing, 'item')} missing" if rule.max_missing is not None else ""
        text += f", at least {numbers.percent(rule.min_answered_proportion)} answered" if rule.max_missing is None else ""
    return f"{text} ({rule.status})"


def scale_table(instruments: Mapping[str, Any]) -> Table:
    """Return one row a scale: its items by number, which of them are reversed, what it measures."""
    rows = []
    for key, one in instruments.items():
        for scale in one.scale_names:
            items = one.scale_items(scale)
            reversed_items = [item for item in items if item in one.reverse and one.composites[scale].reversed]
            size = one.scale_size(scale)
            span = one.possible_range(scale, "headline")
            rows.append(
                (
                    Cell(common.measure(key, scale)),
                    common.count_cell(size),
                    text_cell(_numbers(items)),
                    text_cell(_numbers(reversed_items)),
                    number_cell(_span(span), None if span is None else span[0]),
                    Cell(one.facet(scale)),
                )
            )
    labels = ("Scale", "Number of items", "Items", "Reversed items", "Possible scores", "Facet")
    return Table(
        "dictionary-scales",
        "Scales, by item numbers",
        tuple(Column(label, label in ("Number of items", "Possible scores"), label == "Items") for label in labels),
        tuple(rows),
        note="Scales of two instruments are the same variable only where their facets are equal. A dash means not known here.",
    )


def _numbers(items: list[int]) -> str:
    return ", ".join(str(item) for item in items)


def _span(span: tuple[float, float] | None) -> str:
    if span is None:
        return numbers.UNKNOWN
    return f"{span[0]:g} to {span[1]:g}".replace("-", numbers.MINUS)
