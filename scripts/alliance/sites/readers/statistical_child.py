"""Run as a program: read an SPSS or Stata file with hard limits and write it to standard output as an Arrow stream of text.

It imports nothing of this package: a file that crashes the parser crashes this process only. Arguments: format, number of the inherited
file descriptor, seconds of CPU, bytes of memory, encoding (may be empty). Ends with 0, or with 3 after a line on standard error that says
why.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import sys

UNREADABLE = 3
_DATE_FORMATS = {"sav": ("DATE", "ADATE", "EDATE", "SDATE", "JDATE"), "dta": ("%td", "%d", "%-td", "%-d")}
_TIME_FORMATS = {"sav": ("DATETIME", "YMDHMS"), "dta": ("%tc", "%tC", "%-tc", "%-tC")}
_DATES = (dt.date, dt.time, dt.timedelta)


def limit(seconds: int, memory: int) -> None:
    """Bound CPU time, memory and core files, where the system can."""
    import resource

    for what, amount in ((resource.RLIMIT_CPU, seconds), (resource.RLIMIT_AS, memory), (resource.RLIMIT_CORE, 0)):
        try:
            resource.setrlimit(what, (amount, amount))
        except (ValueError, OSError):
            continue


def parse(storage: str, path: str, encoding: str | None) -> tuple[dict, object]:
    """Return columns and metadata; date formats the library does not know by itself are named to it."""
    import pyreadstat

    reader = pyreadstat.read_sav if storage == "sav" else pyreadstat.read_dta
    _, meta = reader(path, metadataonly=True, encoding=encoding)
    formats = set(meta.original_variable_types.values())
    return reader(
        path,
        user_missing=True,
        encoding=encoding,
        output_format="dict",
        extra_date_formats=_like(formats, _DATE_FORMATS[storage], storage),
        extra_datetime_formats=_like(formats, _TIME_FORMATS[storage], storage),
    )


def _like(formats: set, stems: tuple[str, ...], storage: str) -> list[str]:
    if storage == "dta":
        return sorted(name for name in formats if str(name).startswith(stems))
    return sorted(name for name in formats if str(name).rstrip("0123456789.") in stems)


def text(value: object, stata_number: bool = False) -> str:
    """Return a value as text: whole numbers without decimals, dates in ISO form, Stata's missing codes with their point."""
    if value is None:
        return ""
    if isinstance(value, str):
        return "." + value if stata_number else value
    if isinstance(value, float):
        if math.isnan(value):
            return ""
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    if isinstance(value, dt.datetime):
        return value.date().isoformat() if value.time() == dt.time() else value.isoformat(timespec="seconds")
    return value.isoformat() if isinstance(value, dt.date | dt.time) else str(value)


def missing_reasons(storage: str, name: str, values: list, meta: object, labels: dict[str, str]) -> dict[str, str]:
    """Return the codes that the file declares missing, those inside ranges where they occur, with their label or what declares them."""
    if storage == "dta":
        codes = ["." + code for code in meta.missing_user_values.get(name, [])]
        return {code: labels.get(code, f"missing value {code}") for code in codes}
    reasons = {}
    for span in meta.missing_ranges.get(name, []):
        low, high = span["lo"], span["hi"]
        if low == high:
            codes = {text(low)}
            declared = f"missing value {text(low)}"
        else:
            present = {value for value in values if isinstance(value, int | float) and low <= value <= high}
            codes = {text(value) for value in present}
            declared = f"missing values {text(low)} to {text(high)}"
        reasons.update({code: labels.get(code, declared) for code in sorted(codes)})
    return reasons


def value_labels(storage: str, meta: object) -> dict[str, dict[str, str]]:
    """Return code -> label per column, codes as :func:`text` writes them."""
    result = {}
    for name, labels in meta.variable_value_labels.items():
        numeric = storage == "dta" and meta.readstat_variable_types.get(name) != "string"
        result[name] = {text(code, numeric): str(label) for code, label in labels.items()}
    return result


def main(storage: str, descriptor: str, seconds: str, memory: str, encoding: str) -> int:
    """Read the file and write the stream."""
    limit(int(seconds), int(memory))
    import pyarrow as pa

    try:
        columns, meta = parse(storage, f"/dev/fd/{descriptor}", encoding or None)
        labels = value_labels(storage, meta)
        arrays, dated, reasons = [], [], {}
        for name, column in columns.items():
            values = list(column)
            stata_number = storage == "dta" and meta.readstat_variable_types.get(name) != "string"
            arrays.append(pa.array([text(value, stata_number) for value in values], pa.string()))
            if any(isinstance(value, _DATES) for value in values):
                dated.append(name)
            if found := missing_reasons(storage, name, values, meta, labels.get(name, {})):
                reasons[name] = found
        facts = json.dumps({"labels": labels, "missing_reasons": reasons, "dated": dated})
        table = pa.Table.from_arrays(arrays, names=[f"c{i}" for i in range(len(arrays))])
        table = table.replace_schema_metadata({"facts": facts, "names": json.dumps(list(columns))})
    except MemoryError:
        print("memory", file=sys.stderr)
        return UNREADABLE
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return UNREADABLE
    with pa.ipc.new_stream(sys.stdout.buffer, table.schema) as stream:
        stream.write_table(table)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
