"""The pipeline's front door: run a study, check its data, see what would run again, start a study or a site.

Every command ends with one line `exit status N: what it means, what to do`.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import os
import shutil
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from alliance.configuration.code import PROJECT
from alliance.configuration.errors import ConfigurationError, Fault, nearest
from alliance.configuration.options import keys_changed
from alliance.configuration.study import BASE, Study, load
from alliance.files import read_json
from alliance.issues import Severity, from_csv, line, why_left_out
from alliance.launch import last_run, snakemake_run
from alliance.launch.exit_status import ExitStatus, closing_line
from alliance.launch.leftovers import record_withdrawals, remove_leftovers, remove_outdated_exports, remove_outdated_scenarios
from alliance.launch.run_lock import LOCK_FILE, AnotherRunIsActive, FolderCannotBeLocked, RunLock
from alliance.portable import FOLDER, FORMATS
from alliance.provenance import ID_KEY_FILE, ensure_id_key

EVERY = "all"
"""Stands for all scenarios."""
SHOWN_ISSUES = 20
SECONDS_OF_PLAN = 5
"""How long Snakemake plans and jobs get under way, when both cores of a small machine are busy anyway."""
SNAKEMAKE_REPORT = "snakemake-report.html"


def say(text: str = "") -> None:
    """Print a line for the user at once."""
    print(text, flush=True)


def chosen_scenarios(study: Study, words: list[str]) -> list[str]:
    """Return the scenarios asked for, with ``all`` spelled out.

    Raises
    ------
    ConfigurationError
        For a name that is not in ``scenarios.yaml``.
    """
    faults = [
        Fault("scenarios.yaml", 0, word, f"no such scenario{nearest(word, study.scenarios)}")
        for word in words
        if word not in study.scenarios and word != EVERY
    ]
    if faults:
        raise ConfigurationError(faults)
    return list(study.scenarios) if EVERY in words else list(dict.fromkeys(words)) or [BASE]


def chosen_questions(study: Study, words: list[str]) -> list[str]:
    """Return the questions asked for; none means all.

    Raises
    ------
    ConfigurationError
        For a question that does not exist or is not enabled.
    """
    enabled = study.enabled_questions(BASE)
    faults = [
        Fault(study.config_file, 0, word, f"no question of this name is enabled{nearest(word, enabled)}")
        for word in words
        if word not in enabled
    ]
    if faults:
        raise ConfigurationError(faults)
    return words


def left_out(study: Study, sites: list[str]) -> dict[str, str]:
    """Return the reason for each site that cleaning excluded."""
    excluded = {}
    for site in sites:
        path = study.folder / "results" / "sites" / site / "status.json"
        if path.exists():
            status = read_json(path)
            if status["status"] == "excluded":
                excluded[site] = why_left_out(status["reasons"])
    return excluded


def show_issues(study: Study, sites: list[str]) -> None:
    """Print the faults of some sites, the worst first, and a count of the rest."""
    rank = {severity: position for position, severity in enumerate(Severity)}
    issues = [
        issue
        for site in sites
        for path in [study.folder / "results" / "sites" / site / "issues.csv"]
        if path.exists()
        for issue in from_csv(path.read_text(encoding="utf-8"))
    ]
    issues.sort(key=lambda issue: rank[issue.severity])
    for issue in issues[:SHOWN_ISSUES]:
        say(line(issue))
    if len(issues) > SHOWN_ISSUES:
        say(f"... and {len(issues) - SHOWN_ISSUES} more; all are in results/sites/<site>/issues.csv")


def snakemake(
    study: Study, given: argparse.Namespace, targets: list[str], lock: RunLock, dry_run: bool = False, report: str = ""
) -> snakemake_run.Outcome:
    """Call Snakemake for some targets of the study."""
    profile = Path(given.profile) if given.profile else PROJECT / "profiles" / "default"
    call = snakemake_run.command(
        study.folder,
        study.config_file,
        targets,
        given.cores,
        getattr(given, "scenarios", None) or [BASE],
        getattr(given, "questions", None) or [],
        str(profile.resolve()),
        dry_run,
        report,
    )
    assert lock.handle is not None
    return snakemake_run.run(call, (lambda text: None) if dry_run else say, lock.handle)


def explain_failure(study: Study, outcome: snakemake_run.Outcome) -> None:
    """Say which steps failed and show the end of their logs."""
    for job in outcome.failed:
        say(f"failed: {job}")
    logs = sorted({job.log for job in outcome.jobs.values() if job.log})
    shown = 0
    for log in logs:
        path = study.folder / log
        text = path.read_text(encoding="utf-8", errors="replace").strip() if path.exists() else ""
        if "Traceback" in text or "No space left" in text or "MemoryError" in text:
            say(f"--- {log}")
            say("\n".join(text.splitlines()[-4:]))
            shown += 1
    full = [log for log in logs if _no_space(study.folder / log)]
    if full:
        say("The disk is full. What was finished is kept whole; free some space and run the same command again.")
    for job in outcome.failed:
        log = study.folder / job.log
        if job.log and not (log.exists() and log.read_text(encoding="utf-8", errors="replace").strip()):
            say(f"{job} ended without a word, as when the system kills a step for want of memory; the others went on. Try fewer CORES.")
            shown += 1
    if not shown:
        say("\n".join(outcome.output.strip().splitlines()[-15:]))


def _no_space(log: Path) -> bool:
    return log.exists() and "No space left" in log.read_text(encoding="utf-8", errors="replace")


def end_of_run(study: Study, outcome: snakemake_run.Outcome) -> ExitStatus | None:
    """Return the status of a run that did not end well, or None."""
    if outcome.interrupted:
        say("Interrupted. What was finished is kept; the same command goes on from there.")
        return ExitStatus.INTERRUPTED
    if outcome.status != 0:
        explain_failure(study, outcome)
        return ExitStatus.FAILED
    return None


def stopped_by_strict(study: Study, given: argparse.Namespace, lock: RunLock) -> ExitStatus | None:
    """Return the status of a strict study that must not go on because a site has a fatal fault, or None."""
    if not study.base["study"]["strict"]:
        return None
    outcome = snakemake(study, given, ["check_all"], lock)
    if status := end_of_run(study, outcome):
        return status
    if excluded := left_out(study, list(study.sites)):
        show_issues(study, list(excluded))
        say(f"Stopped before any analysis because of strict: true; {len(excluded)} of {len(study.sites)} sites have fatal faults.")
        return ExitStatus.NOT_STARTED
    return None


def compute(study: Study, given: argparse.Namespace, lock: RunLock, targets: list[str], files: str) -> ExitStatus | None:
    """Have Snakemake compute what is missing or out of date; return how it ended if not well. ``files`` is what it rests on."""
    if status := stopped_by_strict(study, given, lock):
        return status
    with imported_meanwhile("alliance.changes.record"):
        outcome = snakemake(study, given, ["pool_all" if given.questions else "all"], lock)
    if status := end_of_run(study, outcome):
        return status
    if outcome.nothing_to_do:
        say("Nothing to do")
    # Tables of some questions alone are no whole run of a scenario.
    if not given.questions:
        record_withdrawals(study)
        tell_changes(study, given.scenarios)
    link_reports(study)
    last_run.record(study, targets, files)
    return None


@contextlib.contextmanager
def imported_meanwhile(module: str) -> Iterator[None]:
    """Import a module that is needed after the block while the block waits, once it has waited for some seconds."""
    import_later = threading.Timer(SECONDS_OF_PLAN, importlib.import_module, [module])
    import_later.daemon = True
    import_later.start()
    try:
        yield
    finally:
        import_later.cancel()


def tell_changes(study: Study, scenarios: list[str]) -> None:
    """Write what changed since the run before, and say where it stands."""
    from alliance.changes.record import record_changes

    told = record_changes(study, scenarios, PROJECT / "workflow" / "headlines.yaml", PROJECT / "workflow" / "templates")
    if told is None:
        return
    moved = "nothing to compare with yet" if told.changed is None else f"{told.changed} of {told.compared} headline numbers changed"
    say(f"changes since the run before: {told.page} ({moved})")


def link_reports(study: Study) -> None:
    """Write the page that leads to all reports."""
    from alliance.launch.overview import write_overview

    if page := write_overview(study, PROJECT / "workflow" / "templates"):
        say(f"all reports: {page}")


def report_unknown_withdrawals(study: Study) -> None:
    """Say where the list of withdrawals names sites that the study does not have: a slip would keep a client in."""
    for name in sorted(set(study.withdrawn) - set(study.sites)):
        say(f"note: withdrawn.csv names the site '{name}', which is not in the study; check its spelling")


def report_scenarios_without_effect(study: Study, scenarios: list[str]) -> None:
    """Say which scenarios name only what the configuration holds anyway, as after it was changed to what a scenario says."""
    for name in scenarios:
        if name != BASE and not keys_changed(study.base, study.scenarios[name]):
            say(f"note: scenario {name} changes nothing, {study.config_file} says so already; its numbers are those of {BASE}")


def remove_what_is_gone(study: Study) -> None:
    """Delete results of sites, scenarios and clients that the study no longer has, and say so."""
    for removed in remove_leftovers(study):
        say(f"removed results of {removed}: no longer in the study")
    for removed in remove_outdated_exports(study):
        say(f"removed the export of {removed}: it held a site, a client or a scenario that the study no longer has")


def name_sites_left_out(excluded: dict[str, str], n_sites: int) -> None:
    """Say which sites are not in the result, and why."""
    if not excluded:
        say(f"sites left out: none of {n_sites}")
        return
    say(f"{len(excluded)} of {n_sites} sites not included:")
    for site, reason in excluded.items():
        say(f"  {site}: {reason}")


def run(study: Study, given: argparse.Namespace, lock: RunLock) -> ExitStatus:
    """Compute every scenario asked for and say where the reports are."""
    given.scenarios = chosen_scenarios(study, given.scenarios)
    given.questions = chosen_questions(study, given.questions)
    remove_what_is_gone(study)
    for scenario in remove_outdated_scenarios(study, given.scenarios):
        say(f"removed results of scenario {scenario}: they held a site or a client that has left; run it again for new ones")
    sites = list(study.sites)
    say(f"{study.base['study']['title']}: {len(sites)} sites, scenarios: {', '.join(given.scenarios)}")
    for name in study.not_sites:
        say(f"note: {study.base['study']['sites_dir']}/{name} has no site.yaml and is not a site")
    report_unknown_withdrawals(study)
    report_scenarios_without_effect(study, given.scenarios)
    targets = [*given.scenarios, *(f"question {question}" for question in given.questions)]
    files = last_run.given_files(study)
    if last_run.is_complete(study, targets, files):
        say("Nothing to do")
    elif status := compute(study, given, lock, targets, files):
        return status
    excluded = left_out(study, sites)
    if excluded:
        show_issues(study, list(excluded))
    for scenario in given.scenarios:
        where = f"results/{scenario}/tables/" if given.questions else f"results/{scenario}/report/index.html"
        say(f"{'tables' if given.questions else 'report'}: {study.folder / where}")
    if len(given.scenarios) > 1:
        say(f"scenarios beside {BASE}: {study.folder / 'results/sensitivity/tables/scenario_comparison.csv'}")
    name_sites_left_out(excluded, len(sites))
    if len(excluded) == len(sites):
        say("No site could be used, so nothing was estimated; the quality report lists the faults.")
        return ExitStatus.NOT_STARTED
    return ExitStatus.SITE_LEFT_OUT if excluded else ExitStatus.DONE


def check(study: Study, given: argparse.Namespace, lock: RunLock) -> ExitStatus:
    """Clean all sites, or one, and list every fault; no analysis."""
    remove_what_is_gone(study)
    if given.site and given.site not in study.sites:
        raise ConfigurationError(
            [Fault(study.config_file, 0, "SITE", f"no site is called '{given.site}'{nearest(given.site, study.sites)}")]
        )
    sites = [given.site] if given.site else list(study.sites)
    report_unknown_withdrawals(study)
    outcome = snakemake(study, given, [f"results/sites/{site}/status.json" for site in sites], lock)
    if status := end_of_run(study, outcome):
        return status
    if outcome.nothing_to_do:
        say("Nothing to do")
    show_issues(study, sites)
    excluded = left_out(study, sites)
    for site in sites:
        status = read_json(study.folder / "results" / "sites" / site / "status.json")
        files = status["files"]
        say(
            f"{site}: {status['status']}; rows in {sum(f['rows_in'] for f in files)}, used {sum(f['rows_used'] for f in files)}, "
            f"quarantined {sum(f['rows_quarantined'] for f in files)}, left out by rule {sum(f['rows_excluded_by_rule'] for f in files)}"
        )
    return ExitStatus.SITE_LEFT_OUT if excluded else ExitStatus.DONE


def why(study: Study, given: argparse.Namespace, lock: RunLock) -> ExitStatus:
    """Say what would run, and why."""
    given.scenarios = chosen_scenarios(study, given.scenarios)
    outcome = snakemake(study, given, ["all"], lock, dry_run=True)
    if status := end_of_run(study, outcome):
        return status
    jobs = {id(job): job for job in outcome.jobs.values() if job.rule != "all"}
    if not jobs:
        say("Nothing to do")
        return ExitStatus.DONE
    say(f"{len(jobs)} jobs would run:")
    caused = [job for job in jobs.values() if not job.reason.startswith("Input files updated by another job")]
    for job in sorted(caused, key=str):
        say(f"  {job}: {job.reason[:300]}")
    following = Counter(job.rule.replace("_", " ") for job in jobs.values() if job.reason.startswith("Input files updated by another job"))
    for rule, count in sorted(following.items()):
        say(f"  {rule}: {count} after these")
    return ExitStatus.DONE


def clean(study: Study, given: argparse.Namespace, lock: RunLock) -> ExitStatus:
    """Delete everything computed; data, configuration, the key for ids and what was published stay."""
    results = study.folder / "results"
    published = results / last_run.PUBLISHED
    for path in (results, study.folder / ".snakemake"):
        if path == results and published.is_dir():
            for part in sorted(results.iterdir()):
                if part != published:
                    shutil.rmtree(part) if part.is_dir() and not part.is_symlink() else part.unlink()
            continue
        shutil.rmtree(path, ignore_errors=True)
    say(f"Removed results/ and .snakemake/; data, configuration and {ID_KEY_FILE} are as they were.")
    if published.is_dir():
        say(f"Kept {published}: the next bundle is compared with it, so that differences give no client away.")
    return ExitStatus.DONE


def request(study: Study, given: argparse.Namespace, lock: RunLock) -> ExitStatus:
    """Write what a site that keeps its rows must answer."""
    from alliance.sites.request import write_request

    scenarios = chosen_scenarios(study, given.scenarios)
    folder = write_request(study, given.site, scenarios)
    say(f"request: {folder}")
    say(f"Send this folder to {given.site}; README.txt in it says what to run and what to send back.")
    return ExitStatus.DONE


def send(study: Study, given: argparse.Namespace, lock: RunLock) -> ExitStatus:
    """Gather the summaries that answer a hub's request, leaving out those that give away small groups of clients."""
    from alliance.sites.request import pack_answer

    answer = pack_answer(study.folder)
    for issue in answer.issues:
        say(line(issue))
    if not answer.packed:
        say("Nothing can be sent.")
        return ExitStatus.NOT_STARTED
    say(f"{len(answer.packed)} summaries to send: {answer.folder}")
    return ExitStatus.SITE_LEFT_OUT if answer.issues else ExitStatus.DONE


def export(study: Study, given: argparse.Namespace, lock: RunLock) -> ExitStatus:
    """Write the scores for SPSS, Stata or other programs into the study's private folder; what they rest on is computed first."""
    given.scenarios = chosen_scenarios(study, given.scenarios)
    remove_what_is_gone(study)
    report_unknown_withdrawals(study)
    if status := stopped_by_strict(study, given, lock):
        return status
    folders = [f"{FOLDER}/{scenario}" for scenario in given.scenarios]
    names = (f"sessions.{given.format}", f"clients.{given.format}", "variables.csv")
    outcome = snakemake(study, given, [f"{folder}/{name}" for folder in folders for name in names], lock)
    if status := end_of_run(study, outcome):
        return status
    if outcome.nothing_to_do:
        say("Nothing to do")
    excluded = left_out(study, list(study.sites))
    if excluded:
        show_issues(study, list(excluded))
    summaries = [site for site, folder in study.sites.items() if folder.sends_summary and site not in excluded]
    if summaries:
        say(f"not in the export, since they share no rows: {', '.join(summaries)}")
    if len(excluded) + len(summaries) == len(study.sites):
        say("No site has rows that can be exported; the files hold none.")
        return ExitStatus.NOT_STARTED
    for folder in folders:
        say(f"export: {study.folder / folder} ({', '.join(names)})")
    name_sites_left_out(excluded, len(study.sites))
    say(
        "The files hold one row a client: they are for your own analyses, can be read by you alone, and no report or other step reads them."
    )
    return ExitStatus.SITE_LEFT_OUT if excluded else ExitStatus.DONE


def publish(study: Study, given: argparse.Namespace, lock: RunLock) -> ExitStatus:
    """Bring the study up to date and write what may be given away into results/publish/."""
    from alliance.launch import publish_bundle

    if faults := publish_bundle.faults(study):
        raise ConfigurationError(faults)
    status = run(study, given, lock)
    if status not in (ExitStatus.DONE, ExitStatus.SITE_LEFT_OUT):
        return status
    assert lock.handle is not None
    result = publish_bundle.build(study, given.scenarios, lock.handle, given.cores)
    if result.returncode == ExitStatus.INTERRUPTED:
        say("Nothing was published; the bundle that was published before stands as it was.")
        return ExitStatus.INTERRUPTED
    say(result.stdout.rstrip())
    if result.returncode not in (ExitStatus.DONE, ExitStatus.REFUSED):
        say("The bundle could not be built; the one that was published before stands as it was.")
        return ExitStatus.FAILED
    if result.returncode == ExitStatus.REFUSED:
        say("Nothing was published; the bundle that was published before stands as it was.")
        return ExitStatus.REFUSED
    # The page of all reports leads to the bundle; that it does so now is no reason to look at the results again.
    files = last_run.given_files(study)
    complete = last_run.is_complete(study, given.scenarios, files)
    link_reports(study)
    if complete:
        last_run.record(study, given.scenarios, files)
    say(f"published: {study.folder / publish_bundle.FOLDER}")
    if others := publish_bundle.not_published(study, given.scenarios):
        say(f"not in the bundle, although there are results: {', '.join(others)} (name them in SCENARIOS, or all)")
    return status


def snakemake_report(study: Study, given: argparse.Namespace, lock: RunLock) -> ExitStatus:
    """Bring the study up to date and write Snakemake's own report of it beside results/."""
    status = run(study, given, lock)
    if status not in (ExitStatus.DONE, ExitStatus.SITE_LEFT_OUT):
        return status
    outcome = snakemake(study, given, ["all"], lock, report=SNAKEMAKE_REPORT)
    if ended := end_of_run(study, outcome):
        return ended
    say(f"report of Snakemake: {study.folder / SNAKEMAKE_REPORT} (for yourselves: no disclosure control was applied to it)")
    return status


def verify_bundle(folder: Path | None, config: Path) -> tuple[ExitStatus, str]:
    """Check a bundle: hashes, tables, links, leaks."""
    import verify_bundle as verification
    from alliance.launch.publish_bundle import FOLDER as BUNDLE

    status = verification.report(folder or config.resolve().parent / BUNDLE)
    if status == verification.UNREADABLE:
        return ExitStatus.NOT_STARTED, "name the folder of a bundle: make verify-bundle DIR=path/to/bundle"
    return ExitStatus(status), "see the places above" if status else ""


COMMANDS = {
    "run": run,
    "check": check,
    "why": why,
    "clean": clean,
    "request": request,
    "send": send,
    "export": export,
    "publish": publish,
    "snakemake-report": snakemake_report,
}


class Parser(argparse.ArgumentParser):
    """A command line whose faults end like those of a configuration file."""

    def error(self, message: str) -> NoReturn:
        raise ConfigurationError([Fault("command line", 0, "", message)])


def arguments() -> argparse.Namespace:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, function in COMMANDS.items():
        command = commands.add_parser(name, help=(function.__doc__ or "").strip(), description=function.__doc__)
        command.add_argument("--config", type=Path, default=Path("config.yaml"), help="the study's configuration file")
        command.add_argument("--cores", type=int, default=os.cpu_count() or 1)
        command.add_argument("--profile", default="", help="a Snakemake profile, such as profiles/slurm")
        if name in ("run", "why", "request", "export", "publish", "snakemake-report"):
            command.add_argument("--scenarios", type=str.split, default=[], help="names from scenarios.yaml in one argument, or all")
        if name in ("publish", "snakemake-report"):
            command.set_defaults(questions=[])
        if name == "run":
            command.add_argument("--questions", type=str.split, default=[], help="questions in one argument; tables only, no report")
        if name == "export":
            command.add_argument("--format", type=str.lower, default="", help=f"{', '.join(FORMATS)}: the program the files are for")
        if name in ("check", "request"):
            command.add_argument("--site", default="", help="one site's id")
    study = commands.add_parser("new-study", help="Start a study folder of your own.")
    study.add_argument("--folder", type=Path, required=True)
    site = commands.add_parser("new-site", help="Start a site: a commented site.yaml, guessed from a data file where possible.")
    site.add_argument("--config", type=Path, default=Path("config.yaml"), help="the study's configuration file")
    site.add_argument("--name", default="", help="the new site's id")
    site.add_argument("--file", default="", help="data file to guess the column map from; default: the first one in the site's folder")
    verify = commands.add_parser("verify-bundle", help="Check a published bundle: hashes, tables, links, leaks.")
    verify.add_argument("--folder", type=str, default="", help="the bundle; default: the one in the study's results/publish")
    verify.add_argument("--config", type=Path, default=Path("config.yaml"), help="the study's configuration file")
    return parser.parse_args()


def execute(given: argparse.Namespace) -> tuple[ExitStatus, str]:
    """Run a command and return how it ended and what to do next."""
    if given.command == "new-study":
        from alliance.launch.new_study import start_study

        for text in start_study(given.folder):
            say(text)
        return ExitStatus.DONE, ""
    if given.command == "new-site":
        from alliance.launch.new_site import start_site

        for text in start_site(given.config, given.name, Path(given.file) if given.file else None):
            say(text)
        return ExitStatus.DONE, ""
    if given.command == "verify-bundle":
        return verify_bundle(Path(given.folder) if given.folder else None, given.config)
    if given.cores < 1:
        raise ConfigurationError([Fault("command line", 0, "CORES", "must be 1 or more")])
    if given.command == "request" and not given.site:
        raise ConfigurationError([Fault("command line", 0, "SITE", "name the site: make request SITE=name")])
    if given.command == "export" and given.format not in FORMATS:
        known = [f"{ending} ({program})" for ending, program in FORMATS.items()]
        message = f"must be {', '.join(known[:-1])} or {known[-1]}: make export FORMAT={next(iter(FORMATS))}"
        raise ConfigurationError([Fault("command line", 0, "FORMAT", message)])
    study = load(given.config)
    with RunLock(study.folder) as lock:
        if given.command != "clean":
            for warning in ensure_id_key(study.folder):
                say(f"warning: {warning}")
        status = COMMANDS[given.command](study, given, lock)
    advice = {
        ExitStatus.SITE_LEFT_OUT: "mend the faults above and run again; every report names the sites left out",
        ExitStatus.REFUSED: "the places are named above; docs/publishing.md says what to do",
        ExitStatus.FAILED: "the logs are in results/logs; earlier results are unchanged",
        ExitStatus.NOT_STARTED: "mend the faults above and run again",
        ExitStatus.INTERRUPTED: "run the same command to go on",
    }.get(status, "")
    return status, advice


def main() -> int:
    try:
        given = arguments()
        status, advice = execute(given)
    except ConfigurationError as error:
        say(f"{len(error.faults)} fault{'s' if len(error.faults) > 1 else ''} in the configuration; nothing was started:")
        for fault in error.faults:
            say(f"  {fault}")
        status, advice = ExitStatus.NOT_STARTED, "mend the faults above and run again"
    except AnotherRunIsActive as holder:
        status, advice = ExitStatus.BUSY, f"{holder}; wait until it ends (the lock {LOCK_FILE} frees itself)"
    except FolderCannotBeLocked as reason:
        say(f"The drive of the study's folder has no file locks ({reason}), so nothing could stop two runs from writing at once.")
        status, advice = (
            ExitStatus.NOT_STARTED,
            "move the study's folder to a local disk, or have file locks turned on for the network drive",
        )
    except KeyboardInterrupt:
        status, advice = ExitStatus.INTERRUPTED, "run the same command to go on"
    except OSError as error:
        say(f"{error.strerror or error}: {error.filename or ''}".rstrip(": "))
        status, advice = ExitStatus.NOT_STARTED, "check that the study's folder can be written and the disk is not full"
    say(closing_line(status, advice))
    # Else Python would look through all that it holds for garbage before it ends.
    gc.freeze()
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
