from __future__ import annotations

import csv
import io

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reading_cases import cells, read
from test_reading_workbooks import workbook

ANYTHING = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
PIECES = st.lists(
    st.sampled_from(
        [b"id", b"wai_1", b"A1", b",", b";", b"\t", b'"', b'""', b"\n", b"\r", b"\r\n", b"\0", b"\xe4", "ä".encode(), b" ", b"7"]
    )
)


@ANYTHING
@given(content=st.binary(max_size=400), layout=st.sampled_from(["", "csv", "redcap", "qualtrics", "xlsx"]))
def test_random_bytes_never_raise(tmp_path, content, layout):
    read(tmp_path, content, format=layout)


@ANYTHING
@given(pieces=PIECES, header=st.booleans(), expected=st.sampled_from([(), ("id",), ("id", "wai_1")]), header_row=st.integers(1, 3))
def test_broken_text_never_raises_and_loses_no_row(tmp_path, pieces, header, expected, header_row):
    read(tmp_path, (b"id,wai_1\n" if header else b"") + b"".join(pieces), expected_columns=expected, header_row=header_row)


@ANYTHING
@given(cut=st.integers(0, 6_000), at=st.integers(0, 6_000), byte=st.integers(0, 255))
def test_a_damaged_workbook_never_raises(tmp_path, cut, at, byte):
    data = bytearray(WORKBOOK)
    data[at % len(data)] = byte
    read(tmp_path, bytes(data[: len(data) - cut % len(data)] if byte % 3 == 0 else data), "a.xlsx")


@ANYTHING
@given(rows=st.lists(st.lists(st.text(alphabet='ab,;"\n 1äé', max_size=6), min_size=3, max_size=3), min_size=1, max_size=12))
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_every_table_written_as_csv_is_read_back(tmp_path, quoting, rows):
    rows = [["x", *row[1:]] for row in rows]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n", quoting=quoting).writerows([["id", "a", "b"], *rows])
    table, _ = read(tmp_path, text.getvalue())
    refused = [] if table is None else table.quarantined
    assert all(entry.code == "F12" for entry in refused)
    if table is not None and not refused:
        assert cells(table) == rows


WORKBOOK = workbook(*[[f"A{i}", i, "#N/A" if i == 3 else i / 2] for i in range(20)])
