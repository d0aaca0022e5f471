"""Ids of clients and therapists: look-alikes, footers, keyed hashes, and column names that identify people."""

from __future__ import annotations

import hmac
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

HASH_DIGITS = 16
FOOTER_WORDS = frozenset(
    (
        *("total", "totals", "subtotal", "sum", "mean", "average", "median", "sd", "std", "min", "max", "n", "count", "grand"),
        *("gesamt", "summe", "mittelwert", "anzahl", "moyenne", "somme", "promedio", "media"),
    )
)
_PLAIN = re.compile(r"(?:[A-DF-Za-df-z_-]*[1-9][0-9]*)+\Z")
_EXPONENT = re.compile(r"[0-9]+(\.[0-9]+)?e\+?[0-9]{1,2}")
_WHOLE_DECIMAL = re.compile(r"[0-9]+\.0*")
_LEADING_ZEROS = re.compile(r"(?<![0-9])0+(?=[0-9])")
TEST_WORDS = re.compile(r"(test|zzz+|dummy|demo|xxx+|asdf)[-_ ]?[0-9]*\Z", re.IGNORECASE)

_WORDS_BEFORE_NAME = (
    *("client", "patient", "participant", "person", "therapist", "counsellor", "counselor", "observer", "rater", "user", "contact"),
    *("first", "last", "full", "given", "family", "middle", "sur", "birth"),
)
_PERSON_NAMES = frozenset(f"{word}name" for word in _WORDS_BEFORE_NAME)
_IDENTIFYING = _PERSON_NAMES | frozenset(
    (
        *("name", "names", "mail", "emailaddress", "emailadresse", "phonenumber", "telefon", "mobile", "mobilephone", "fax", "handy"),
        *("address", "street", "strasse", "postaladdress", "homeaddress", "zip", "zipcode", "postcode", "postalcode", "plz"),
        *("dateofbirth", "birthdt", "socialsecuritynumber", "socialsecurity", "nhsnumber", "mrn", "medicalrecordnumber"),
        *("insurancenumber", "passport", "passportnumber", "ip", "ipaddress", "ipaddr", "lat", "lon", "locationlatitude"),
        *("locationlongitude", "recipientemail", "recipientfirstname", "recipientlastname", "vorname", "nachname", "prenom"),
        *("nom", "apellido", "iban"),
    )
)
_IDENTIFYING_WORDS = frozenset(
    ["email", "dob", "ssn", "latitude", "longitude", "phone", "telephone", "birthdate", "birthday", "geburtsdatum", "surname"]
)


def is_identifying(column: str) -> bool:
    """Whether a column's name says that it identifies people (H09)."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", unicodedata.normalize("NFKD", column))
    words = re.findall(r"[a-z0-9]+", spaced.encode("ascii", "ignore").decode().lower())
    whole = "".join(words)
    pairs = {first + second for first, second in pairwise(words)}
    return (
        whole in _IDENTIFYING
        or not _IDENTIFYING_WORDS.isdisjoint(words)
        or not pairs.isdisjoint(_PERSON_NAMES | _IDENTIFYING_WORDS | {"ipaddress"})
    )


def look_alike(identifier: str) -> str:
    """Return a form that is equal for ids a person may confuse: 007 and 7, 1E5 and 100000, full-width and plain digits, a and A."""
    if _PLAIN.match(identifier):
        return identifier.lower()
    text = "".join((identifier if identifier.isascii() else unicodedata.normalize("NFKC", identifier)).split()).casefold()
    if text[:1].isdigit():
        if _EXPONENT.fullmatch(text):
            text = format(Decimal(text), "f")
        if _WHOLE_DECIMAL.fullmatch(text):
            text = text.split(".")[0]
    return _LEADING_ZEROS.sub("", text)


def near_duplicates(identifiers: Iterable[str]) -> list[list[str]]:
    """Return groups of different ids that look alike, in the order of their texts (R08)."""
    groups: dict[str, list[str]] = defaultdict(list)
    for identifier in sorted(set(identifiers)):
        groups[look_alike(identifier)].append(identifier)
    return [group for _, group in sorted(groups.items()) if len(group) > 1]


def is_footer(identifier: str) -> bool:
    """Whether an id is the first word of a summary row (R09)."""
    words = re.findall(r"\w+", identifier.casefold())
    return bool(words) and words[0] in FOOTER_WORDS and all(word in FOOTER_WORDS or not word.isdigit() for word in words)


def keyed_hash(identifier: str, key: bytes, kind: str, site: str) -> str:
    """Return the text that stands for an id: HMAC-SHA256 (RFC 2104), so that nobody without the key can try out ids.

    Parameters
    ----------
    identifier : str
        Raw id as text.
    key : bytes
        The study's key.
    kind : str
        ``client`` or ``therapist``; equal ids of different kinds get different hashes.
    site : str
        Id of the site; equal ids of different sites get different hashes.

    Returns
    -------
    str
        Hexadecimal digits.
    """
    message = "\x00".join((kind, site, identifier)).encode("utf-8")
    return hmac.digest(key, message, "sha256").hex()[:HASH_DIGITS]


def read_key(environment: str | None, key_file: Path) -> bytes:
    """Return the study's key from the environment variable's value or else from the key file.

    Raises
    ------
    ValueError
        Where there is no key.
    """
    key = environment.encode() if environment else b""
    if not key and Path(key_file).is_file():
        key = Path(key_file).read_bytes().strip()
    if not key:
        raise ValueError(f"no key for ids: set ALLIANCE_ID_KEY or start the run with make, which writes {Path(key_file).name}")
    return key
