"""Pages: one self-contained HTML file each, in which text from data can only ever be text."""

from __future__ import annotations

import base64
import hashlib
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

_PATH = re.compile(r' d="([^"]*)"')
_UNQUOTED = "=:/;,.-()'!*@$+?[]{}|~^"
INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
BASE_SCENARIO = "base"


@dataclass(frozen=True)
class LeftOut:
    """A site that is not in the results, and why."""

    label: str
    reason: str
    address: str


@dataclass(frozen=True)
class StudyHead:
    """What stands at the top of every page of a study."""

    title: str
    simulated: bool
    scenario: str
    version: str
    data_digest: str
    config_digest: str
    code_digest: str
    n_sites: int
    left_out: tuple[LeftOut, ...] = ()
    withheld: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """An entry of a page's table of contents."""

    id: str
    title: str


def visible(text: str) -> str:
    """Return text whose control, direction and other invisible characters are written out as escapes."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character.encode("unicode_escape").decode("ascii")
        if unicodedata.category(character) in INVISIBLE and character not in "\n\t"
        else character
        for character in text
    )


_APOSTROPHE = re.compile(r"(?<=[^\W\d_])'(?=[^\W\d_]|[\s).,;:!?]|$)")


def typographic(text: str) -> str:
    """Return text whose apostrophes, after a letter, are the typographic ones."""
    return _APOSTROPHE.sub("’", text) if "'" in text else text


def exact(text: str) -> Markup:
    """Return text that stands on a page as it is, to be copied by people or read by the page's script; escaped like all text."""
    return escape(visible(text))


def _finalize(value: Any) -> Any:
    return typographic(visible(value)) if isinstance(value, str) and not isinstance(value, Markup) else value


def svg_address(svg: bytes) -> str:
    """Return an SVG drawing as a ``data:`` address that may stand in ``src`` and ``srcset``, a quarter shorter than in base64."""
    # An address in `srcset` ends at the first blank, and paths separate by commas as well.
    text = _PATH.sub(lambda found: f' d="{found[1].strip().replace(" ", ",")}"', svg.decode("utf-8")).replace('"', "'")
    return "data:image/svg+xml," + quote(text, safe=_UNQUOTED)


def environment(templates: Path) -> Environment:
    """Return a template environment: everything escaped, unknown names are errors, invisible characters written out."""
    made = Environment(
        loader=FileSystemLoader(templates),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["svg_address"] = lambda svg: Markup(svg_address(svg))
    made.filters["exact"] = exact
    made.globals["assets"] = _assets(templates)
    return made


def _assets(templates: Path) -> dict[str, Markup]:
    """Return style and script with the policy that allows them, by their digest, and nothing else."""
    style = (Path(templates) / "style.css").read_text(encoding="utf-8")
    script = (Path(templates) / "script.js").read_text(encoding="utf-8")
    policy = "; ".join(
        (
            "default-src 'none'",
            f"style-src '{_source_digest(style)}'",
            f"script-src '{_source_digest(script)}'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    return {"style": Markup(style), "script": Markup(script), "policy": Markup(policy)}


def _source_digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


PAGES = (
    ("index", "index.html", "Study"),
    ("quality", "quality.html", "Data quality"),
    ("dictionary", "dictionary.html", "Data dictionary"),
    ("checklist", "checklist.html", "Checklist"),
    ("sensitivity", "../../sensitivity/index.html", "Sensitivity"),
    ("overview", "../../index.html", "All reports"),
)


def render(
    templates: Environment,
    template: str,
    head: StudyHead,
    *,
    title: str,
    current: str,
    sections: list[Section],
    root: str = "",
    **content: Any,
) -> str:
    """Render a page.

    Parameters
    ----------
    templates : Environment
        What :func:`environment` returned.
    template : str
        File name of the template.
    head : StudyHead
        What stands at the top.
    title : str
        The page's title.
    current : str
        Key of the page in :data:`PAGES`, or another word for a page that is not listed there.
    sections : list of Section
        Table of contents, in order.
    root : str
        Relative address of the report's folder, as seen from the page.
    **content
        What the template draws.

    Returns
    -------
    str
        The page. Equal arguments give equal text.
    """
    assets = templates.globals["assets"]
    links = [{"address": root + address, "label": label, "current": key == current} for key, address, label in PAGES]
    page = {"title": title, "root": root, "links": links, "sections": sections, **assets}  # type: ignore[dict-item]
    return templates.get_template(template).render(page=page, study=head, **content)
