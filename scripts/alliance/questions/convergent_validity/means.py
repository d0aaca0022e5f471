"""What the pairs of one site say together: range and mean of overlap, parallel scales, raters, scales of one instrument.

Claims A7, A8, A11 and A12.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from alliance.questions.contract import WITH_NUMBERS
from alliance.questions.convergent_validity.pairs import (
    DISATTENUATED,
    INSTRUMENTS,
    SCALES,
    SUBSCALE,
    TOTAL,
    UNKNOWN,
    Pairs,
    R,
    judged_fields,
)
from alliance.questions.site_data import SiteData

OVERLAP = "overlap"
ALL = "all"
RATERS = (ALL, "client", "observer", "therapist")
PARALLEL, NON_PARALLEL, WITHIN = "parallel", "non_parallel", "within_instrument"
PARALLEL_CONTRAST = "parallel - non_parallel"
RATER_CONTRAST = "client - therapist"
HOMOGENEOUS, BLENDED = "homogeneous", "blended"
APPROACH_CONTRAST = "homogeneous - blended"
EVERY_INSTRUMENT = "(all)"
R_SQUARED = {"r_squared_minimum": np.min, "r_squared_maximum": np.max, "r_squared_mean": np.mean}
WITHOUT_ERROR = ("r_squared_minimum", "r_squared_maximum", "correlation_minimum", "correlation_maximum")
MEANS = {"correlation_mean": R, "correlation_disattenuated_mean": DISATTENUATED}
CONTRASTS = {"correlation_mean": "correlation_contrast", "correlation_disattenuated_mean": "correlation_disattenuated_contrast"}
_KINDS = {TOTAL: (ALL,), SUBSCALE: (ALL, PARALLEL, NON_PARALLEL)}


def groups() -> Iterator[tuple[str, str, str]]:
    """Yield level, rater and kind of the sets of pairs whose shared variance is summarised."""
    for level in (TOTAL, SUBSCALE):
        for rater in RATERS:
            for kind in _KINDS[level]:
                yield level, rater, kind


def chosen_pairs(keys: Mapping[str, np.ndarray], level: str, rater: str, kind: str) -> np.ndarray:
    """Return which pairs of two instruments belong to a set, as a mask; pairs that share items, and scores of derived forms, to none.

    Parameters
    ----------
    keys : mapping of str to ndarray, shape (pairs,)
        ``level, comparison, rater1, shared_items, derived, parallel``.
    level, rater, kind : str
        As :func:`groups` yields.
    """
    parallel = {ALL: ("yes", "no", UNKNOWN), PARALLEL: ("yes",), NON_PARALLEL: ("no",)}[kind]
    mask = (keys["comparison"] == INSTRUMENTS) & (keys["shared_items"] == "no") & (keys["derived"] == "no") & (keys["level"] == level)
    return mask & np.isin(keys["parallel"], parallel) & ((keys["rater1"] == rater) | (rater == ALL))


def no_pairs(level: str, rater: str, kind: str) -> str:
    """Return why there is no shared variance of a set of pairs."""
    by = "" if rater == ALL else f" by the {rater}"
    what = {PARALLEL: "two parallel subscales", NON_PARALLEL: "two subscales that are not parallel"}.get(kind, f"two {level} scores")
    known = "" if kind == ALL else " (of instruments whose content is known)"
    return f"not estimable: needs {what} of two instruments{by}{known}; has none"


def overlap_rows(site: SiteData, pairs: Pairs) -> tuple[list[dict[str, Any]], list[float]]:
    """Return the rows of one site and the variances of their estimates (NaN: none).

    Scores derived from the answers to a long form are no measures of their own: the long form stands for them.

    Parameters
    ----------
    site : SiteData
    pairs : Pairs
    """
    return _Overlap(site, pairs).rows()


def absent_overlap_rows(reason: str) -> tuple[list[dict[str, Any]], list[float]]:
    """Return the rows of a site without pairs, with the reason."""
    rows = [
        _row(
            {"pair_level": level, "rater": rater, "pairs_kind": kind}, name, {"method": "none", "status": "not_estimable", "reason": reason}
        )
        for level, rater, kind in groups()
        for name in R_SQUARED
    ]
    return rows, [np.nan] * len(rows)


def _row(keys: Mapping[str, Any], kind: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    blank = {"pair_level": "", "rater": "", "pairs_kind": "", "instrument": "", "approach": "", "n_pairs": 0}
    row = {**blank, **keys, "model": OVERLAP, "level": "client", **fields, "estimate_type": kind}
    named = (f"{name}={row[name]}" for name in ("pair_level", "rater", "pairs_kind", "instrument", "approach") if row[name])
    return {**row, "parameter": "; ".join((*named, kind))}


class _Overlap:
    def __init__(self, site: SiteData, pairs: Pairs):
        self._site, self._pairs = site, pairs
        names = (
            "pair_level",
            "comparison",
            "rater1",
            "shared_items",
            "derived",
            "parallel",
            "opposed",
            "instrument1",
            "instrument2",
            "scale1",
            "scale2",
        )
        self._keys = {name: np.array([row[name] for row in pairs.keys], dtype=object) for name in names}
        self._keys["level"] = self._keys.pop("pair_level")
        self._known = np.isfinite(pairs.values[R])
        self._found: list[dict[str, Any]] = []
        self._spread: list[float] = []

    def rows(self) -> tuple[list[dict[str, Any]], list[float]]:
        for level, rater, kind in groups():
            self._shared(level, rater, kind)
        for rater in RATERS:
            self._parallel_contrast(rater)
        for level in (TOTAL, SUBSCALE):
            self._rater_contrast(level)
        self._within()
        return self._found, self._spread

    def _add(self, keys: Mapping[str, Any], kind: str, fields: Mapping[str, Any], variance: float = np.nan) -> None:
        self._found.append(_row(keys, kind, fields))
        self._spread.append(variance)

    def _absent(self, keys: Mapping[str, Any], kind: str, reason: str) -> None:
        self._add(keys, kind, {"method": "none", "status": "not_estimable", "reason": reason})

    def _judge(
        self,
        keys: Mapping[str, Any],
        kind: str,
        chosen: np.ndarray,
        function: Callable[[np.ndarray], np.ndarray],
        value: str = R,
        pairs: Pairs | None = None,
    ) -> None:
        judged = (pairs or self._pairs).judged(value, chosen, function)
        fields = judged_fields(judged, kind)
        if kind in WITHOUT_ERROR and fields["status"] in WITH_NUMBERS:
            fields |= {"method": "over_pairs", "status": "estimated", "reason": ""}
        counted = {"n_clients": judged.n_clients, "n_therapists": judged.n_therapists, "n_pairs": len(chosen)}
        self._add({**keys, **counted}, kind, fields, np.nan if kind in WITHOUT_ERROR else judged.variance)

    def _shared(self, level: str, rater: str, kind: str) -> None:
        keys = {"pair_level": level, "rater": rater, "pairs_kind": kind}
        chosen = np.flatnonzero(chosen_pairs(self._keys, level, rater, kind) & self._known)
        for name, function in R_SQUARED.items():
            if len(chosen):
                self._judge(keys, name, chosen, _squares(function))
            else:
                self._absent(keys, name, no_pairs(level, rater, kind))

    def _parallel_contrast(self, rater: str) -> None:
        keys = {"pair_level": SUBSCALE, "rater": rater, "pairs_kind": PARALLEL_CONTRAST}
        parts = [np.flatnonzero(chosen_pairs(self._keys, SUBSCALE, rater, kind) & self._known) for kind in (PARALLEL, NON_PARALLEL)]
        for part, kind in zip(parts, (PARALLEL, NON_PARALLEL)):
            if not len(part):
                self._absent(keys, "r_squared_contrast", no_pairs(SUBSCALE, rater, kind))
                return
        self._difference(keys, "r_squared_contrast", *parts)

    def _difference(self, keys: Mapping[str, Any], kind: str, first: np.ndarray, second: np.ndarray, pairs: Pairs | None = None) -> None:
        size = len(first)
        self._judge(
            keys,
            kind,
            np.concatenate([first, second]),
            lambda stack: (stack[:, :size] ** 2).mean(axis=1) - (stack[:, size:] ** 2).mean(axis=1),
            pairs=pairs,
        )

    def _rater_contrast(self, level: str) -> None:
        """Client minus therapist (claim A8): pairs that both rated, on the clients who have ratings by both."""
        keys = {"pair_level": level, "rater": RATER_CONTRAST, "pairs_kind": ALL}
        parts = {}
        for rater in ("client", "therapist"):
            chosen = np.flatnonzero(chosen_pairs(self._keys, level, rater, ALL) & self._known)
            names = ("instrument1", "scale1", "instrument2", "scale2")
            parts[rater] = {tuple(self._keys[name][position] for name in names): position for position in chosen}
        both = sorted(set(parts["client"]) & set(parts["therapist"]))
        if not both:
            reason = f"not estimable: needs two {level} scores of two instruments, both rated by client and therapist; has none"
            self._absent(keys, "r_squared_contrast", reason)
            return
        first, second = (np.array([parts[rater][pair] for pair in both]) for rater in ("client", "therapist"))
        same = self._pairs.of_the_same_clients(first, second)
        usable = np.isfinite(same.values[R][first]) & np.isfinite(same.values[R][second])
        if not usable.any():
            self._absent(keys, "r_squared_contrast", "not estimable: too few clients were rated by both client and therapist")
            return
        self._difference(keys, "r_squared_contrast", first[usable], second[usable], same)

    def _within(self) -> None:
        """Correlations of the scales of each instrument, and homogeneous against blended instruments (claim A12)."""
        mask = (self._keys["comparison"] == SCALES) & (self._keys["shared_items"] == "no") & (self._keys["derived"] == "no") & self._known
        forms: dict[tuple[str, str], np.ndarray] = {}
        for form in sorted(set(zip(self._keys["instrument1"][mask], self._keys["rater1"][mask]))):
            chosen = np.flatnonzero(mask & (self._keys["instrument1"] == form[0]) & (self._keys["rater1"] == form[1]))
            forms[form] = chosen
            keys = {
                "pair_level": SUBSCALE,
                "rater": form[1],
                "pairs_kind": WITHIN,
                "instrument": form[0],
                "approach": self._approach(form[0]),
            }
            signs = self._signs(chosen)
            for name, function in (("correlation_minimum", np.min), ("correlation_maximum", np.max)):
                self._judge(keys, name, chosen, _signed(function, signs))
            for name, value in MEANS.items():
                corrected = chosen[np.isfinite(self._pairs.values[value][chosen])]
                if len(corrected) < len(chosen):
                    self._absent(keys, name, "not estimable: needs the reliability of every scale (see the pairs)")
                else:
                    self._judge(keys, name, chosen, _signed(np.mean, signs), value)
        for rater in RATERS:
            self._by_approach(forms, rater)

    def _by_approach(self, forms: Mapping[tuple[str, str], np.ndarray], rater: str) -> None:
        own = {form: chosen for form, chosen in forms.items() if rater in (ALL, form[1])}
        for name, value in MEANS.items():
            usable = {form: chosen for form, chosen in own.items() if np.isfinite(self._pairs.values[value][chosen]).all()}
            parts = {kind: [c for form, c in usable.items() if self._approach(form[0]) == kind] for kind in (HOMOGENEOUS, BLENDED)}
            common = {"pair_level": SUBSCALE, "rater": rater, "pairs_kind": WITHIN, "instrument": EVERY_INSTRUMENT}
            for kind, found in parts.items():
                if found:
                    self._judge({**common, "approach": kind}, name, *self._weighed([(found, 1.0)]), value)
                else:
                    by = "" if rater == ALL else f" by the {rater}"
                    self._absent(
                        {**common, "approach": kind}, name, f"not estimable: needs two scales of a {kind} instrument{by}; has none"
                    )
            keys = {**common, "approach": APPROACH_CONTRAST}
            if all(parts.values()):
                self._judge(keys, CONTRASTS[name], *self._weighed([(parts[HOMOGENEOUS], 1.0), (parts[BLENDED], -1.0)]), value)
            else:
                self._absent(keys, CONTRASTS[name], "not estimable: needs scales of both a homogeneous and a blended instrument")

    def _weighed(self, parts: list[tuple[list[np.ndarray], float]]) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
        """Return pairs and the mean over instruments of their mean correlations, or a difference of such means."""
        chosen = np.concatenate([one for found, _ in parts for one in found])
        weights = np.concatenate([np.full(len(one), sign / len(found) / len(one)) for found, sign in parts for one in found])
        weights = weights * self._signs(chosen)
        return chosen, lambda stack: stack @ weights

    def _signs(self, chosen: np.ndarray) -> np.ndarray:
        """Return -1 for pairs of scales whose better ends differ, else 1."""
        return np.where(self._keys["opposed"][chosen] == "yes", -1.0, 1.0)

    def _approach(self, instrument: str) -> str:
        return getattr(self._site.instruments.get(instrument), "approach", None) or ""


def _squares(function: Callable[..., Any]) -> Callable[[np.ndarray], np.ndarray]:
    return lambda stack: function(stack**2, axis=1)


def _signed(function: Callable[..., Any], signs: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    return lambda stack: function(stack * signs, axis=1)
