"""What a question's ``estimate`` is given of one site."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from alliance import files
from alliance.questions.contract import COUNT, MOMENTS, PUBLISHED_EFFECTS, TEXT, typed

PUBLISHED_MOMENTS_FILE = "published_moments.csv"
PUBLISHED_EFFECTS_FILE = "published_effects.csv"
CORRELATION, COVARIANCE = "correlation", "covariance"
FRAMES = ("clients", "therapists", "sessions", "events", "termination")
NOT_READ = ("client_id", "therapist_id")
"""Columns that no question is given: clients and therapists have numbers of the site."""
SCORE_COLUMNS = (
    "site",
    "client_id",
    "client_no",
    "therapist_id",
    "therapist_no",
    "timepoint",
    "session",
    "date",
    "rater",
    "n_raters",
    "instrument",
    "scale",
    "score",
    "unit",
    "score_mean",
    "score_sum",
    "n_items",
    "n_answered",
    "prorated",
    "level",
    "derived_from",
)


@dataclass(frozen=True)
class Published:
    """What a site that keeps its rows published elsewhere.

    Parameters
    ----------
    moments : DataFrame
        Columns of :data:`alliance.questions.contract.MOMENTS`. ``method`` is ``correlation`` or ``covariance`` and says what ``cov`` holds;
        ``var1`` and ``var2`` are study variables: a model's variable name, a construct, a client factor, ``<instrument>.<scale>`` or
        ``<instrument>.<scale>.<rater>``. Pairs may be absent; ``n`` may differ from pair to pair; the diagonal may be left out for
        correlations.
    effects : DataFrame
        Columns of :data:`alliance.questions.contract.PUBLISHED_EFFECTS`.
    """

    moments: pd.DataFrame
    effects: pd.DataFrame

    def without(self, variables: Collection[str]) -> Published:
        """Return the figures that do not concern some study variables; effects do not name theirs, so they go with any."""
        concerned = self.moments["var1"].isin(list(variables)) | self.moments["var2"].isin(list(variables))
        return Published(self.moments[~concerned], self.effects.iloc[:0] if len(variables) else self.effects)


class Ratings(Mapping[str, pd.DataFrame]):
    """The cleaned ratings of a site by instrument, each read when it is asked for."""

    def __init__(self, folder: Path) -> None:
        self._files = {path.stem: path for path in sorted(Path(folder).glob("*.parquet"))}

    def __getitem__(self, instrument: str) -> pd.DataFrame:
        return files.read_parquet(self._files[instrument], without=NOT_READ)

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


@dataclass(frozen=True)
class SiteData:
    """One site's cleaned tables and scores.

    Parameters
    ----------
    site, label : str
        Site id and its name for reports.
    clients, therapists, sessions, events, termination : DataFrame
        Cleaned tables of the site (``docs/design.md`` section 3); empty where the site sends none.
    scores : DataFrame
        Long scores (section 4), one row a client, time, rater, instrument and scale.
    instruments : mapping of str to Instrument
        The registry, for directions, constructs and derivations.
    published : Published or None
        The published matrix and effects of a site that sends only those.
    status : str
        ``ok``, ``warnings`` or ``excluded``, as cleaning left it.
    reasons : tuple of str
        Why, in words.
    facts : dict
        The site's facts (country, setting, ...).
    ranges : mapping of str to mapping
        Smallest and largest possible answer by instrument and rater, as the site declared them or as the instrument has them.
    """

    site: str
    label: str = ""
    clients: pd.DataFrame = field(default_factory=pd.DataFrame)
    therapists: pd.DataFrame = field(default_factory=pd.DataFrame)
    sessions: pd.DataFrame = field(default_factory=pd.DataFrame)
    events: pd.DataFrame = field(default_factory=pd.DataFrame)
    termination: pd.DataFrame = field(default_factory=pd.DataFrame)
    scores: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(SCORE_COLUMNS)))
    ratings: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    instruments: Mapping[str, Any] = field(default_factory=dict)
    published: Published | None = None
    status: str = "ok"
    reasons: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    ranges: Mapping[str, Mapping[str, tuple[float, float]]] = field(default_factory=dict)


def _read_csv(path: Path, schema: dict[str, str]) -> pd.DataFrame:
    if not path.is_file():
        return typed(pd.DataFrame(), schema)
    raw = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    columns = {
        name: raw[name] if kind == TEXT else [None if cell == "" else (int if kind == COUNT else float)(cell) for cell in raw[name]]
        for name, kind in schema.items()
        if name in raw
    }
    return typed(pd.DataFrame(columns), schema)


def read_published(folder: Path) -> Published | None:
    """Return what a site published, from its folder of cleaned tables; None where it published nothing."""
    folder = Path(folder)
    if not (folder / PUBLISHED_MOMENTS_FILE).is_file() and not (folder / PUBLISHED_EFFECTS_FILE).is_file():
        return None
    return Published(_read_csv(folder / PUBLISHED_MOMENTS_FILE, MOMENTS), _read_csv(folder / PUBLISHED_EFFECTS_FILE, PUBLISHED_EFFECTS))


def read(site: str, tables: Path, scores: Path, instruments: Mapping[str, Any]) -> SiteData:
    """Read one site's status, cleaned tables and scores.

    Parameters
    ----------
    site : str
        Site id.
    tables, scores : Path
        The site's folders of cleaned tables and of scores.
    instruments : mapping
        Registry of instruments.
    """
    tables, scores = Path(tables), Path(scores)
    status = files.read_json(tables / "status.json")
    paths = {name: tables / f"{name}.parquet" for name in FRAMES} | {"scores": scores / "scores.parquet"}
    frames = {name: files.read_parquet(path, without=NOT_READ) for name, path in paths.items() if path.is_file()}
    return SiteData(
        site=site,
        label=status.get("label") or site,
        ratings=Ratings(tables / "ratings"),
        instruments=instruments,
        published=read_published(tables),
        status=status["status"],
        reasons=tuple(status.get("reasons", ())),
        facts=dict(status.get("site_facts", {})),
        ranges=_ranges(status),
        **frames,
    )


def _ranges(status: Mapping[str, Any]) -> dict[str, dict[str, tuple[float, float]]]:
    found = {}
    for key, content in (status.get("instruments") or {}).items():
        answers = (content or {}).get("response") or {}
        found[key] = {rater: (float(one["min"]), float(one["max"])) for rater, one in answers.items() if one}
    return found
