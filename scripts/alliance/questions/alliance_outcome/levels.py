"""Whose alliance matters: parts of the alliance within clients, between clients and between therapists, and shares of variance by level.

The same models are fitted at one site and, in one stage, over the rows of all sites that share them: scores are standardised within sites.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from alliance.questions.alliance_outcome.contrasts import main_outcome
from alliance.questions.alliance_outcome.measures import PREFERRED, AllianceKey, SiteMeasures
from alliance.questions.site_data import SiteData
from alliance.variables.client import Measure, measure

if TYPE_CHECKING:
    from alliance.statistics.multilevel import MixedModel

MIN_THERAPISTS = 10
THERAPIST_MEAN = "mean of a therapist's clients"
UNKNOWN_THERAPISTS = "needs to know which therapist saw each client"
PARTS = ("within_client", "between_client", "between_therapist")
OUTCOME, SYMPTOMS = "outcome given intake", "symptoms of the next session"
CLIENT_COLUMNS = ["site", "therapist", "client", "outcome", "intake", "alliance"]
SESSION_COLUMNS = ["site", "therapist", "client", "session", "alliance", "symptoms", *PARTS]


def client_frame(site: str, found: SiteMeasures, options: Mapping[str, Any]) -> pd.DataFrame:
    """Return one row a client with outcome, intake level and alliance of the headline, in SD of the site; therapists may be missing."""
    alliance = AllianceKey(PREFERRED, options["alliance"]["scale"], options["alliance"]["rater"], options["alliance"]["window"])
    outcome = main_outcome(options)
    if alliance not in found.alliance or outcome not in found.outcomes:
        return pd.DataFrame(columns=CLIENT_COLUMNS)
    values = found.outcomes[outcome]
    frame = pd.DataFrame(
        {
            "site": site,
            "therapist": pd.array([None] * len(found.clients) if found.therapists is None else found.therapists, dtype="Int64"),
            "client": found.clients,
            "outcome": values.post,
            "intake": values.intake,
            "alliance": found.of(alliance, outcome),
        }
    )
    frame = frame[frame[["intake", "alliance"]].notna().all(axis=1)].reset_index(drop=True)
    return _standardised(frame, ("outcome", "intake", "alliance"))


def session_frame(site: SiteData, found: SiteMeasures, options: Mapping[str, Any]) -> pd.DataFrame:
    """Return one row a client and session: the alliance, its parts, and the symptoms of the next session, in SD of the site.

    Higher symptoms scores mean better here. The next session is the next one with symptoms, at most two session numbers later.
    """
    from alliance.statistics.multilevel import decompose

    alliance, _ = session_scores(site, {"construct": "alliance", "rater": options["alliance"]["rater"]}, options)
    symptoms, _ = session_scores(site, {"construct": "symptoms"}, options)
    if alliance.empty or symptoms.empty:
        return pd.DataFrame(columns=SESSION_COLUMNS)
    later = symptoms.rename(columns={"session": "next", "value": "symptoms"}).sort_values("next")
    frame = pd.merge_asof(
        alliance.rename(columns={"value": "alliance"}).assign(key=lambda rows: rows["session"]).sort_values("session"),
        later.assign(key=lambda rows: rows["next"]).sort_values("key"),
        on="key",
        by="client",
        direction="forward",
        allow_exact_matches=False,
        tolerance=2,
    )
    codes = pd.Series(found.therapists, index=found.clients, dtype="float64") if found.therapists is not None else None
    frame["therapist"] = pd.array([None] * len(frame), dtype="Int64") if codes is None else frame["client"].map(codes).astype("Int64")
    frame = _standardised(frame.assign(site=site.site).sort_values(["client", "session"]).reset_index(drop=True), ("alliance", "symptoms"))
    therapist = frame["therapist"].fillna(-1 - frame["client"]).to_numpy()
    prior = options["questions"]["alliance_outcome"]["within"]["client_mean"] == "prior"
    parts = decompose(frame["alliance"], frame["client"], therapist, session=frame["session"], prior=prior)
    if found.therapists is None:
        # Each client is then a therapist's only one: all that differs between clients is the clients' part.
        parts = parts.assign(between_client=parts["between_client"] + parts["between_therapist"], between_therapist=0.0)
    return frame.assign(**{name: parts[name].to_numpy() for name in PARTS})[SESSION_COLUMNS]


def session_scores(site: SiteData, definition: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[pd.DataFrame, Measure]:
    """Return ``client, session, value`` of the preferred measure of a construct, turned so that higher is better for symptoms.

    Beside it the measure, whose ``reason`` says why there are no rows.
    """
    every = {**options["alliance"]["windows"], "(every session)": {"sessions": [1, 9999]}}
    chosen = {**options, "alliance": {**options["alliance"], "windows": every}}
    one = measure(site, {**definition, "window": "(every session)"}, chosen)
    if one.reason:
        return pd.DataFrame(columns=["client", "session", "value"]), one
    scores = site.scores
    chosen = (
        scores["instrument"].eq(one.instrument)
        & scores["scale"].eq(one.scale)
        & scores["rater"].eq(one.rater)
        & scores["timepoint"].eq("session")
        & scores["score"].notna()
        & scores["session"].notna()
    )
    rows = scores.loc[chosen, ["client_no", "session", "score"]]
    frame = pd.DataFrame(
        {
            "client": rows["client_no"].astype("int64"),
            "session": rows["session"].astype("int64"),
            "value": rows["score"].astype("float64") * (-1.0 if one.turned else 1.0),
        }
    )
    # In one order, so that means do not depend on that of the rows by a last digit.
    return frame.sort_values(["client", "session", "value"]).groupby(["client", "session"], as_index=False)["value"].mean(), one


def _standardised(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    scored = {}
    for name in columns:
        spread = frame[name].std()
        scored[name] = (frame[name] - frame[name].mean()) / (spread if spread > 0 else np.nan)
    return frame.assign(**scored)


def level_rows(clients: pd.DataFrame, sessions: pd.DataFrame, options: Mapping[str, Any], method: str) -> list[dict[str, Any]]:
    """Return the estimates of all models by level.

    Parameters
    ----------
    clients, sessions : DataFrame
        From :func:`client_frame` and :func:`session_frame`, of one site or of several below each other.
    options : mapping
        Configuration.
    method : str
        ``mixed_model`` or ``one_stage``.
    """
    same_rater = "yes" if options["alliance"]["rater"] == options["outcome"]["rater"] else "no"
    same_symptoms = "yes" if options["alliance"]["rater"] == options["symptoms"]["rater"] else "no"
    minimum, level = options["pooling"]["min_clients"], options["pooling"]["level"]
    outcome = _outcome_rows(_labelled(clients), minimum, level)
    rows = [{**row, "same_rater": same_rater} for row in outcome]
    rows += [{**row, "same_rater": same_symptoms} for row in _symptom_rows(_labelled(sessions), options, minimum, level)]
    rows += [{**row, "same_rater": ""} for row in _share_rows(_labelled(clients), _labelled(sessions), minimum, level)]
    return [{**row, "method": method if row["status"] != "not_estimable" else "none"} for row in rows]


def within_client_row(sessions: pd.DataFrame, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of :func:`level_rows` that tells what the alliance does to the symptoms of the next session within clients."""
    minimum, level = options["pooling"]["min_clients"], options["pooling"]["level"]
    rows = _symptom_rows(_labelled(sessions), options, minimum, level)
    row = next(one for one in rows if one["part"] == PARTS[0] and not one["contrast"])
    return {**row, "method": "mixed_model" if row["status"] != "not_estimable" else "none"}


def _labelled(frame: pd.DataFrame) -> pd.DataFrame:
    """Return rows with units named across sites."""
    if frame.empty:
        return frame
    site = frame["site"].astype(str)
    return frame.assign(
        therapist=(site + " " + frame["therapist"].astype(str)).where(frame["therapist"].notna()),
        client=site + " " + frame["client"].astype(str),
    )


def _counts(used: pd.DataFrame) -> dict[str, Any]:
    known = used["therapist"].notna().all() if len(used) else False
    return {
        "n_clients": int(used["client"].nunique()),
        "n_therapists": int(used["therapist"].nunique()) if known else None,
        "n_sessions": len(used) if "session" in used else None,
    }


def _absent(explained: str, part: str, contrast: str, kind: str, reason: str, counts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "explained": explained,
        "part": part,
        "contrast": contrast,
        "estimate_type": kind,
        "status": "not_estimable",
        "reason": f"not estimable: {reason}",
        **counts,
    }


def _effect(explained: str, part: str, contrast: str, found: Any, model: Any, counts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "explained": explained,
        "part": part,
        "contrast": contrast,
        "estimate_type": "slope_contrast" if contrast else "slope_standardised",
        "estimate": float(found.estimate),
        "variance": float(found.std_error) ** 2,
        "ci_low": float(found.ci_low),
        "ci_high": float(found.ci_high),
        "df": float(found.df),
        "status": model.status,
        "reason": model.reason if model.status == "flagged" else "",
        **counts,
    }


def _wanted(parts: Sequence[str]) -> list[tuple[str, str]]:
    """Return the rows of a model: its parts, and each part minus the one inside it (contextual effects)."""
    pairs = list(zip(parts[1:], parts[:-1]))
    return [(part, "") for part in parts] + [(outer, f"{outer} - {inner}") for outer, inner in pairs]


def _model_rows(
    explained: str, used: pd.DataFrame, outcome: str, parts: Sequence[str], held: Sequence[str], levels: Sequence[str], level: float
) -> list[dict[str, Any]]:
    """Return the rows of one model; without the therapists' part, and saying so, where there are fewer than ten therapists.

    Over several sites each has its own intercept and its own effects of what is held constant.
    """
    from alliance.statistics.multilevel import mixed_model

    counts = _counts(used)
    therapists = counts["n_therapists"]
    few = f"needs at least {MIN_THERAPISTS} therapists; has {therapists}" if therapists is not None and therapists < MIN_THERAPISTS else ""
    few = few or (UNKNOWN_THERAPISTS if therapists is None else "")
    kept = [part for part in parts if part != "between_therapist" or not few]
    units = [name for name in levels if name != "therapist" or therapists is not None]
    if used["site"].nunique() > 1:
        settings = {"random": {"site": ()}, "absorbed": {"site": ["1", *held]}}
        model = mixed_model(used, outcome, kept, ["site", *units], level=level, **settings)
    else:
        model = mixed_model(used, outcome, ["1", *held, *kept], units, level=level)
    rows = []
    for part, contrast in _wanted(parts):
        kind = "slope_contrast" if contrast else "slope_standardised"
        if few and part == "between_therapist":
            rows.append(_absent(explained, part, contrast, kind, few, counts))
        elif model.status == "not_estimable":
            rows.append(_absent(explained, part, contrast, kind, model.reason, counts))
        else:
            weights = {part: 1.0} if not contrast else {part: 1.0, contrast.split(" - ")[1]: -1.0}
            rows.append(_effect(explained, part, contrast, model.combination(weights), model, counts))
    return rows


def _outcome_rows(clients: pd.DataFrame, minimum: int, level: float) -> list[dict[str, Any]]:
    from alliance.statistics.multilevel import decompose

    parts = PARTS[1:]
    used = clients[clients["outcome"].notna()] if len(clients) else clients
    known = len(used) > 0 and used["therapist"].notna().all()
    if len(used) < minimum or not known:
        reason = f"needs at least {minimum} clients with alliance, intake level and outcome; has {len(used)}"
        reason = reason if len(used) < minimum else UNKNOWN_THERAPISTS
        return [
            _absent(OUTCOME, part, contrast, "slope_contrast" if contrast else "slope_standardised", reason, {"n_clients": len(used)})
            for part, contrast in _wanted(parts)
        ]
    split = decompose(used["alliance"], used["client"], used["therapist"], used["site"])
    used = used.assign(**{name: split[name].to_numpy() for name in parts})
    return _model_rows(OUTCOME, used, "outcome", parts, ["intake"], ["therapist"], level)


def _symptom_rows(sessions: pd.DataFrame, options: Mapping[str, Any], minimum: int, level: float) -> list[dict[str, Any]]:
    used = sessions[sessions[["symptoms", *PARTS]].notna().all(axis=1)] if len(sessions) else sessions
    clients = used["client"].nunique() if len(used) else 0
    if clients < minimum:
        reason = f"needs at least {minimum} clients with the alliance in two sessions and symptoms in the next; has {clients}"
        return [
            _absent(SYMPTOMS, part, contrast, "slope_contrast" if contrast else "slope_standardised", reason, {"n_clients": clients})
            for part, contrast in _wanted(PARTS)
        ]
    held = ["session"] if options["questions"]["alliance_outcome"]["within"]["session_trend"] else []
    return _model_rows(SYMPTOMS, used, "symptoms", PARTS, held, ["therapist", "client"], level)


def _share_rows(clients: pd.DataFrame, sessions: pd.DataFrame, minimum: int, level: float) -> list[dict[str, Any]]:
    """Return intraclass correlations of alliance and outcome, and the reliability of therapists' means of the alliance."""
    from alliance.statistics.multilevel import reliability_of_means

    rows = []
    for explained, frame, column, levels, residual, fixed in (
        ("alliance, session by session", sessions, "alliance", ["therapist", "client"], "session", []),
        ("alliance, early mean of clients", clients, "alliance", ["therapist"], "client", []),
        ("outcome", clients, "outcome", ["therapist"], "client", []),
        (OUTCOME, clients, "outcome", ["therapist"], "client", ["intake"]),
    ):
        used = frame[frame[[column, *fixed]].notna().all(axis=1)] if len(frame) else frame
        names = [*levels, residual]
        counts = _counts(used) if len(used) else {"n_clients": 0}
        unknown = not len(used) or used["therapist"].isna().any()
        if unknown or counts["n_clients"] < minimum:
            reason = (
                f"needs at least {minimum} clients with the {explained.split(',')[0]}; has {counts['n_clients']}"
                if counts["n_clients"] < minimum
                else UNKNOWN_THERAPISTS
            )
            rows += [_absent(explained, name, "", "variance_share", reason, counts) for name in names]
            continue
        common = {"explained": explained, "contrast": "", "estimate_type": "variance_share", **counts}
        for one in _shares(used, column, levels, residual, fixed, level):
            if one["status"] == "not_estimable":
                rows.append(_absent(explained, one["part"], "", "variance_share", one["reason"], counts))
            else:
                rows.append({**common, **one})
    used = clients[clients["alliance"].notna()] if len(clients) else clients
    counts = _counts(used) if len(used) else {"n_clients": 0}
    enough, known = counts["n_clients"] >= minimum, len(used) > 0 and used["therapist"].notna().all()
    model = _of_therapists(used, level) if enough and known else None
    if model is None or model.fit is None:
        reason = UNKNOWN_THERAPISTS if model is None else model.reason
        reason = reason if enough else f"needs at least {minimum} clients with the alliance; has {counts['n_clients']}"
        rows.append(_absent("alliance, early mean of clients", THERAPIST_MEAN, "", "reliability_of_means", reason, counts))
    else:
        between, within = (float(value) for value in model.variances["variance"].iloc[-2:])
        found = reliability_of_means(between, within, used.groupby("therapist").size())
        rows.append(
            {
                "explained": "alliance, early mean of clients",
                "part": THERAPIST_MEAN,
                "contrast": "",
                "estimate_type": "reliability_of_means",
                "estimate": found.median,
                "status": "flagged" if found.median < 0.7 else "estimated",
                "reason": "below .70: an effect of observed therapist means is weakened" if found.median < 0.7 else "",
                **counts,
            }
        )
    return rows


def _shares(
    used: pd.DataFrame, column: str, levels: Sequence[str], residual: str, fixed: Sequence[str], level: float
) -> list[dict[str, Any]]:
    """Return the share of every level; of several sites each has a mean of its own, so that no share holds what lies between sites."""
    from alliance.statistics.multilevel import variance_shares
    from alliance.statistics.variance_parts import variance_parts

    if used["site"].nunique() == 1:
        found = variance_shares(used, column, levels, residual=residual, fixed=["1", *fixed], level=level)
        numbers = found.rename(columns={"level": "part", "share": "estimate"})[
            ["part", "estimate", "ci_low", "ci_high", "status", "reason"]
        ]
        return [{**row, "reason": row["reason"] if row["status"] != "estimated" else ""} for row in numbers.to_dict("records")]
    split = variance_parts(used, column, levels, residual=residual, site="site", fixed=fixed, level=level)
    told = {"status": split.status, "reason": split.reason}
    if not split.parts:
        return [{"part": name, **told} for name in (*levels, residual)]
    return [{"part": one.part, "estimate": one.share, "ci_low": one.ci_low, "ci_high": one.ci_high, **told} for one in split.parts]


def _of_therapists(used: pd.DataFrame, level: float) -> MixedModel:
    """Return the model of the alliance with therapists; of several sites each has a mean of its own."""
    from alliance.statistics.multilevel import mixed_model

    if used["site"].nunique() == 1:
        return mixed_model(used, "alliance", ["1"], ["therapist"], level=level)
    return mixed_model(used, "alliance", [], ["site", "therapist"], random={"site": ()}, absorbed={"site": ["1"]}, level=level)


HEADLINE = "headline"
ONE_STAGE_COLUMNS = (
    "explained",
    "part",
    "contrast",
    "same_rater",
    "estimate_type",
    "site",
    "scale",
    "estimate",
    "std_error",
    "ci_low",
    "ci_high",
    "n_sessions",
    "n_clients",
    "n_therapists",
    "n_sites",
    "tau2",
    "tau2_low",
    "tau2_high",
    "method",
    "status",
    "reason",
)


def one_stage_rows(
    clients: Sequence[pd.DataFrame], sessions: Sequence[pd.DataFrame], every_site: Sequence[str], options: Mapping[str, Any]
) -> pd.DataFrame:
    """Return pooled rows of models over the rows of several sites, columns :data:`ONE_STAGE_COLUMNS`."""
    from alliance.questions.contract import POOLED

    clients, sessions = ([frame for frame in frames if len(frame)] for frames in (clients, sessions))
    filled = sorted(clients, key=lambda frame: frame["site"].iloc[0])
    together = pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=CLIENT_COLUMNS)
    by_session = sorted(sessions, key=lambda frame: frame["site"].iloc[0])
    session_rows = pd.concat(by_session, ignore_index=True) if by_session else pd.DataFrame(columns=SESSION_COLUMNS)
    present = set(together["site"])
    absent = [site for site in every_site if site not in present]
    note = f"without {', '.join(absent)}, which share no rows or lack the measures" if absent else ""
    if len(present) < 2:
        return pd.DataFrame(columns=list(ONE_STAGE_COLUMNS))
    rows = [_headline_row(_labelled(together), options["pooling"]["level"])]
    rows += level_rows(together, session_rows, options, "one_stage")
    for row in rows:
        estimated = row["status"] != "not_estimable"
        reason = "; ".join(part for part in (row["reason"], note) if part)
        row |= {"reason": reason, "std_error": np.sqrt(row["variance"]) if np.isfinite(row.get("variance", np.nan)) else np.nan}
        row |= {
            "site": POOLED,
            "scale": "identity",
            "n_sites": len(present),
            "status": "flagged" if estimated and reason else row["status"],
        }
    return pd.DataFrame(rows).reindex(columns=list(ONE_STAGE_COLUMNS))


def _headline_row(clients: pd.DataFrame, level: float) -> dict[str, Any]:
    """Return the mean partial r over sites from one model: site-specific intercepts, slopes that vary over sites, therapists."""
    from alliance.statistics.multilevel import one_stage

    used = clients[clients["outcome"].notna()].reset_index(drop=True)
    freed = pd.concat([_freed(rows) for _, rows in used.groupby("site", sort=True)]) if len(used) else used
    counts = _counts(used)
    therapist = "therapist" if counts["n_therapists"] is not None else None
    found = one_stage(freed, "outcome", "alliance", "site", therapist=therapist, level=level)
    keys = {"explained": HEADLINE, "part": "", "contrast": "", "same_rater": "", "estimate_type": "partial_correlation"}
    if found.effect is None:
        return {**keys, **counts, "method": "none", "status": "not_estimable", "reason": f"not estimable: {found.model.reason}"}
    return {
        **keys,
        **counts,
        "estimate": found.effect.estimate,
        "variance": found.effect.std_error**2,
        "ci_low": found.effect.ci_low,
        "ci_high": found.effect.ci_high,
        "tau2": found.slope_sd**2,
        "tau2_low": found.slope_sd_low**2,
        "tau2_high": found.slope_sd_high**2,
        "method": "one_stage",
        "status": found.model.status,
        "reason": found.model.reason if found.model.status == "flagged" else "",
    }


def _freed(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one site's outcome and alliance without what the intake level explains, in SD of what is left."""
    intake = rows["intake"] - rows["intake"].mean()
    spread = float(intake @ intake)
    left = {}
    for name in ("outcome", "alliance"):
        centred = rows[name] - rows[name].mean()
        residual = centred - (float(centred @ intake) / spread if spread > 0 else 0.0) * intake
        size = residual.std()
        left[name] = residual / (size if size > 0 else np.nan)
    return rows.assign(**left)
