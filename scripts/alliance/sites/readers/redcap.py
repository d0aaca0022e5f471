"""REDCap exports: raw names, whole checkbox groups, and the columns that tell events and repeats apart."""

from __future__ import annotations

import re
from collections import defaultdict

import pyarrow.compute as pc

from alliance.issues import shown
from alliance.sites.readers.contract import Findings, RawTable, ReadOptions

_RAW_NAME = re.compile(r"[a-z][a-z0-9_]*")
_CHECKBOX = re.compile(r"([a-z][a-z0-9_]*?)___([a-z0-9_]+)")
_LABELS = frozenset({"Event Name", "Repeat Instrument", "Repeat Instance", "Data Access Group", "Survey Identifier", "Complete?"})
_STATUS_LABELS = ("Incomplete", "Unverified", "Complete")
_EVENT, _INSTRUMENT, _INSTANCE = "redcap_event_name", "redcap_repeat_instrument", "redcap_repeat_instance"
_EXPORT_RAW = "Export again from REDCap as CSV (raw data)."


def check(table: RawTable, options: ReadOptions, found: Findings) -> None:
    """Check that a table is a whole raw REDCap export; faults go to ``found``."""
    if not _has_raw_names(table):
        found.site("H14", "The headers are labels, not variable names.", _EXPORT_RAW)
        return
    _check_status_codes(table, found)
    _check_checkboxes(table, options, found)
    _check_structure(table, options, found)


def _has_raw_names(table: RawTable) -> bool:
    raw = sum(bool(_RAW_NAME.fullmatch(name)) for name in table.columns)
    return not _LABELS.intersection(table.columns) and 2 * raw > len(table.columns)


def _check_status_codes(table: RawTable, found: Findings) -> None:
    for name in table.columns:
        if name.endswith("_complete") and set(_STATUS_LABELS).intersection(pc.unique(table.cells.column(name)).to_pylist()):
            found.site("H14", "The values are labels, not codes.", _EXPORT_RAW, column=shown(name))
            return


def _check_checkboxes(table: RawTable, options: ReadOptions, found: Findings) -> None:
    present = _groups(table.columns)
    incomplete = set()
    for field, wanted in _groups(options.expected_columns).items():
        missing = sorted(wanted - present.get(field, set()))
        if missing and field in present:
            incomplete.add(field)
            names = ", ".join(shown(f"{field}___{code}") for code in missing)
            found.site("H15", f"The checkbox field lacks the columns {names}.", "Export all choices of the field.", column=shown(field))
    for field, codes in present.items():
        numbers = {int(code) for code in codes if re.fullmatch(r"[0-9]{1,2}", code) and int(code) < 80}
        gaps = sorted(set(range(1, max(numbers, default=0))) - numbers)
        if gaps and field not in incomplete:
            found.warn(
                "H15",
                f"The checkbox field has no columns for the choices {', '.join(map(str, gaps[:10]))}.",
                "Check that the export holds all choices; nothing to do if these codes are not in use.",
                column=shown(field),
            )


def _groups(names: list[str] | tuple[str, ...]) -> dict[str, set[str]]:
    groups = defaultdict(set)
    for name in names:
        if match := _CHECKBOX.fullmatch(name):
            groups[match[1]].add(match[2])
    return groups


def _check_structure(table: RawTable, options: ReadOptions, found: Findings) -> None:
    present = [name for name in (_EVENT, _INSTRUMENT, _INSTANCE) if name in table.columns]
    wanted = [name for name in (_EVENT, _INSTRUMENT, _INSTANCE) if name in options.expected_columns]
    if _INSTRUMENT in present:
        wanted.append(_INSTANCE)
    absent = sorted(set(wanted) - set(present))
    repeated = 0
    if not absent and not (_EVENT in present and _INSTANCE in present) and table.columns:
        keys = table.cells.select([table.columns[0], *(name for name in present if name != table.columns[0])])
        keys = keys.filter(pc.not_equal(keys.column(0), ""))
        repeated = keys.num_rows - keys.group_by(keys.column_names).aggregate([]).num_rows
        absent = [name for name in (_EVENT, _INSTANCE) if name not in present] if repeated and _INSTANCE not in present else []
    if absent:
        found.site(
            "H16",
            f"The export lacks {' and '.join(absent)}, so rows of one record cannot be told apart.",
            "Export with the event and repeat columns of the longitudinal or repeating project.",
            n_affected=max(repeated, 1),
        )
