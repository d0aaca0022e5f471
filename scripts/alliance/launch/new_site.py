"""Starting a site: a commented ``site.yaml`` with a column map guessed from a data file."""

from __future__ import annotations

import shlex
from pathlib import Path

from alliance.configuration.errors import ConfigurationError, Fault
from alliance.configuration.strict_yaml import load_file
from alliance.configuration.study import RESERVED_IDS, SITE_ID
from alliance.files import write_text
from alliance.sites.cleaning import is_junk
from alliance.sites.site_file import NAME
from alliance.sites.starting import Header, read_header, site_yaml

ENDINGS = (".csv", ".tsv", ".txt", ".xlsx", ".sav", ".dta")


def start_site(config: Path, name: str, data_file: Path | None) -> list[str]:
    """Write the ``site.yaml`` of a new site.

    Parameters
    ----------
    config : Path
        The study's configuration, which says where the sites are.
    name : str
        The new site's id.
    data_file : Path or None
        File to guess the column map from; None takes the first one in the site's folder, if there is any.

    Returns
    -------
    list of str
        What to tell the user.

    Raises
    ------
    ConfigurationError
        Where the name cannot be an id, the site exists already, the file is not there, or the configuration does not say where the
        sites are.
    """
    if not SITE_ID.match(name) or name in RESERVED_IDS:
        raise _fault(
            "command line",
            "NAME",
            f"{name!r} cannot name a site: use 1 to 32 lower-case letters, digits, - and _ (make new-site NAME=my-clinic)",
        )
    folder = _sites_folder(config) / name
    target = folder / NAME
    if target.exists():
        raise _fault(str(target), "", "exists already; edit it, or move it away to start anew")
    if data_file is not None and not data_file.is_file():
        raise _fault("command line", "FILE", f"there is no file {data_file}; correct the path, or leave FILE out")
    data_file = data_file or _first_data_file(folder)
    header, told = Header([]), []
    if data_file is not None:
        try:
            header = read_header(data_file)
        except Exception as error:  # readers of foreign files raise errors of many kinds; a template is useful all the same
            told.append(f"{data_file.name} could not be read ({str(error) or type(error).__name__}); the column map is left to you.")
    write_text(target, site_yaml(name, data_file.name if data_file else None, header))
    told.append(f"Wrote {target}. Check what is marked 'guessed' and replace CHANGE_ME.")
    if data_file is not None and data_file.resolve().parent != folder.resolve():
        told.append(f"Copy {data_file.name} into the folder.")
    told.append(f"next: make check SITE={name} CONFIG={shlex.quote(str(config))}")
    return told


def _first_data_file(folder: Path) -> Path | None:
    if not folder.is_dir():
        return None
    files = (path for path in sorted(folder.iterdir()) if path.suffix.lower() in ENDINGS and path.is_file() and not is_junk(path.name))
    return next(files, None)


def _sites_folder(config: Path) -> Path:
    data, _ = load_file(config)
    try:
        return config.parent / str(data["study"]["sites_dir"])
    except (KeyError, TypeError):
        raise _fault(config.name, "study.sites_dir", "is missing; it says where the sites are") from None


def _fault(file: str, key: str, message: str) -> ConfigurationError:
    return ConfigurationError([Fault(file, 0, key, message)])
