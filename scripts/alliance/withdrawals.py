"""The list of clients who withdrew their consent."""

from __future__ import annotations

import csv
from pathlib import Path

NAME = "withdrawn.csv"


class UnusableList(ValueError):
    """A list of withdrawals that cannot be followed to the letter.

    Attributes
    ----------
    faults : list of (int, str)
        Line of the file (0: the whole file) and what is wrong with it.
    """

    def __init__(self, faults: list[tuple[int, str]]):
        super().__init__("; ".join(f"line {line}: {message}" if line else message for line, message in faults))
        self.faults = faults


def read_withdrawals(path: Path) -> dict[str, set[str]]:
    """Return for each site the ids of its clients who withdrew, without outer space; nothing where there is no list.

    Raises
    ------
    UnusableList
        Where a row does not say who withdrew: nobody may stay in because of a slip in this file.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        reader = csv.reader(text.splitlines(keepends=True), strict=True)
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UnusableList([(0, f"cannot be read ({error}); save it as UTF-8 CSV with the columns site, client_id")]) from None
    rows = [(line, row) for line, row in rows if any(row)]
    if not rows:
        return {}
    header = rows[0][1]
    if header.count("site") != 1 or header.count("client_id") != 1:
        raise UnusableList([(rows[0][0], "needs the columns site and client_id, separated by a comma")])
    site, client = header.index("site"), header.index("client_id")
    found: dict[str, set[str]] = {}
    faults = []
    for line, row in rows[1:]:
        if len(row) > max(site, client) and row[site] and row[client]:
            found.setdefault(row[site], set()).add(row[client])
        else:
            faults.append((line, "needs a site and a client_id"))
    if faults:
        raise UnusableList(faults)
    return found
