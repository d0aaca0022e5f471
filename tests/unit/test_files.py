"""Files of tables say what the tables say, in the same bytes every time."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from alliance import files

TABLE = pd.DataFrame(
    {
        "number": [0.1, -0.0, float("nan"), 1e-300, 1 / 3, 5e20],
        "count": pd.array([1, None, 3, 0, 12345678901, 7], dtype="Int64"),
        "whole": [1, 2, 3, 4, 5, -6],
        "known": [True, False, True, True, False, False],
        "text": pd.array(["plain", "with, comma", 'with "quotes"', "two\nlines", "", "é"], dtype=pd.StringDtype("python", na_value=np.nan)),
        "arrow": pd.array(["a", None, "b", "", "c", "d"], dtype=pd.StringDtype("pyarrow", na_value=np.nan)),
        "mixed": pd.Series([1, 2, None, "text", True, float("nan")], dtype=object),
        "kind": pd.Categorical(["a", "b", "a", None, "b", "a"]),
    }
)


def test_a_table_is_written_as_pandas_writes_it_with_all_digits(tmp_path):
    files.write_csv(tmp_path / "table.csv", TABLE)
    assert (tmp_path / "table.csv").read_bytes() == TABLE.to_csv(index=False, lineterminator="\n", float_format="%.17g").encode()


def test_numbers_come_back_as_they_were(tmp_path):
    numbers = pd.DataFrame({"x": np.random.default_rng(7).normal(size=200) * 10.0 ** np.arange(-100, 100)})
    files.write_csv(tmp_path / "numbers.csv", numbers)
    assert [float(line) for line in (tmp_path / "numbers.csv").read_text().splitlines()[1:]] == numbers["x"].tolist()


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 4, 7])
def test_long_tables_are_written_piece_by_piece(monkeypatch, rows):
    monkeypatch.setattr(files, "ROWS_AT_ONCE", 3)
    table, stream = pd.concat([TABLE, TABLE], ignore_index=True).head(rows), io.StringIO()
    files.write_rows(stream, table)
    assert stream.getvalue() == table.to_csv(index=False, lineterminator="\n", float_format="%.17g")


@pytest.mark.parametrize("dtype", [*(pd.StringDtype(kind, na_value=np.nan) for kind in ("python", "pyarrow")), object, "category"])
def test_no_cell_is_run_by_a_spreadsheet(tmp_path, dtype):
    cells = ["=1+1", "+cmd", "-2+3", "@sum", "\tx", "-0.5", "+7", "a=b", None]
    files.write_csv(tmp_path / "cells.csv", pd.DataFrame({"cell": pd.Series(cells, dtype=dtype), "beside": 1}))
    told = pd.read_csv(tmp_path / "cells.csv", dtype=str, keep_default_na=False)["cell"].tolist()
    assert told == ["'=1+1", "'+cmd", "'-2+3", "'@sum", "'\tx", "-0.5", "+7", "a=b", ""]
