"""Build the bundle of published results beside the one that stands, check it, and put it in its place.

Ends with status 0 where the bundle stands (also where it stood already), 4 where nothing was published because something would have been
given away or a check failed; then every place is named. Interrupted, it ends with 130, and the bundle that stood before stands.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
from pathlib import Path
from types import FrameType

import verify_bundle
from alliance import folders
from alliance.files import hold_text_as_python
from alliance.instruments import load_files
from alliance.launch.exit_status import ExitStatus
from alliance.publishing.bundle import MANIFEST, Source, build, same_results
from alliance.publishing.changes import LastBundle, UnreadableBundle, compared_with, read_last
from alliance.publishing.disclosure import DisclosureError
from alliance.publishing.profiles import profile
from alliance.questions.headlines import load_headlines
from alliance.reports import inputs
from alliance.side_by_side import in_processes


def main() -> int:
    hold_text_as_python()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    try:
        return publish(arguments())
    except KeyboardInterrupt:
        return ExitStatus.INTERRUPTED


def interrupt(number: int, frame: FrameType | None) -> None:
    """End what is going on; what is asked for again while that is tidied up changes nothing."""
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)
    raise KeyboardInterrupt


def publish(given: argparse.Namespace) -> ExitStatus:
    """Build, check and put in place a bundle."""
    each = in_processes(given.processes)
    folders.recover(given.output)
    try:
        last = compared_with(last_bundle(given.output, given.last_bundle), given.publish["profile"], given.last_bundle is not None)
        bundle = build(source(given, last), profile(given.publish), each)
    except (UnreadableBundle, DisclosureError) as refused:
        print(refused)
        return ExitStatus.REFUSED
    standing = standing_files(given.output)
    if standing is not None and same_results(bundle.files, standing):
        print("Nothing to publish: the results are those of the bundle that stands")
        return ExitStatus.DONE
    new = folders.beside(given.output)
    try:
        folders.write_folder(new, bundle.files)
        allowed = set(given.publish["not_leaks"])
        forbidden = {*bundle.forbidden, *given.private, *verify_bundle.names_of_this_machine()} - allowed
        faults = verify_bundle.check(new, sorted(forbidden), here=False, each=each)
        if faults:
            print(f"{len(faults)} places would give something away or are wrong:")
            verify_bundle.show(faults)
            return ExitStatus.REFUSED
        folders.put_in_place(new, given.output)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    hidden = sum(one.n_cells for made in bundle.decisions.values() for one in made)
    print(f"profile {given.publish['profile']}: {hidden} cells hidden (DISCLOSURE.md); {len(bundle.files)} files, all checks passed")
    return ExitStatus.DONE


def last_bundle(output: Path, named: Path | None) -> LastBundle | None:
    """Return what was published last: the bundle that is named, else the one that stands; None where there is none."""
    if named is not None:
        return read_last(named)
    return read_last(output) if output.exists() else None


def standing_files(folder: Path) -> dict[str, bytes] | None:
    """Return the files of the bundle that stands; None where there is none or it is not as it was published."""
    if not (folder / MANIFEST).is_file() or verify_bundle.hash_faults(folder):
        return None
    return {name: (folder / name).read_bytes() for name in verify_bundle.files_below(folder)}


def source(given: argparse.Namespace, last: LastBundle | None) -> Source:
    """Read what the bundle is made of: aggregated results, no row of a client."""
    instruments = load_files(given.instruments)
    scenarios = {}
    for name, one in given.scenarios.items():
        folder = given.results / name
        scenarios[name] = inputs.read(
            scenario=name,
            sites=given.sites,
            site_tables=given.results / "sites",
            scores=Path(one["scores"]),
            tables=folder / "tables",
            issues=given.results / "issues.csv",
            config=folder / "resolved_config.json",
            constants=folder / "constants.json",
            provenance=folder / "provenance.json",
            instruments=instruments,
            benchmarks=given.benchmarks,
            references=given.references,
            coverage=given.coverage,
            preregistration=given.preregistration,
            deviations=folder / "deviations.csv",
            guide=given.guide,
            headlines=given.headlines,
        )
    return Source(
        scenarios=scenarios,
        sensitivity=inputs.read_sensitivity_tables(given.results / "sensitivity" / "tables"),
        multiverse=given.multiverse,
        publish=given.publish,
        headlines=load_headlines(given.headlines),
        bibliography=given.references.read_text(encoding="utf-8"),
        lock=given.lock.read_bytes(),
        workflow={path.relative_to(given.workflow_root).as_posix(): path.read_bytes() for path in given.workflow},
        verifier=Path(verify_bundle.__file__).read_bytes(),
        templates=given.templates,
        last=last,
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenarios", required=True, type=json.loads, help='JSON: {"base": {"scores": folder of its scores}, ...}')
    parser.add_argument("--sites", required=True, type=inputs.parsed_sites, help="site ids as a JSON list")
    parser.add_argument("--publish", required=True, type=json.loads, help="section publish of the configuration as JSON")
    parser.add_argument("--multiverse", required=True, type=json.loads, help="what the multiverse reads, as JSON; {}: no multiverse")
    parser.add_argument("--preregistration", required=True, type=json.loads, help="what was registered, as JSON; null: nothing")
    parser.add_argument("--private", type=json.loads, default=[], help="further words that may not stand in the bundle, as a JSON list")
    parser.add_argument("--results", required=True, type=Path)
    parser.add_argument("--instruments", required=True, nargs="*", type=Path, help="instrument files, shipped before own")
    parser.add_argument("--benchmarks", required=True, type=Path)
    parser.add_argument("--references", required=True, type=Path)
    parser.add_argument("--coverage", required=True, type=Path)
    parser.add_argument("--guide", required=True, type=Path)
    parser.add_argument("--headlines", required=True, type=Path)
    parser.add_argument("--templates", required=True, type=Path)
    parser.add_argument("--lock", required=True, type=Path)
    parser.add_argument("--workflow", required=True, nargs="+", type=Path, help="Snakefile and rules")
    parser.add_argument("--workflow-root", required=True, type=Path, help="folder in which their names start")
    parser.add_argument("--last-bundle", type=Path, default=None, help="what was published last, if not the bundle that stands")
    parser.add_argument("--processes", type=int, default=1, help="at most so many processes at once; the bundle is the same")
    parser.add_argument("--output", required=True, type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
