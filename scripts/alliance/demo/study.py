"""A whole simulated study: the sites, their files, and the truth behind them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path
from types import ModuleType
from typing import Any

from alliance import files
from alliance.configuration.errors import nearest
from alliance.demo import faults, responses
from alliance.demo.exports import long_csv, plain_csv, qualtrics, redcap, spss, wide_csv, workbook
from alliance.demo.measures import Collected, Tables, measure, measure_study
from alliance.demo.simulate import Size, calibrate, simulate, stream
from alliance.demo.truth import Parameters, describe

EVERY_THIRD = (3, 6, 9, 12, 15)
OBSERVED = (3, 9)
RELATION = (1, 3, 6, 9, 12)
AFTER_HOMEWORK = tuple(range(2, 100))
RATERS = ("client", "therapist", "observer")
COLLECTED = (
    Collected("wai_36", "client"),
    Collected("wai_s", "client"),
    Collected("wai_sr", "client"),
    Collected("haq_2", "client", EVERY_THIRD),
    Collected("calpas_p", "client", OBSERVED),
    Collected("tas_marziali", "client", OBSERVED),
    Collected("wai_36", "therapist", EVERY_THIRD),
    Collected("wai_s", "therapist", EVERY_THIRD),
    Collected("haq_2", "therapist", OBSERVED),
    Collected("vtas", "observer", OBSERVED, raters=2),
    Collected("wai_36", "observer", OBSERVED, raters=2),
    Collected("blri_empathy16", "client", RELATION),
    Collected("blri_os64", "client", RELATION),
    Collected("blri_empathy16", "observer", OBSERVED, raters=2),
    Collected("care", "client", RELATION),
    Collected("crf_s", "client", OBSERVED),
    Collected("homework_adherence", "therapist", AFTER_HOMEWORK),
    Collected("core_10", "client", None, ("intake", "post", "follow_up")),
    *(Collected("target_complaints", rater, (), ("intake", "post")) for rater in RATERS),
    *(Collected("scl_90_r", rater, (), ("intake", "post")) for rater in RATERS),
)
NOT_IN_PLAIN = ("wai_s_client", "wai_sr_client", "calpas_p_client", "tas_marziali_client", "wai_s_therapist", "care_client")

CIRCUMPLEX = ("affiliation", "dominance")
ATTACHMENT = ("attachment_anxiety", "attachment_avoidance")
CLIENT_TRAITS = (*CIRCUMPLEX, *ATTACHMENT)
THERAPIST_TRAITS = (*CIRCUMPLEX, "introject", "alliance_training")


@dataclass(frozen=True)
class DemoSite:
    """A site of the demo.

    Parameters
    ----------
    site : str
        Id.
    prefix : str
        Prefix of its client ids.
    writer : module
        Writes its export.
    client_traits, therapist_traits : tuple of str
        Which of the traits that only some sites measure it sends.
    avoidance : bool
        Whether it codes how clients avoid challenges.
    """

    site: str
    prefix: str
    writer: ModuleType
    client_traits: tuple[str, ...] = ()
    therapist_traits: tuple[str, ...] = ()
    avoidance: bool = False

    def sent(self, tables: Tables) -> Tables:
        """Return the tables without the traits that the site does not measure."""
        unsent = [name for name in CLIENT_TRAITS if name not in self.client_traits]
        theirs = [name for name in THERAPIST_TRAITS if name not in self.therapist_traits]
        return replace(tables, clients=tables.clients.drop(columns=unsent), therapists=tables.therapists.drop(columns=theirs))


SITES = (
    DemoSite("northgate", "NG", long_csv, CLIENT_TRAITS, (*CIRCUMPLEX, "alliance_training"), avoidance=True),
    DemoSite("lindenhof", "LH-", wide_csv, CIRCUMPLEX, (*CIRCUMPLEX, "introject"), avoidance=True),
    DemoSite("westbrook", "WB-", workbook, CIRCUMPLEX, (*CIRCUMPLEX, "introject")),
    DemoSite("fjordvik", "FV", spss, ATTACHMENT, ("introject",)),
    DemoSite("lakeside", "LS-", redcap, CIRCUMPLEX, (*CIRCUMPLEX, "alliance_training")),
    DemoSite("casa-marisol", "CM", qualtrics, ATTACHMENT, ("alliance_training",), avoidance=True),
)


def write_demo(folder: Path, parameters: Parameters, size: Size, seed: int, with_faults: bool = True) -> None:
    """Write the demo's sites, one export format each, with ``truth.json``.

    Parameters
    ----------
    folder : Path
        Gets one folder a site.
    parameters : Parameters
        The effects.
    size : Size
        At most six sites.
    seed : int
        Seed of the study.
    with_faults : bool
        Whether the everyday faults are planted.

    Raises
    ------
    ValueError
        For more sites than there are formats.
    """
    if size.sites > len(SITES):
        raise ValueError(f"there are {len(SITES)} export formats; use --formats csv for {size.sites} sites")
    sites = SITES[: size.sites]
    tables = measure(simulate(parameters, size, seed), parameters, seed, list(COLLECTED), [site.prefix for site in sites])
    planted = []
    for site, own in zip(sites, tables):
        if site.avoidance:
            own.responses = responses.avoidance(own.events, stream(seed, f"avoidance {site.site}"))
        sheets = site.writer.sheets(site.sent(own))
        if with_faults:
            planted += [{"site": site.site, **asdict(fault)} for fault in faults.plant(site.site, sheets)]
        for name, content in site.writer.render(sheets).items():
            _write(folder / site.site / name, content)
        _write(folder / site.site / "site.yaml", _template(f"{site.site}.yaml"))
    _write(folder / "README.md", _template("README.md"))
    counts = {site.site: _counts(own) for site, own in zip(sites, tables)}
    files.write_json(folder / "truth.json", truth(parameters, size, seed, counts, planted))


def write_plain(folder: Path, parameters: Parameters, size: Size, seed: int, instruments: list[str] | None = None) -> None:
    """Write any number of sites as plain CSV without faults, with ``truth.json``.

    Parameters
    ----------
    folder : Path
        Gets one folder a site.
    parameters, size, seed
        As for :func:`write_demo`.
    instruments : list of str, optional
        Instruments to send (``wai_36``), or single forms (``wai_36_client``); default: those of a usual site.

    Raises
    ------
    ValueError
        For an instrument that the simulation does not know.
    """
    known = {name for c in COLLECTED for name in (c.instrument, c.name)}
    unknown = sorted(set(instruments or ()) - known)
    if unknown:
        raise ValueError(f"unknown instrument {unknown[0]!r}{nearest(unknown[0], known)}")
    if instruments:
        collected = [c for c in COLLECTED if {c.instrument, c.name} & set(instruments)]
    else:
        collected = [c for c in COLLECTED if c.name not in NOT_IN_PLAIN]
    width = max(3, len(str(size.sites)))
    prefixes = [f"S{number:0{width}d}C" for number in range(1, size.sites + 1)]
    course = simulate(parameters, size, seed)
    tables = measure_study(course, parameters, seed, collected, prefixes)
    plain = plain_csv.plain_files(tables, course.site, course.therapist_site)
    for number, prefix in enumerate(prefixes, start=1):
        site = folder / f"site-{number:0{width}d}"
        plain_csv.write_site(site, plain, number - 1, f"Simulated site {number}", f"{prefix}[0-9]+")
    files.write_json(folder / "truth.json", truth(parameters, size, seed, {}, []))


def truth(parameters: Parameters, size: Size, seed: int, counts: dict[str, Any], planted: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what is true of a simulated study: parameters, expected correlations, counts and planted faults."""
    return {
        "simulated": True,
        "note": "All data of this study are simulated. No person stands behind any row.",
        "seed": seed,
        "size": asdict(size),
        "parameters": describe(parameters),
        "expected": expected(parameters),
        "counts": counts,
        "planted_faults": planted,
    }


@cache
def expected(parameters: Parameters) -> dict[str, Any]:
    """Return correlations that a very large study with these effects would show, from simulated scores of 40,000 clients.

    Correlations are within sites, of scores as the pipeline forms them: alliance is the mean client-rated WAI total of sessions
    1-5, empathy that of session 1, outcomes are turned so that higher is better; ``partial`` is given the intake level.
    """
    from alliance.demo.expectation import correlations

    return correlations(parameters, calibrate(parameters))


def _counts(tables: Tables) -> dict[str, int]:
    return {
        "clients": len(tables.clients),
        "therapists": len(tables.therapists),
        "sessions": len(tables.sessions),
        "attended": int(tables.sessions["attended"].sum()),
        "unilateral": int((tables.termination["reason"] == "unilateral").sum()),
    }


def _template(name: str) -> bytes:
    return resources.files("alliance.demo").joinpath("site_files", name).read_bytes()


def _write(path: Path, content: bytes) -> None:
    with files.replacing(path) as temporary:
        temporary.write_bytes(content)
