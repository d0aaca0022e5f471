"""Write a simulated study: the demo with its six export formats, or plain CSV of any size."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from alliance.demo.simulate import Size
from alliance.demo.study import SITES, write_demo, write_plain
from alliance.demo.truth import Parameters, with_values
from alliance.files import write_text

PROJECT = Path(__file__).resolve().parent.parent


def main() -> int:
    given = _arguments()
    try:
        parameters = with_values(Parameters(), given.parameter)
        size = Size(given.sites, given.therapists, given.clients_per_therapist, given.sessions, vary=not given.equal_sizes)
        folder = given.output if given.sites_only else given.output / "data"
        if given.formats == "csv":
            write_plain(folder, parameters, size, given.seed, given.instruments)
        else:
            write_demo(folder, parameters, size, given.seed, given.faults)
    except ValueError as error:
        print(f"generate_demo: {error}", file=sys.stderr)
        return 2
    if not given.sites_only:
        write_text(given.output / "config.yaml", _config(given.config.read_text(encoding="utf-8"), given.seed))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--output", required=True, type=Path, help="folder of the study")
    parser.add_argument("--sites-only", action="store_true", help="write the sites into the folder itself and no config.yaml")
    parser.add_argument("--sites", type=_positive, default=len(SITES))
    parser.add_argument("--therapists", type=_positive, default=10, help="therapists a site, give or take two")
    parser.add_argument("--clients-per-therapist", type=_positive, default=5, help="clients a therapist, from one fewer to two more")
    parser.add_argument("--equal-sizes", action="store_true", help="exactly these numbers of therapists and clients everywhere")
    parser.add_argument("--sessions", type=_positive, default=16, help="most sessions a client can have")
    parser.add_argument("--seed", type=int, default=1993)
    parser.add_argument("--formats", choices=("all", "csv"), default="all", help="all: one export format a site; csv: plain CSV everywhere")
    parser.add_argument("--faults", action=argparse.BooleanOptionalAction, default=True, help="plant everyday faults (formats: all)")
    parser.add_argument(
        "--instruments", nargs="+", metavar="KEY", help="instruments or forms to send, such as wai_36_client (formats: csv)"
    )
    parser.add_argument("--parameter", action="append", default=[], metavar="NAME=VALUE", help="change an effect; may be repeated")
    parser.add_argument("--config", type=Path, default=PROJECT / "config.yaml", help="configuration that the study's own is made from")
    return parser.parse_args()


def _positive(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


def _config(text: str, seed: int) -> str:
    """Return the text of a configuration with the study's own data folder and seed."""
    text = re.sub(r"(?m)^(\s+sites_dir:\s*)\S+", r"\g<1>data", text, count=1)
    return re.sub(r"(?m)^(\s+seed:\s*)\S+", rf"\g<1>{seed}", text, count=1)


if __name__ == "__main__":
    sys.exit(main())
