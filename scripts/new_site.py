"""Write a commented site.yaml to start from, with a column map guessed from a data file."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from alliance.configuration.errors import ConfigurationError
from alliance.configuration.strict_yaml import load_file
from alliance.files import write_text
from alliance.sites.cleaning import is_junk
from alliance.sites.site_file import NAME
from alliance.sites.starting import read_header, site_yaml

SITE_ID = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,30}[a-z0-9])?\Z")
ENDINGS = (".csv", ".tsv", ".txt", ".xlsx", ".sav", ".dta")


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="folder of the new site, such as data/my-clinic")
    parser.add_argument("--config", default="config.yaml", type=Path, help="the study's configuration, to find its sites")
    parser.add_argument("--name", default="", help="folder name of the new site; used with --config")
    parser.add_argument("--file", default="", help="data file to guess from; default: the first one in the folder")
    given = parser.parse_args(arguments)
    if given.folder is None:
        if not given.name:
            sys.exit("Name the new site: make new-site NAME=my-clinic")
        given.folder = _sites_folder(given.config) / given.name
    name = given.name or given.folder.name
    if not SITE_ID.match(name):
        sys.exit(f"{name!r} cannot name a site: use 1 to 32 lower-case letters, digits, '-' and '_'")
    target = given.folder / NAME
    if target.exists():
        sys.exit(f"{target} exists; edit it, or move it away to start anew")
    file = Path(given.file) if given.file else None
    if file is None and given.folder.is_dir():
        found = sorted(
            path for path in given.folder.iterdir() if path.suffix.lower() in ENDINGS and not is_junk(path.name) and path.is_file()
        )
        file = found[0] if found else None
    header, separator = [], ""
    if file is not None:
        try:
            header, separator = read_header(file)
        except Exception as error:
            print(f"{file.name} could not be read ({type(error).__name__}); the column map is left to you.", file=sys.stderr)
    write_text(target, site_yaml(given.folder.name, file.name if file else None, header, separator))
    where = "" if file is None or file.resolve().parent == given.folder.resolve() else f" Copy {file.name} into the folder."
    print(f"Wrote {target}. Check what is marked 'guessed' and replace CHANGE_ME.{where}")
    return 0


def _sites_folder(config: Path) -> Path:
    """Return the folder that holds the study's sites."""
    try:
        data, _ = load_file(config)
        return config.parent / str(data["study"]["sites_dir"])
    except ConfigurationError as error:
        sys.exit(str(error))
    except (KeyError, TypeError):
        sys.exit(f"{config.name} does not say where the sites are (study: sites_dir:)")


if __name__ == "__main__":
    sys.exit(main())
