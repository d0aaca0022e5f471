"""Who took part: age, gender and treatment of clients, experience, training and clients of therapists, by site and over all sites."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions import effects
from alliance.questions.contract import POOLED, WITH_NUMBERS
from alliance.questions.part import Part
from alliance.questions.sentences import Sentence
from alliance.questions.site_data import COVARIANCE, Published, SiteData
from alliance.questions.summary import SiteSummary
from alliance.statistics.descriptives import of_all_groups

NAME = "participants"
CLIENT, THERAPIST = "client", "therapist"
CASELOAD = "clients_per_therapist"
NUMBERS = {CLIENT: ("age", "planned_sessions"), THERAPIST: (CASELOAD, "age", "years", "cases")}
WORDS = {CLIENT: ("gender", "treatment"), THERAPIST: ("training",)}
OPTIONAL = ((THERAPIST, "age"),)
"""Characteristics that are no columns of their own of the cleaned tables: told where a site sends them."""
MEAN, SD, SHARE = "mean", "standard_deviation", "share"
METHOD = "described"
KEYS = ("person", "characteristic", "category", "estimate_type")
FEWEST = 3
"""People from whom on mean and standard deviation tell nobody's value; of two people they tell both."""
MOST_WORDS = 20
"""More different words than this are no categories."""
OTHER_WORDS = "(other words)"
COUNTS = ("n_clients", "n_therapists")


def estimate(site: SiteData) -> Part:
    """Return means, standard deviations and shares of the clients of a site and of their therapists.

    Everybody in the cleaned table of clients counts, also who stands in no other result. Therapists are those of these clients.

    Parameters
    ----------
    site : SiteData
    """
    part = Part()
    if site.published is not None:
        for row in _published(site.published):
            part.add(_named(row))
        return part
    clients, therapists = _clients(site.clients), _therapists(site.clients, site.therapists)
    for person, people in ((CLIENT, clients), (THERAPIST, therapists)):
        for characteristic in NUMBERS[person]:
            if (person, characteristic) not in OPTIONAL or characteristic in people:
                for row in _of_numbers(person, characteristic, people):
                    part.add(_named(row))
        for characteristic in WORDS[person]:
            for row in _of_words(person, characteristic, people):
                part.add(_named(row))
    return part


def _clients(clients: pd.DataFrame) -> pd.DataFrame:
    """Return one row a client with ``_clients`` (1), ``_therapist`` and what the site sent."""
    if "therapist_no" in clients:
        therapist = clients["therapist_no"].to_numpy(dtype=float, na_value=np.nan)
    else:
        therapist = np.full(len(clients), np.nan)
    return clients.assign(_clients=1, _therapist=therapist)


def _therapists(clients: pd.DataFrame, therapists: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each therapist of a client with ``_clients`` (how many), ``_therapist`` and what the site sent."""
    people = _clients(clients)
    caseloads = people["_therapist"].dropna().value_counts().sort_index()
    sent = therapists[therapists["therapist_no"].notna()] if "therapist_no" in therapists else pd.DataFrame({"therapist_no": []})
    sent = sent.drop_duplicates("therapist_no").set_index("therapist_no")
    sent.index = sent.index.astype("float64")
    found = sent.reindex(caseloads.index).reset_index(drop=True)
    counts = caseloads.to_numpy()
    return found.assign(_clients=counts, _therapist=caseloads.index.to_numpy(), **{CASELOAD: counts.astype(float)})


def _of_numbers(person: str, characteristic: str, people: pd.DataFrame) -> Iterator[dict[str, Any]]:
    values = _values(people, characteristic)
    known = np.isfinite(values)
    spread = {MEAN: values[known].mean() if known.any() else np.nan, SD: values[known].std(ddof=1) if known.sum() > 1 else np.nan}
    for kind in (MEAN, SD):
        row = {"person": person, "characteristic": characteristic, "category": "", "estimate_type": kind}
        if known.sum() < FEWEST:
            yield row | _lacking(person, characteristic, len(people), int(known.sum()))
        else:
            yield row | _counts(people, known) | {"estimate": float(spread[kind]), "status": "estimated", "reason": "", "method": METHOD}


def _values(people: pd.DataFrame, characteristic: str) -> np.ndarray:
    if characteristic not in people:
        return np.full(len(people), np.nan)
    return pd.to_numeric(people[characteristic], errors="coerce").to_numpy(dtype=float, na_value=np.nan)


def _of_words(person: str, characteristic: str, people: pd.DataFrame) -> Iterator[dict[str, Any]]:
    row = {"person": person, "characteristic": characteristic, "category": "", "estimate_type": SHARE}
    words = people[characteristic] if characteristic in people else pd.Series(np.nan, index=people.index, dtype=object)
    known = words.notna().to_numpy() & words.ne("").to_numpy(dtype=bool, na_value=False)
    counted = words[known].astype(str).value_counts().sort_index()
    if known.sum() < FEWEST:
        yield row | _lacking(person, characteristic, len(people), int(known.sum()))
    elif len(counted) > MOST_WORDS:
        reason = f"not estimable: needs at most {MOST_WORDS} categories (map the words in values:); has {len(counted)} different words"
        yield row | {"status": "not_estimable", "reason": reason, "method": "none"}
    else:
        told = _counts(people, known) | {"status": "estimated", "reason": "", "method": METHOD}
        for word, number in counted.items():
            yield row | told | {"category": word, "estimate": number / known.sum()}


def _counts(people: pd.DataFrame, known: np.ndarray) -> dict[str, Any]:
    own = people[known]
    therapists = own["_therapist"].nunique()
    return {
        "n_clients": int(own["_clients"].sum()),
        "n_therapists": int(therapists) or None,
        "share_missing": 1 - known.sum() / len(people),
    }


def _lacking(person: str, characteristic: str, everybody: int, known: int) -> dict[str, Any]:
    what = "therapists of the clients" if characteristic == CASELOAD else f"{characteristic.replace('_', ' ')} of {person}s"
    has = f"has {known}" if known else "the site sends none"
    reason = f"not estimable: needs {what}, at least {FEWEST}; {has}" if everybody else f"not estimable: the site has no {person}s"
    return {"status": "not_estimable", "reason": reason, "method": "none"}


def _published(published: Published) -> Iterator[dict[str, Any]]:
    """Yield what a published matrix tells of clients: means of its variables, of covariances also standard deviations."""
    moments = published.moments
    own = moments[moments["var1"].eq(moments["var2"])]
    for person in (CLIENT, THERAPIST):
        for characteristic, kinds in (
            *((name, (MEAN, SD)) for name in NUMBERS[person] if (person, name) not in OPTIONAL),
            *((name, (SHARE,)) for name in WORDS[person]),
        ):
            found = own[own["var1"].eq(characteristic)].iloc[:1] if person == CLIENT else own.iloc[:0]
            for kind in kinds:
                row = {"person": person, "characteristic": characteristic, "category": "", "estimate_type": kind}
                estimate, n = _of_matrix(found, kind)
                if np.isfinite(estimate) and n >= FEWEST:
                    yield row | {"n_clients": n, "estimate": estimate, "status": "estimated", "reason": "", "method": METHOD}
                else:
                    reason = f"not estimable: needs the {person}s of the site; it published summaries only"
                    yield row | {"status": "not_estimable", "reason": reason, "method": "none"}


def _of_matrix(found: pd.DataFrame, kind: str) -> tuple[float, int]:
    if not len(found) or pd.isna(found["n"].iloc[0]):
        return np.nan, 0
    variance = float(found["cov"].iloc[0]) if found["method"].iloc[0] == COVARIANCE else np.nan
    value = {MEAN: float(found["mean1"].iloc[0]), SD: np.sqrt(variance)}.get(kind, np.nan)
    return value, int(found["n"].iloc[0])


def _named(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "level": row["person"], "parameter": "; ".join(f"{key}={row[key]}" for key in KEYS if row[key])}


def pool(gathered: pd.DataFrame, summaries: Sequence[SiteSummary], options: Mapping[str, Any]) -> pd.DataFrame:
    """Return the rows of all sites and those over them.

    Means and standard deviations over sites are those of all people in one list; shares are of all people together. Words that a single
    site uses for few clients stand together: they may be anything that somebody typed.

    Parameters
    ----------
    gathered : DataFrame
        Rows of the sites' summaries.
    summaries : sequence of SiteSummary
    options : mapping
        Configuration; ``pooling`` is read.
    """
    answered = [one.site for one in summaries if one.status == "ok"]
    if not len(gathered):
        gathered = pd.DataFrame(columns=["site", *KEYS, *COUNTS, "estimate", "share_missing", "status", "reason", "method"])
    numbers = gathered["estimate_type"].ne(SHARE).to_numpy(dtype=bool)
    shares = _with_every_category(gathered[~numbers], int(options["pooling"]["min_clients"]))
    rows = pd.concat([gathered[numbers], shares], ignore_index=True)
    rows = pd.concat([rows, _not_told(rows, answered)], ignore_index=True) if answered else rows
    means = {(row.person, row.characteristic, row.site): row.estimate for row in rows[rows["estimate_type"].eq(MEAN)].itertuples()}
    over = [_over_sites(own, dict(zip(KEYS, key)), means, options["pooling"]) for key, own in rows.groupby(list(KEYS), sort=True)]
    groups = pd.DataFrame([{key: row[key] for key in KEYS} for row in over], columns=list(KEYS))
    made = effects.stack(rows.assign(n_sites=1), pd.DataFrame(over), effects.absent_site_rows(summaries, groups, "identity"))
    return made.assign(scale="identity") if len(made) else made


def _with_every_category(shares: pd.DataFrame, few: int) -> pd.DataFrame:
    """Return shares of which every site that tells any has all categories, those that nobody is in as 0."""
    made = []
    for (person, _), own in shares.groupby(["person", "characteristic"], sort=True):
        told = own[own["status"].isin(WITH_NUMBERS)]
        of_people = told["n_clients" if person == CLIENT else "n_therapists"].to_numpy(dtype=float)
        counts = told.assign(_inside=np.rint(told["estimate"].to_numpy(dtype=float) * of_people), _people=of_people)
        by_word = counts.groupby("category")["_inside"].agg(["sum", "size"])
        rare = by_word.index[by_word["size"].eq(1) & by_word["sum"].lt(few)]
        counts["category"] = counts["category"].where(~counts["category"].isin(rare), OTHER_WORDS)
        inside = counts.pivot_table(index="site", columns="category", values="_inside", aggfunc="sum", fill_value=0.0)
        of_site = counts.drop_duplicates("site").set_index("site")
        categories = list(inside.columns) or [""]
        for category in categories[: len(inside.columns)]:
            share = inside[category] / of_site.loc[inside.index, "_people"]
            own_rows = of_site.loc[inside.index].assign(category=category, estimate=share)
            made.append(own_rows.drop(columns=["_inside", "_people"]).reset_index())
        silent = own[~own["status"].isin(WITH_NUMBERS)]
        made += [silent.assign(category=category) for category in categories]
    return pd.concat(made, ignore_index=True) if made else shares


def _not_told(rows: pd.DataFrame, answered: Sequence[str]) -> pd.DataFrame:
    """Return rows without numbers for what the summary of a site does not hold."""
    keys = rows[list(KEYS)].drop_duplicates()
    every = keys.merge(pd.DataFrame({"site": list(answered)}), how="cross")
    lacking = every.merge(rows[["site", *KEYS]], how="left", indicator=True)
    lacking = lacking[lacking["_merge"].eq("left_only")].drop(columns="_merge")
    return lacking.assign(status="not_estimable", reason="not estimable: the site sends none", method="none")


def _over_sites(
    rows: pd.DataFrame, keys: Mapping[str, str], means: Mapping[tuple[str, str, str], float], pooling: Mapping[str, Any]
) -> dict[str, Any]:
    known = rows[rows["status"].isin(WITH_NUMBERS)]
    row = {**keys, "site": POOLED, "n_sites": len(known)}
    if len(known) < pooling["min_sites"]:
        reason = effects.too_few_sites(len(known), pooling)
        return row | {"status": "not_estimable", "reason": reason, "method": "none"}
    counts = {name: known[name].sum(min_count=len(known)) for name in COUNTS}
    people = known["n_clients" if keys["person"] == CLIENT else "n_therapists"].to_numpy(dtype=float)
    estimate = known["estimate"].to_numpy(dtype=float)
    if keys["estimate_type"] == SD:
        own = [means[keys["person"], keys["characteristic"], site] for site in known["site"]]
        _, _, together = of_all_groups(people, own, estimate)
    else:
        together = float((people * estimate).sum() / people.sum())
    # A published matrix does not tell who lacks what.
    everybody = people / (1 - known["share_missing"].to_numpy(dtype=float))
    return row | {
        **{name: None if pd.isna(count) else int(count) for name, count in counts.items()},
        "share_missing": 1 - people.sum() / everybody.sum(),
        "estimate": together,
        "status": "estimated",
        "reason": "",
        "method": METHOD,
    }


def methods(table: pd.DataFrame) -> list[Sentence]:
    """Return how participants are described; nothing where no site tells anything."""
    if not table["status"].isin(WITH_NUMBERS).any():
        return []
    text = (
        "Clients and therapists are described by means, standard deviations and shares. Those over all sites are of all people together: "
        "the standard deviation holds the variance within sites and that of the sites' means."
    )
    return [Sentence(text)]
