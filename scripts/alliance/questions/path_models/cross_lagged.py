"""Two measures session by session: which comes first within clients, and do they grow together? (claims E1, E7, I6, J1)

A pair of measures is observed at the same waves. Cross-lagged panel models with random intercepts (the headline) and without, and parallel
linear growth, are fitted at every site; sites also send means and covariances of the waves with their sampling covariance, so that one
model can be fitted to the covariances within sites where single sites are small.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions import effects
from alliance.questions.alliance_outcome.levels import session_scores
from alliance.questions.contract import POOLED, WITH_NUMBERS
from alliance.questions.correlations import therapist_codes
from alliance.questions.measurement.factor_rows import NORMAL, POOLED_COVARIANCE, ROBUST
from alliance.questions.moments import matrix_rows, no_moments, read_block
from alliance.questions.part import VCOV, Part, stacked
from alliance.questions.sentences import Sentence, pooling_sentence
from alliance.questions.site_data import SiteData
from alliance.questions.summary import SiteSummary
from alliance.statistics.distributions import critical_value
from alliance.statistics.improper_solution import improper, no_number

NAME = "cross_lagged"
KEYS = ("pair", "dynamics", "parameter", "outcome", "predictor", "lag", "index", "estimate_type")
MEAN = "mean over lags"
FIT_INDICES = ("chi2", "df", "p_value", "cfi", "rmsea", "srmr", "aic", "bic")
TESTS = ("chi2", "df", "p_value")
LEAST_THERAPISTS = 5
COMFORTABLE = 5
_POOLED_TYPES = ("path_unstandardised", "path_standardised", "factor_correlation", "mean", "covariance_unstandardised")


def block(pair: str) -> str:
    """Return the name of a pair's block of moments."""
    return f"{NAME}:{pair}"


def waves_of(content: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Return first and last session of every wave of a pair."""
    return [(first, first + content["sessions_per_wave"] - 1) for first in content["sessions"]]


def _lag_name(content: Mapping[str, Any], lag: int) -> str:
    if not lag:
        return MEAN
    names = [str(first) if first == last else f"{first}-{last}" for first, last in waves_of(content)]
    return f"session {names[lag - 1]} to {names[lag]}"


def wave_frame(site: SiteData, content: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[pd.DataFrame, dict[str, str], str]:
    """Return the scores of a pair at its waves, what they are, and why there are none.

    One row a client with any score; columns ``<series><wave>``, in standard deviations of the series at this site (pooled over waves, about
    its mean at the first wave), turned so that higher is better. A wave of several sessions holds the mean of those that were rated.
    """
    columns, sources = [], {}
    for name, definition in content["series"].items():
        scores, measured = session_scores(site, {key: value for key, value in definition.items() if value is not None}, options)
        if measured.reason:
            return pd.DataFrame(), sources, f"{name}: {measured.reason}"
        sources[name] = measured.source
        found = {}
        for wave, (first, last) in enumerate(waves_of(content), start=1):
            inside = scores[scores["session"].between(first, last)]
            found[f"{name}{wave}"] = inside.groupby("client")["value"].mean()
        table = pd.DataFrame(found)
        spread = float(np.sqrt(table.var().mean()))
        if not spread > 0:
            return pd.DataFrame(), sources, f"{name}: does not vary at sessions {', '.join(map(str, content['sessions']))}"
        columns.append((table - table.iloc[:, 0].mean()) / spread)
    return pd.concat(columns, axis=1).sort_index(), sources, ""


def estimate(site: SiteData, options: Mapping[str, Any]) -> Part:
    """Return one site's estimates of every pair.

    Parameters
    ----------
    site : SiteData
    options : mapping
        Configuration; section ``questions.path_models.cross_lagged``.
    """
    part = Part()
    section = options["questions"]["path_models"][NAME]
    if not section["enabled"]:
        return part
    covariances, moments = [], []
    for pair in sorted(section["pairs"]):
        content = section["pairs"][pair]
        rows, variances, sent, sampling, facts = _pair(site, pair, content, section["clients_per_parameter"], options)
        part.rows += rows
        part.variances += variances
        moments.append(sent)
        covariances.append(sampling)
        part.facts[pair] = facts
    part.moments = stacked(moments, no_moments().columns)
    part.covariances = stacked(covariances, VCOV)
    return part


def _pair(
    site: SiteData, pair: str, content: Mapping[str, Any], per_parameter: float, options: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], list[float], pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    from alliance.statistics.cross_lagged import cross_lagged

    minimum, level = options["pooling"]["min_clients"], options["pooling"]["level"]
    frame, sources, reason = wave_frame(site, content, options)
    n = len(frame)
    if not reason and n < minimum:
        reason = f"needs at least {minimum} clients with scores at the waves; has {n}"
    empty = (no_moments(), pd.DataFrame(columns=VCOV))
    if reason:
        rows = _absent(pair, content, f"not estimable: {reason}", {"n_clients": n})
        return rows, [np.nan] * len(rows), *empty, {"sources": sources}
    codes, known = therapist_codes(pd.Index(frame.index), site.clients, site.scores)
    therapists = int(codes.max()) + 1 if known else None
    nested = known and therapists >= LEAST_THERAPISTS
    counts = {
        "n_clients": n,
        "n_therapists": therapists,
        "n_sessions": int(frame.notna().to_numpy().sum()),
        "share_missing": 1 - n / len(site.clients) if len(site.clients) >= n else None,
    }
    clusters = codes if nested else None
    names = list(content["series"])
    found = cross_lagged(
        names,
        _times(content),
        rows=frame,
        clusters=clusters,
        error_variances=_error_variances(content, frame.var().to_numpy()),
        clients_per_parameter=per_parameter,
        level=level,
    )
    note = "" if nested else f"standard errors take clients as independent: {'few' if known else 'unknown'} therapists"
    margin = float(critical_value(level, therapists - 1 if nested else np.inf))
    common = {**counts, "method": ROBUST if nested else NORMAL}
    rows, variances = _rows(pair, content, found, common, note, margin, n)
    facts = {"sources": sources, "share_of_scores_missing": float(frame.isna().to_numpy().mean())}
    sent = _saturated(pair, frame, clusters, minimum)
    return rows, variances, *(empty if sent is None else sent), facts


def _times(content: Mapping[str, Any]) -> list[float]:
    """Return when each wave was, in sessions from the first."""
    middle = [(first + last) / 2 for first, last in waves_of(content)]
    return [one - middle[0] for one in middle]


def _error_variances(content: Mapping[str, Any], variances: np.ndarray) -> np.ndarray | None:
    """Return the known error variance of every score, shape (2, T): (1 - reliability) times its variance; None where none is known."""
    known = [definition.get("reliability") for definition in content["series"].values()]
    if all(value is None for value in known):
        return None
    share = np.array([0.0 if value is None else 1 - value for value in known])
    return share[:, None] * np.asarray(variances, dtype=float).reshape(2, -1)


def _moment_names(names: Sequence[str]) -> list[str]:
    """Return the means and then the elements of a covariance matrix as a saturated model writes them."""
    return [f"{name}~1" for name in names] + [f"{one}~~{other}" for one, other in combinations_with_replacement(names, 2)]


def _saturated(pair: str, frame: pd.DataFrame, therapists: np.ndarray | None, minimum: int) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """Return means and covariances of the waves and their sampling covariance, None where two waves share too few clients."""
    from alliance.statistics.row_moments import moments_of_rows

    names = list(frame.columns)
    present = frame.notna().to_numpy(dtype=float)
    together = present.T @ present
    moments = moments_of_rows(frame, therapists) if together.min() >= minimum else None
    if moments is None or moments.reason or not np.isfinite(moments.vcov).all():
        return None
    one, two = np.triu_indices(len(moments.vcov))
    labels = np.array([f"{block(pair)}:{name}" for name in _moment_names(names)], dtype=object)
    rows = pd.DataFrame({"model": NAME, "parameter1": labels[one], "parameter2": labels[two], "cov": moments.vcov[one, two]}, columns=VCOV)
    return matrix_rows(block(pair), names, moments.mean, moments.covariance, len(frame), method=moments.method), rows


def _identity(pair: str, dynamics: str, parameter: str, kind: str, **own: str) -> dict[str, Any]:
    name = ".".join(part for part in (pair, dynamics, parameter, own.get("lag", ""), own.get("index", ""), kind) if part)
    return {
        "pair": pair,
        "dynamics": dynamics,
        "term": parameter,
        "parameter": name,
        "level": "client",
        "estimate_type": kind,
        "explained": own.get("outcome", ""),
        "predictor": own.get("predictor", ""),
        "lag": own.get("lag", ""),
        "index": own.get("index", ""),
    }


def _directed(outcome: str, predictor: str) -> str:
    return f"{predictor} -> {outcome}"


def _effects_of(names: Sequence[str]) -> list[tuple[str, str]]:
    return [(outcome, predictor) for outcome in names for predictor in names]


def _absent(pair: str, content: Mapping[str, Any], reason: str, common: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the headline's rows where nothing could be estimated."""
    from alliance.statistics.cross_lagged import EQUAL

    status = {"status": "not_estimable", "reason": reason, "method": "none"}
    return [
        {
            **_identity(pair, EQUAL, _directed(*one), "path_standardised", outcome=one[0], predictor=one[1], lag=MEAN),
            **common,
            **status,
        }
        for one in _effects_of(list(content["series"]))
    ]


def _rows(
    pair: str, content: Mapping[str, Any], found: Any, common: Mapping[str, Any], note: str, margin: float, n: int
) -> tuple[list[dict[str, Any]], list[float]]:
    """Return all rows of a pair with the variances of their estimates."""
    from alliance.statistics import cross_lagged as models

    names = list(content["series"])
    rows: list[dict[str, Any]] = []
    variances: list[float] = []

    def add(identity: dict[str, Any], estimate: Any, error: Any, reasons: Sequence[str]) -> None:
        reason = "; ".join(dict.fromkeys(text for text in reasons if text))
        if estimate is None or not np.isfinite(estimate):
            absent = {"status": "not_estimable", "reason": f"not estimable: {reason or 'no finite value'}", "method": "none"}
            rows.append({**identity, **common, **absent})
            variances.append(np.nan)
            return
        own = {"estimate": float(estimate), "status": "flagged" if reason else "estimated", "reason": reason}
        if error is not None and np.isfinite(error):
            own |= {"ci_low": float(estimate - margin * error), "ci_high": float(estimate + margin * error)}
        rows.append({**identity, **common, **own})
        variances.append(float(error) ** 2 if error is not None and np.isfinite(error) else np.nan)

    for name in (*models.MODELS, models.GROWTH):
        fitted = found.fits.get(name)
        why = "" if fitted is None or fitted.fit is None else improper(fitted)
        if fitted is None or fitted.fit is None or why:
            reason = _improper(why) if why else found.left_out.get(name) or fitted.reason
            if name == models.EQUAL:
                for outcome, predictor in _effects_of(names):
                    own = {"outcome": outcome, "predictor": predictor, "lag": MEAN}
                    add(_identity(pair, name, _directed(outcome, predictor), "path_standardised", **own), None, None, [reason])
            else:
                add(_identity(pair, name, "fit", "fit_index", index="chi2"), None, None, [reason])
            continue
        cautions = [note, _in_words(fitted.reason), _few(n, fitted.n_parameters)]
        lags = found.lags[found.lags["model"].eq(name)]
        for one in lags.itertuples(index=False):
            for kind, estimate, error in (
                ("path_unstandardised", one.estimate, one.std_error),
                ("path_standardised", one.standardized, one.std_error_standardized),
            ):
                if not _shown(models, name, kind, one.lag):
                    continue
                own = {"outcome": one.outcome, "predictor": one.predictor, "lag": _lag_name(content, one.lag)}
                add(_identity(pair, name, _directed(one.outcome, one.predictor), kind, **own), estimate, error, cautions)
        for term, kind, estimate, error in _other_terms(models, name, names, fitted):
            add(_identity(pair, name, term, kind), estimate, error, cautions)
        if name != models.STATIONARY:
            for index, value in _fit_values(fitted).items():
                if value is not None or not (index in ("aic", "bic") and common["method"] == POOLED_COVARIANCE):
                    add(_identity(pair, name, "fit", "fit_index", index=index), value, None, cautions)
    tests = {
        "equal lags against free lags": found.comparisons[models.LAGS],
        "equal residuals against free residuals": found.comparisons[models.RESIDUALS],
    }
    for what, one in tests.items():
        why = improper(one)
        for index in TESTS if one.status != "not_estimable" and not why else TESTS[:1]:
            kind = "chi2_difference" if index == "chi2" else "fit_index"
            value, reason = (None, _improper(why)) if why else (getattr(one, index), _in_words(one.reason))
            add(_identity(pair, "comparison", what, kind, index=index), value, None, [note, reason])
    boundary = found.random_intercepts
    what = "no random intercepts against random intercepts"
    for index, value in (
        (("chi2", boundary.statistic), ("p_value", boundary.p_value)) if boundary.p_value is not None else (("chi2", None),)
    ):
        kind = "chi2_difference" if index == "chi2" else "fit_index"
        add(_identity(pair, "comparison", what, kind, index=index), value, None, [note, boundary.reason])
    return rows, variances


def _shown(models: Any, name: str, kind: str, lag: int) -> bool:
    """Return whether a lagged effect has a row: means over lags where lags are equal, every lag of the headline's free form."""
    if name == models.RANDOM_INTERCEPTS:
        return kind == "path_standardised" and lag > 0
    if name == models.EQUAL:
        return lag == 0
    return name == models.CLASSIC_EQUAL and kind == "path_standardised" and lag == 0


def _improper(why: str) -> str:
    return no_number(_in_words(why)).removeprefix("not estimable: ")


def _in_words(reason: str) -> str:
    """Return the engine's reason in the words of this table."""
    nothing_stable = re.search(r"negative variance of [^;]*stable_", reason)
    words = re.sub(r"\bw_(\w+?)(\d+)\b", r"\1 within clients at wave \2", reason)
    words = re.sub(r"\bstable_(\w+)", r"the stable part of \1", words)
    words = re.sub(r"\b(level|slope)_(\w+)", r"the \1 of \2", words)
    if nothing_stable:
        words += ": lagged effects leave no stable differences between clients, compare the classic model"
    return words


def _few(n: int, parameters: int) -> str:
    ratio = n / parameters
    return f"few clients: {ratio:.1f} for each free parameter (convention: at least {COMFORTABLE})" if ratio < COMFORTABLE else ""


def _other_terms(models: Any, name: str, names: Sequence[str], fitted: Any) -> list[tuple[str, str, float, float]]:
    """Return correlations of random intercepts, and the parameters of growth: name, kind, estimate, standard error."""
    table = fitted.parameters.set_index(fitted.parameters["lhs"] + fitted.parameters["op"] + fitted.parameters["rhs"])

    def correlation(one: str, other: str) -> tuple[float, float]:
        key = f"{one}~~{other}" if f"{one}~~{other}" in table.index else f"{other}~~{one}"
        return tuple(table.loc[key, ["standardized", "std_error_standardized"]])

    first, second = names
    if name == models.EQUAL:
        stable = correlation(f"stable_{first}", f"stable_{second}")
        return [(f"stable {first} with stable {second}", "factor_correlation", *stable)]
    if name != models.GROWTH:
        return []
    factors = {f"{what} of {one}": f"{what}_{one}" for one in names for what in ("level", "slope")}
    found = []
    for words, factor in factors.items():
        found.append((words, "covariance_unstandardised", *table.loc[f"{factor}~~{factor}", ["estimate", "std_error"]]))
        if factor.startswith("slope"):
            found.append((words, "mean", *table.loc[f"{factor}~1", ["estimate", "std_error"]]))
    labels = list(factors)
    for place, one in enumerate(labels):
        for other in labels[place + 1 :]:
            found.append((f"{one} with {other}", "factor_correlation", *correlation(factors[one], factors[other])))
    return found


def _fit_values(fitted: Any) -> dict[str, float | None]:
    """Return the indices of fit, scaled where errors are robust; without AIC and BIC where there are no rows behind the model."""
    measures = fitted.fit if fitted.scaled is None else fitted.scaled.scaled
    values = {index: getattr(measures, index) for index in FIT_INDICES[:6]}
    from_moments = fitted.method == "moment_covariance"
    return {**values, "aic": None if from_moments else fitted.aic, "bic": None if from_moments else fitted.bic}


def pool(gathered: pd.DataFrame, summaries: Sequence[SiteSummary], options: Mapping[str, Any]) -> pd.DataFrame:
    """Return rows of sites, rows pooled over sites, and rows of one model on the covariances within sites.

    Parameters
    ----------
    gathered : DataFrame
        Estimates of this part, from :func:`alliance.questions.effects.gather`.
    summaries : sequence of SiteSummary
    options : mapping
        Configuration.
    """
    section, pooling = options["questions"]["path_models"][NAME], options["pooling"]
    if not section["enabled"]:
        return pd.DataFrame()
    own = gathered.assign(parameter=gathered["term"], outcome=gathered["explained"])
    own = effects.scaled(own, "identity")
    keys = list(KEYS)
    poolable = own[own["estimate_type"].isin(_POOLED_TYPES)]
    pooled = effects.pooled_rows(poolable, keys, "identity", pooling)
    rows = effects.stack(effects.site_rows(own, "identity", pooling["level"]), pooled, _left_out(summaries, section))
    joint = [row for pair in sorted(section["pairs"]) for row in _joint(pair, section, summaries, options)]
    rows = effects.stack(rows, pd.DataFrame(joint))
    return rows.assign(model=rows["dynamics"]) if len(rows) else rows


def _left_out(summaries: Sequence[SiteSummary], section: Mapping[str, Any]) -> pd.DataFrame:
    """Return the headline's rows of sites without an answer."""
    rows = []
    for one in summaries:
        if one.status == "ok":
            continue
        for pair in sorted(section["pairs"]):
            absent = _absent(pair, section["pairs"][pair], effects.absence(one), {})
            rows += [{**_named(row), "site": one.site, "scale": "identity", "n_sites": 1} for row in absent]
    return pd.DataFrame(rows)


def _named(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of a summary in the words of the table."""
    return {**row, "parameter": row["term"], "outcome": row["explained"]}


def _joint(pair: str, section: Mapping[str, Any], summaries: Sequence[SiteSummary], options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of one model fitted to the covariances within sites, pooled."""
    from alliance.statistics.cross_lagged import cross_lagged
    from alliance.statistics.structural_fit import Moments
    from alliance.statistics.within_sites import moments_within_sites

    content, pooling = section["pairs"][pair], options["pooling"]
    names = [f"{name}{wave}" for name in content["series"] for wave in range(1, len(content["sessions"]) + 1)]
    blocks, sampling, therapists, sessions = [], [], [], []
    for one in summaries:
        found = read_block(one.moments, block(pair)) if one.status == "ok" else None
        covariance = None if found is None else _sampling(one, pair, names)
        if found is not None and covariance is not None and set(names) <= set(found.names):
            blocks.append(found.of(names))
            sampling.append(covariance)
            rows = one.estimates[one.estimates["model"].eq(NAME) & one.estimates["pair"].eq(pair)]
            therapists.append(rows["n_therapists"].max())
            sessions.append(rows["n_sessions"].max())
    n = sum(int(one.n[0, 0]) for one in blocks)
    known = not any(pd.isna(value) for value in therapists)
    common = {
        "site": POOLED,
        "scale": "identity",
        "method": POOLED_COVARIANCE,
        "n_clients": n,
        "n_sites": len(blocks),
        "n_therapists": int(sum(therapists)) if known and blocks else None,
        "n_sessions": int(sum(sessions)) if blocks else None,
    }
    if len(blocks) < pooling["min_sites"]:
        reason = f"not estimable: needs at least {pooling['min_sites']} sites that send the covariances of the waves; has {len(blocks)}"
        return [{**_named(row), **common, "status": row["status"]} for row in _absent(pair, content, reason, {})]
    n_of = [float(one.n[0, 0]) for one in blocks]
    within = moments_within_sites(n_of, [one.mean for one in blocks], [one.covariance for one in blocks], sampling)
    moments, acov = Moments(within.n, within.covariance, within.mean, names), within.acov
    found = cross_lagged(
        list(content["series"]),
        _times(content),
        moments=moments,
        acov=acov,
        error_variances=_error_variances(content, np.diagonal(np.asarray(moments.covariance))),
        clients_per_parameter=section["clients_per_parameter"],
        level=pooling["level"],
    )
    margin = float(critical_value(pooling["level"]))
    rows, variances = _rows(pair, content, found, {"method": POOLED_COVARIANCE}, "", margin, n)
    return [{**_named(row), **common, "std_error": np.sqrt(variance)} for row, variance in zip(rows, variances)]


def _sampling(summary: SiteSummary, pair: str, names: Sequence[str]) -> np.ndarray | None:
    """Return the sampling covariance of a site's means and covariances of the waves, None where it is not whole."""
    prefix = f"{block(pair)}:"
    rows = summary.vcov[summary.vcov["parameter1"].str.startswith(prefix)]
    labels = [prefix + name for name in _moment_names(names)]
    at = pd.Index(labels)
    i, j = at.get_indexer(rows["parameter1"]), at.get_indexer(rows["parameter2"])
    if (i < 0).any() or (j < 0).any():
        return None
    matrix = np.full((len(labels), len(labels)), np.nan)
    matrix[i, j] = matrix[j, i] = rows["cov"].to_numpy(dtype=float)
    return matrix if np.isfinite(matrix).all() else None


def methods(options: Mapping[str, Any], table: pd.DataFrame) -> list[Sentence]:
    """Return what was done in this run, with citation keys."""
    section = options["questions"]["path_models"][NAME]
    if not section["enabled"]:
        return []
    usable = table[table["status"].isin(WITH_NUMBERS)]
    if usable.empty:
        return [Sentence("The cross-lagged models could not be estimated: no site has scores of both measures at enough sessions.")]
    sites = usable[usable["site"].ne(POOLED)]
    joint = usable[usable["method"].eq(POOLED_COVARIANCE)]
    sentences = []
    what = "; ".join(
        f"{' and '.join(content['series'])} at sessions {', '.join(str(one) for one in content['sessions'])}"
        + (f" (means of {content['sessions_per_wave']} sessions)" if content["sessions_per_wave"] > 1 else "")
        for content in section["pairs"].values()
    )
    sentences.append(
        Sentence(
            f"Cross-lagged panel models with random intercepts separated what is stable of clients from changes within them ({what}); "
            "standardised lagged effects are in standard deviations within clients, all measures turned so that higher is better.",
            ("hamaker_2015",),
        )
    )
    sentences.append(
        Sentence(
            "An effect of the alliance on symptoms goes from the rating of one wave to that of the next; what two ratings of one session "
            "share is not given a direction. By convention .03, .07 and .12 are small, medium and large effects.",
            ("orth_2022",),
        )
    )
    if len(sites):
        sentences.append(
            Sentence(
                f"Models were fitted at {sites['site'].nunique()} site{'s' if sites['site'].nunique() > 1 else ''} by full information "
                "maximum likelihood with errors robust to clients who share a therapist, and only with at least "
                f"{section['clients_per_parameter']:g} clients for each free parameter.",
                ("yuan_bentler_2000",),
            )
        )
    if len(joint):
        n = int(joint["n_sites"].max())
        sentences.append(
            Sentence(
                f"Since single sites are small, one model was fitted to the covariances within {n} sites, pooled; its standard errors and "
                "tests rest on the sampling covariance that each site sent of them, and it takes dynamics to be alike at all sites."
            )
        )
    sentences.append(
        Sentence(
            "Lagged effects equal over time were tested against free ones. Random intercepts were tested at the boundary (their covariance "
            "matrix can't be improper): the likelihood ratio follows a mixture of chi-squared distributions with 0 to 3 degrees of "
            "freedom, whose weights come from the sampling covariance of the estimates.",
            ("satorra_bentler_2001", "stoel_2006", "shapiro_1988"),
        )
    )
    if any(definition.get("reliability") is not None for content in section["pairs"].values() for definition in content["series"].values()):
        sentences.append(Sentence("Error variances of the scores were fixed at (1 - reliability) times their variance, as configured."))
    pooled = usable[usable["site"].eq(POOLED) & usable["method"].ne(POOLED_COVARIANCE)]
    if len(pooled):
        sentences.append(pooling_sentence(options["pooling"], "Lagged effects and growth parameters of the sites were pooled"))
    return sentences
