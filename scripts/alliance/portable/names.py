"""Names of variables that SPSS, Stata and Mplus accept: small letters, digits and _, at most 32, no reserved word."""

from __future__ import annotations

import re
from collections.abc import Sequence

LONGEST = 32
_KEPT_OF_MIDDLE = 4
_RESERVED_IN_SPSS = {"all", "and", "by", "eq", "ge", "gt", "le", "lt", "ne", "not", "or", "to", "with"}
_RESERVED_IN_STATA = {"byte", "double", "float", "if", "in", "int", "long", "strl", "using"}
_RESERVED = _RESERVED_IN_SPSS | _RESERVED_IN_STATA
_STATA_STRING_TYPE = re.compile(r"str[0-9]+\Z")


def legal_names(wanted: Sequence[Sequence[str]]) -> list[str]:
    """Return one legal name for each sequence of parts, all different.

    Parts are joined by ``_``. A name that is too long loses letters at the end of its middle parts, so that the instrument and the rater of
    a score stay readable; of names that would be equal, the second in the given order ends in ``_2``, the third in ``_3``.

    Parameters
    ----------
    wanted : sequence of sequence of str
        Parts of each name, such as instrument, scale and rater.

    Returns
    -------
    list of str
        In the order given. A name never begins with a digit or ends with ``_``.
    """
    taken: set[str] = set()
    found = []
    for parts in wanted:
        name = _shortened([_letters(part) for part in parts if part])
        number, base = 1, name
        while name in taken:
            number += 1
            ending = f"_{number}"
            name = base[: LONGEST - len(ending)].rstrip("_") + ending
        taken.add(name)
        found.append(name)
    return found


def _letters(text: str) -> str:
    return re.sub(r"_+", "_", re.sub(r"[^a-z0-9_]", "_", text.lower())).strip("_")


def _shortened(parts: list[str]) -> str:
    name = "_".join(part for part in parts if part)
    if not name[:1].isalpha():
        name, parts = f"v_{name}".rstrip("_"), ["v", *parts]
    if name in _RESERVED or _STATA_STRING_TYPE.match(name):
        return f"{name}_v"
    excess = len(name) - LONGEST
    middle = "_".join(parts[1:-1])
    if excess > 0 and len(parts) > 2 and len(middle) - excess >= _KEPT_OF_MIDDLE:
        name = "_".join((parts[0], middle[: len(middle) - excess].rstrip("_"), parts[-1]))
    return name[:LONGEST].rstrip("_")
