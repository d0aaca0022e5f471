"""Starting a study folder of the user's own."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from alliance.configuration.code import PROJECT
from alliance.configuration.errors import ConfigurationError, Fault
from alliance.files import write_text

OWN_STUDY = {
    "title": '"My study of the therapeutic alliance"',
    "simulated": "false",
    "authors": '["Family name, First name"]',
    "sites_dir": "data",
}
README = """This folder is a study of alliance-pipeline.

config.yaml      every choice of the analysis, commented
scenarios.yaml   named changes of it, for sensitivity runs
prereg.example.yaml   an example of what was registered beforehand; rename it to prereg.yaml to use it
data/            one folder per site, each with a site.yaml
withdrawn.csv    (yours to add: columns site, client_id) clients who withdrew consent; they are removed everywhere
results/         everything computed; safe to delete
.id_key          made at the first run: replaces client ids. Keep it private and keep a copy: without it ids change.

From the project's folder:
  make new-site NAME=my-clinic CONFIG={config}     start a site
  make check CONFIG={config}                       validate all sites
  make run CONFIG={config}                         compute everything; the report is results/base/report/index.html
"""


def study_config(template: str, values: dict[str, str]) -> str:
    """Return the text of a commented configuration with some keys of its ``study`` section replaced.

    Parameters
    ----------
    template : str
        A whole ``config.yaml``.
    values : dict of str to str
        New values as YAML text, by key of the ``study`` section.

    Raises
    ------
    ValueError
        Where the template lacks a key.
    """
    for key, value in values.items():
        template, count = re.subn(
            rf"(?m)^(  {key}: )(\"[^\"]*\"|\[[^\]]*\]|[^\s#]+)", lambda match, value=value: match[1] + value, template, count=1
        )
        if not count:
            raise ValueError(f"the template has no key study.{key}")
    # The day and the licence of what is published are the study's own to choose.
    template = re.sub(r"(?m)^(  (?:released|licence): )\S+", r"\1null", template)
    opening = "# A study's configuration. Every key says why it is there, its unit and what it may hold.\n"
    body = template[template.index("\nstudy:") :]
    return opening + "# Paths are relative to this file's folder and never leave it.\n" + body


def start_study(folder: Path) -> list[str]:
    """Write a study folder: commented configuration, scenarios, an example of a registration and an empty folder for sites.

    Parameters
    ----------
    folder : Path
        A folder that does not exist or is empty.

    Returns
    -------
    list of str
        What to tell the user.

    Raises
    ------
    ConfigurationError
        Where the folder is missing from the call, holds something, or lies in the project's own results or data.
    """
    if str(folder) in ("", "."):
        raise ConfigurationError([Fault("command line", 0, "DIR", "name the new folder: make new-study DIR=path/to/study")])
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigurationError([Fault(str(folder), 0, "", "already holds something; choose an empty or a new folder")])
    template = (PROJECT / "config.yaml").read_text(encoding="utf-8")
    (folder / "data").mkdir(parents=True, exist_ok=True)
    config = folder / "config.yaml"
    write_text(config, study_config(template, OWN_STUDY))
    write_text(folder / "scenarios.yaml", (PROJECT / "scenarios.yaml").read_text(encoding="utf-8"))
    example = PROJECT / "workflow" / "prereg.example.yaml"
    write_text(folder / example.name, example.read_text(encoding="utf-8"))
    write_text(folder / "README.txt", README.format(config=shlex.quote(str(config))))
    write_text(folder / ".gitignore", "results/\n.snakemake/\n.id_key\n.run.lock\n")
    return [f"study folder: {folder}", f"next: make new-site NAME=my-clinic CONFIG={shlex.quote(str(config))}"]
