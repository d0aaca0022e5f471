"""A site's own codebook, as REDCap exports its data dictionary: which answers each column may hold, and what they are called."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from alliance.instruments import Response
from alliance.issues import Issue, Severity, shown
from alliance.sites.readers.contract import RawTable, ReadOptions

NAMES = {
    "name": ("Variable / Field Name", "field_name"),
    "type": ("Field Type", "field_type"),
    "choices": ("Choices, Calculations, OR Slider Labels", "select_choices_or_calculations"),
    "validation": ("Text Validation Type OR Show Slider Number", "text_validation_type_or_show_slider_number"),
    "minimum": ("Text Validation Min", "text_validation_min"),
    "maximum": ("Text Validation Max", "text_validation_max"),
}
CHOICE_TYPES = ("radio", "dropdown", "checkbox")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?\Z")
_FIX = "Export the data dictionary again from REDCap, as CSV, without editing it."


@dataclass(frozen=True)
class Field:
    """One column of the codebook: its answers with their labels, or the range of its numbers."""

    choices: dict[str, str] = field(default_factory=dict)
    minimum: float | None = None
    maximum: float | None = None

    @property
    def numbers(self) -> list[float]:
        """Return the answers that are numbers."""
        return sorted(float(code) for code in self.choices if _NUMBER.match(code))


Codebook = dict[str, Field]


def read_codebook(path: Path, site: str, name: str, max_file_mb: float) -> tuple[Codebook, list[Issue]]:
    """Read a codebook; every fault in it is found in one pass (C16).

    Parameters
    ----------
    path : Path
        The file.
    site, name : str
        Id of the site and the file's name, for the records of faults.
    max_file_mb : float
        Largest file, in MB.

    Returns
    -------
    dict of str to Field
        Fields by column name; empty where the file cannot be used.
    list of Issue
        Faults, all of severity SITE but those of reading that are less.
    """
    from alliance.sites.reading import read_file

    options = ReadOptions(format="csv", max_file_mb=max_file_mb, expected_columns=NAMES["name"])
    raw, issues = read_file(path, options, site, name)
    if raw is None:
        return {}, issues
    columns = {ours: next((theirs for theirs in names if theirs in raw.columns), None) for ours, names in NAMES.items()}

    def fault(text: str, row: int | None = None, column: str = "") -> None:
        issues.append(Issue("C16", Severity.SITE, text, _FIX, site=site, file=name, row=row, column=column))

    if columns["name"] is None or columns["choices"] is None:
        fault("The codebook has no columns for field names and choices; it is no REDCap data dictionary.")
        return {}, issues
    codebook: Codebook = {}
    for row, cells in zip(raw.rows.tolist(), _rows(raw, columns)):
        known = cells["name"]
        if not known:
            fault("The row names no field.", row)
        elif known in codebook:
            fault(f"The field {shown(known)} stands twice.", row, shown(known))
        else:
            one, texts = _field(cells)
            codebook[known] = one
            for text in texts:
                fault(text, row, shown(known))
    return codebook, issues


def _rows(raw: RawTable, columns: dict[str, str | None]) -> list[dict[str, str]]:
    lists = {ours: raw.cells.column(theirs).to_pylist() if theirs else [""] * len(raw.rows) for ours, theirs in columns.items()}
    return [{ours: values[row].strip() for ours, values in lists.items()} for row in range(len(raw.rows))]


def _field(cells: dict[str, str]) -> tuple[Field, list[str]]:
    faults = []
    choices: dict[str, str] = {}
    if cells["type"] in CHOICE_TYPES:
        for part in cells["choices"].split("|"):
            code, separator, label = part.partition(",")
            if not separator or not code.strip():
                faults.append(f"The choice {shown(part.strip())!r} is not written as 'code, label'.")
            elif code.strip() in choices:
                faults.append(f"The choice {shown(code.strip())!r} stands twice.")
            else:
                choices[code.strip()] = label.strip()
    limits: list[float | None] = []
    for bound in ("minimum", "maximum"):
        text = cells[bound] if cells["validation"] in ("integer", "number") else ""
        if text and not _NUMBER.match(text):
            faults.append(f"The {bound} {shown(text)!r} is not a number.")
        limits.append(float(text) if _NUMBER.match(text) else None)
    if None not in limits and limits[0] > limits[1]:
        faults.append(f"The minimum {limits[0]:g} is above the maximum {limits[1]:g}.")
    return Field(choices, *limits), faults


def disagreements(column: str, one: Field, response: Response | None, missing_codes: set[str], labels: dict[str, str]) -> list[str]:
    """Say where a codebook's field, the range of answers and the value labels in the data file disagree.

    Parameters
    ----------
    column : str
        Column name, for the messages.
    one : Field
        What the codebook says.
    response : Response or None
        Range of answers that the items are scored with.
    missing_codes : set of str
        Declared missing codes; they are no answers.
    labels : dict
        Code to label in the data file or, the other way round declared, in site.yaml.

    Returns
    -------
    list of str
    """
    found = []
    answers = [float(code) for code in one.choices if _NUMBER.match(code) and code not in missing_codes]
    span = (min(answers), max(answers)) if answers else (one.minimum, one.maximum)
    if response is not None and None not in span and span != (response.min, response.max):
        found.append(
            f"{shown(column)} has answers {span[0]:g} to {span[1]:g} in the codebook, {response.min:g} to {response.max:g} are declared"
        )
    codes = {label.casefold(): code for code, label in one.choices.items()}
    for code, label in labels.items():
        other = codes.get(label.strip().casefold())
        if other is not None and other != code:
            found.append(f"{shown(label)!r} in {shown(column)} is {shown(other)} in the codebook and {shown(code)} elsewhere")
    return found
