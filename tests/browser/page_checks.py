"""Checks of a page's text: what a reader, a keyboard, a screen reader or a strange script would trip over. No browser is needed.

Every check yields sentences that say what is wrong; :func:`findings` runs all of them under their names.
"""

from __future__ import annotations

import base64
import hashlib
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

VOID = {"meta", "img", "source", "br", "hr", "input", "link", "col"}
READABLE = 4.5
DRAWING = "{http://www.w3.org/2000/svg}"
SHORTEST_ALTERNATIVE = 15


@dataclass
class Element:
    """An element of a page."""

    tag: str
    attributes: dict[str, str]
    parent: Element | None = None
    children: list[Element] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def walk(self) -> Iterator[Element]:
        """Yield the element and all inside it, in order."""
        yield self
        for child in self.children:
            yield from child.walk()

    def all(self, *tags: str) -> list[Element]:
        """Return all elements of some tags inside this one."""
        return [element for element in self.walk() if element.tag in tags and element is not self]

    @property
    def text(self) -> str:
        """The text inside, in one line."""
        return " ".join(" ".join(text for element in self.walk() for text in element.texts).split())

    @property
    def classes(self) -> list[str]:
        """The element's classes."""
        return self.attributes.get("class", "").split()


class Page(HTMLParser):
    """A page as a tree of elements; ``address`` is where its file lies."""

    def __init__(self, text: str, address: Path = Path("index.html")) -> None:
        super().__init__()
        self.source, self.address = text, address
        self.root = Element("", {})
        self.at = self.root
        self.crossed: list[str] = []
        self.feed(text)
        self.close()
        self.elements = list(self.root.walk())[1:]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs}, self.at)
        self.at.children.append(element)
        if tag not in VOID:
            self.at = element

    def handle_endtag(self, tag: str) -> None:
        if self.at.tag != tag or self.at.parent is None:
            self.crossed.append(tag)
            return
        self.at = self.at.parent

    def handle_data(self, data: str) -> None:
        self.at.texts.append(data)

    def all(self, *tags: str) -> list[Element]:
        """Return all elements of some tags."""
        return [element for element in self.elements if element.tag in tags]

    @property
    def ids(self) -> Counter[str]:
        """How often each id is given."""
        return Counter(element.attributes["id"] for element in self.elements if "id" in element.attributes)


def structure(page: Page) -> Iterator[str]:
    """Tags are closed in order; one main part, one header, one footer, navigation with a name, one first heading."""
    if page.crossed or page.at is not page.root:
        yield f"tags are not closed in order: {page.crossed or page.at.tag}"
    for tag in ("main", "header", "footer", "h1"):
        if len(page.all(tag)) != 1:
            yield f"{len(page.all(tag))} elements {tag}, not one"
    for nav in page.all("nav"):
        if not _name(page, nav):
            yield "navigation without a name"


def language(page: Page) -> Iterator[str]:
    """The page says its language."""
    if not re.fullmatch(r"[a-z]{2}(-[A-Z]{2})?", page.all("html")[0].attributes.get("lang", "")):
        yield "the page does not say its language"


def title(page: Page) -> Iterator[str]:
    """The page has a title that says what it is and of which study."""
    found = [one for one in page.all("title") if one.parent is not None and one.parent.tag == "head"]
    if len(found) != 1 or len(found[0].text) < 5:
        yield "the page has no title"


def narrow_screens(page: Page) -> Iterator[str]:
    """Small screens show the page at their own width and may enlarge it."""
    contents = [one.attributes.get("content", "") for one in page.all("meta") if one.attributes.get("name") == "viewport"]
    if not contents or "width=device-width" not in contents[0] or re.search(r"user-scalable=no|maximum-scale", contents[0]):
        yield "the viewport is not that of the screen, or cannot be enlarged"


def policy(page: Page) -> Iterator[str]:
    """Nothing loads or runs but what carries the digest of this page's style and script."""
    metas = [one for one in page.all("meta") if one.attributes.get("http-equiv", "").lower() == "content-security-policy"]
    if len(metas) != 1:
        yield "the page has no policy"
        return
    before = page.elements[: page.elements.index(metas[0])]
    if any(element.tag in ("style", "script", "link") for element in before):
        yield "the policy stands after what it should rule"
    rules = {rule.split()[0]: rule.split()[1:] for rule in metas[0].attributes.get("content", "").split(";") if rule.strip()}
    if rules.get("default-src") != ["'none'"] or rules.get("base-uri") != ["'none'"] or rules.get("form-action") != ["'none'"]:
        yield "the policy allows more than it names"
    for tag in ("style", "script"):
        digests = [f"'sha256-{_digest(''.join(one.texts))}'" for one in page.all(tag) if one.attributes.get("type") != "application/json"]
        if rules.get(f"{tag}-src") != digests:
            yield f"the policy does not allow exactly the {tag} of the page"


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def inert(page: Page) -> Iterator[str]:
    """No element brings a script, a style of its own, a frame or a form."""
    for element in page.elements:
        if handlers := [name for name in element.attributes if name.startswith("on")]:
            yield f"<{element.tag}> has {handlers}"
        if "style" in element.attributes:
            yield f"<{element.tag}> has a style of its own"
        if element.attributes.get("href", "").strip().lower().startswith(("javascript:", "data:", "vbscript:")):
            yield f"<{element.tag}> links to a script"
        if element.tag in ("iframe", "object", "embed", "form", "base", "applet"):
            yield f"the page has <{element.tag}>"


def offline(page: Page) -> Iterator[str]:
    """Nothing is loaded from elsewhere."""
    for element in page.elements:
        for name in ("src", "srcset", "data", "poster", "action", "background"):
            if re.match(r"\s*(?:[a-z]+:)?//|\s*(?:https?|ftp|file):", element.attributes.get(name, ""), re.IGNORECASE):
                yield f"<{element.tag} {name}> loads {element.attributes[name][:60]}"
        if element.tag == "link" and element.attributes.get("rel") not in (None, "license", "author"):
            yield f"<link> loads {element.attributes.get('href')}"
        if element.tag == "style" and re.search(r"@import|url\((?!['\"]?data:)", "".join(element.texts)):
            yield "the style loads something"


def unique_ids(page: Page) -> Iterator[str]:
    """No id is given twice."""
    for id, times in page.ids.items():
        if times > 1 or not id.strip() or re.search(r"\s", id):
            yield f"the id {id!r} is given {times} times"


def references(page: Page) -> Iterator[str]:
    """What names or describes an element is there."""
    for element in page.elements:
        for name in ("aria-labelledby", "aria-describedby", "aria-controls", "for"):
            for id in element.attributes.get(name, "").split():
                if id not in page.ids:
                    yield f"<{element.tag} {name}> refers to {id!r}, which is not on the page"


def links(page: Page) -> Iterator[str]:
    """Links have words and lead to something that is there."""
    for link in page.all("a"):
        address = link.attributes.get("href", "")
        if not link.text and not link.attributes.get("aria-label"):
            yield f"a link to {address!r} has no words"
        if address.startswith("#"):
            if address[1:] not in page.ids:
                yield f"the link {link.text!r} leads to {address!r}, which is not on the page"
        elif not re.match(r"https://|mailto:", address) and not _is_there(page, address):
            yield f"the link {link.text!r} leads to {address!r}, which is not there"


def _is_there(page: Page, address: str) -> bool:
    file, _, part = address.partition("#")
    path = Path(os.path.normpath(page.address.parent / unquote(file)))
    if not page.address.exists():
        return True
    return path.is_file() and (not part or f'id="{part}"' in path.read_text(encoding="utf-8"))


def contents(page: Page) -> Iterator[str]:
    """The table of contents names every chapter in its words, in order."""
    lists = [nav for nav in page.all("nav") if "contents" in nav.classes]
    if len(lists) != 1:
        yield "the page has no table of contents"
        return
    listed = [(link.attributes.get("href", ""), link.text) for link in lists[0].all("a")]
    chapters = [(f"#{head.attributes.get('id', '')}", head.text) for head in page.all("main")[0].all("h2")]
    if listed != chapters:
        yield f"the table of contents lists {sorted(set(listed) ^ set(chapters))[:3] or 'chapters in another order'}"


def headings(page: Page) -> Iterator[str]:
    """Headings have words and skip no level."""
    level = 0
    for head in page.all("h1", "h2", "h3", "h4", "h5", "h6"):
        if not head.text:
            yield "a heading is empty"
        if "contents" in (head.parent.classes if head.parent else ()):
            continue
        if int(head.tag[1]) > level + 1:
            yield f"{head.tag} {head.text!r} follows a heading of level {level}"
        level = int(head.tag[1])


def images(page: Page) -> Iterator[str]:
    """Every picture is replaced by a sentence for those who cannot see it."""
    for image in page.all("img"):
        if len(image.attributes.get("alt", "").strip()) < SHORTEST_ALTERNATIVE:
            yield "a picture has no alternative text"
    for drawing in page.all("svg"):
        named = drawing.attributes.get("aria-label") or drawing.attributes.get("aria-labelledby") or drawing.all("title")
        if drawing.attributes.get("aria-hidden") != "true" and not named:
            yield "a drawing has no name"
    for figure in page.all("figure"):
        if not any(caption.text for caption in figure.all("figcaption")):
            yield "a figure has no title"


def table_heads(page: Page) -> Iterator[str]:
    """Tables have a caption, heads with scope over every column, and a head in every row."""
    for table in page.all("table"):
        id = table.attributes.get("id", "?")
        if not any(caption.text for caption in table.all("caption")):
            yield f"table {id} has no caption"
        heads = [row for part in table.all("thead") for row in part.all("tr")]
        if len(heads) != 1:
            yield f"table {id} has {len(heads)} rows of heads"
            continue
        if any(cell.tag != "th" or cell.attributes.get("scope") != "col" or not cell.text for cell in heads[0].children):
            yield f"table {id} has a column without a head of scope col"
        for row in (row for part in table.all("tbody") for row in part.all("tr")):
            if len(row.children) != len(heads[0].children):
                yield f"table {id} has a row of {len(row.children)} cells under {len(heads[0].children)} heads"
            if not row.children or row.children[0].tag != "th" or row.children[0].attributes.get("scope") != "row":
                yield f"table {id} has a row without a head of scope row"
            if any(cell.tag != "td" for cell in row.children[1:]):
                yield f"table {id} has heads among its values"


def empty_columns(page: Page) -> Iterator[str]:
    """No column says nothing."""
    for table in page.all("table"):
        rows = [[cell.text for cell in row.children] for part in table.all("tbody") for row in part.all("tr")]
        for place, column in enumerate(zip(*rows)):
            if len(rows) > 1 and not any(column):
                yield f"column {place + 1} of table {table.attributes.get('id')} is empty"


def keyboard_regions(page: Page) -> Iterator[str]:
    """What can be scrolled can be reached by the keyboard and has a name."""
    for element in page.elements:
        if "scroll" in element.classes or element.tag == "pre":
            if element.attributes.get("tabindex") != "0":
                yield f"<{element.tag}> scrolls but cannot be reached by keyboard"
            if "role" in element.attributes and not _name(page, element):
                yield f"<{element.tag}> scrolls and has no name"
        if element.attributes.get("tabindex", "0") not in ("0", "-1"):
            yield f"<{element.tag}> changes the order of the keyboard"
    for table in page.all("table"):
        if table.parent is None or "scroll" not in table.parent.classes:
            yield f"table {table.attributes.get('id')} does not scroll on its own"


def _name(page: Page, element: Element) -> str:
    named = " ".join(
        other.text
        for id in element.attributes.get("aria-labelledby", "").split()
        for other in page.elements
        if other.attributes.get("id") == id
    )
    return (element.attributes.get("aria-label", "") or named).strip()


def invisible_characters(page: Page) -> Iterator[str]:
    """No character turns or hides what stands beside it."""
    if found := set(re.findall("[\u0000-\u0008\u000b\u000c\u000e-\u001f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]", page.source)):
        yield f"the page holds invisible characters: {sorted(map(ascii, found))}"


def broken_numbers(page: Page) -> Iterator[str]:
    """No cell or sentence shows a number that a computer could not print, or a name of the program."""
    words = " ".join(text for element in page.elements if element.tag not in ("style", "script", "pre", "code") for text in element.texts)
    for found in re.findall(r"(?<![\w.-])(?:nan|NaN|-?inf|None|NaT|<NA>|-0\.0+|undefined)(?![\w-])", words):
        if found != "None" or re.search(r"None[,;)\]]", words):
            yield f"the page shows {found!r}"


SLIPS = {
    "a straight apostrophe": re.compile(r"[^\W\d_]'(?=[^\W\d_]|[\s).,;:!?]|$)"),
    "an x for times": re.compile(r"(?<=[\w.²]) x (?=[\w.])"),
    "a hyphen for minus": re.compile(r"(?<=\w) - (?=\w)"),
    "an arrow of two letters": re.compile(r" -> "),
    "two full stops": re.compile(r"[?!…]\.|(?<!\.)\.\.(?!\.)"),
    "two parentheses in a row": re.compile(r"\) \(95% CI"),
    "a word twice": re.compile(r"\b([^\W\d_]+) \1\b", re.IGNORECASE),
}
"""What a copy editor would mark in a text."""


def printed_texts(page: Page) -> Iterator[str]:
    """Yield the texts that a page shows or replaces a picture by; not those that are to be copied as they are."""
    for element in page.elements:
        around = element
        while around.parent is not None and not (around.tag in ("pre", "code") and "data-further" not in around.attributes):
            around = around.parent
        if around.parent is None and element.tag not in ("style", "script"):
            yield from (*element.texts, element.attributes.get("alt", ""))


def typography(page: Page) -> Iterator[str]:
    """Apostrophes, signs and punctuation are those of print, and no word stands twice."""
    for text in printed_texts(page):
        for slip, pattern in SLIPS.items():
            for found in pattern.finditer(text):
                yield f"{slip}: {text[max(found.start() - 30, 0) : found.end() + 20]!r}"


def drawings(page: Page) -> list[str]:
    """Return the SVG text of every figure on the page."""
    addresses = [image.attributes.get("src", "") for image in page.all("img")]
    addresses += [source.attributes.get("srcset", "") for source in page.all("source")]
    return [unquote(address.partition(",")[2]) for address in addresses if address.startswith("data:image/svg+xml,")]


def figure_contrast(page: Page) -> Iterator[str]:
    """Letters in figures stand out against what they are written on."""
    for number, drawing in enumerate(drawings(page)):
        for ratio, ink, ground in faint_letters(drawing):
            yield f"figure {number + 1} writes in {ink} on {ground}, a contrast of {ratio:.1f}"


def faint_letters(drawing: str) -> set[tuple[float, str, str]]:
    """Return contrast, colour and ground of letters that stand out too little, in an SVG drawing."""
    # Faces in a drawing are painted in order, so the last one below a letter's foot is its ground.
    faces: list[tuple[tuple[float, float, float, float], str]] = []
    faint = set()
    for element, style in _painted(ElementTree.fromstring(drawing)):
        ink = style.get("fill", "#000000")
        if element.tag == f"{DRAWING}g":
            x, y = _place(element.get("transform", ""))
            ground = next((fill for box, fill in reversed(faces) if box[0] <= x <= box[2] and box[1] <= y <= box[3]), "#ffffff")
            ratio = contrast(_blended(ink, style.get("opacity", "1"), ground), ground)
            if ratio < READABLE:
                faint.add((round(ratio, 2), ink, ground))
        elif ink != "none":
            shown = _blended(ink, style.get("fill-opacity", style.get("opacity", "1")), "#ffffff")
            faces += [(box, shown) for part in element.get("d", "").split("M") if (box := _box(part))]
    return faint


def _painted(root: ElementTree.Element) -> Iterator[tuple[ElementTree.Element, dict[str, str]]]:
    """Yield faces, and groups of letters, with their style, in the order in which they are painted."""

    def walk(element: ElementTree.Element, inherited: dict[str, str]) -> Iterator[tuple[ElementTree.Element, dict[str, str]]]:
        if element.tag == f"{DRAWING}defs":
            return
        style = {**inherited, **dict(part.split(":", 1) for part in element.get("style", "").replace(" ", "").split(";") if ":" in part)}
        if element.get("fill"):
            style["fill"] = element.get("fill", "")
        if element.tag == f"{DRAWING}g" and any(child.tag == f"{DRAWING}use" and _is_letter(child) for child in element):
            yield element, style
            return
        if element.tag == f"{DRAWING}path":
            yield element, style
        for child in element:
            yield from walk(child, style)

    yield from walk(root, {})


def _is_letter(use: ElementTree.Element) -> bool:
    address = next((value for name, value in use.attrib.items() if name.endswith("href")), "")
    return re.match(r"#[bg][-\w]*[0-9a-f]+$", address) is not None


def _place(transform: str) -> tuple[float, float]:
    found = re.search(r"translate\(([-\d.]+)[ ,]([-\d.]+)\)", transform)
    # A point a little above and right of the foot of the first letter.
    return (float(found[1]) + 1.5, float(found[2]) - 2.5) if found else (-1.0, -1.0)


def _box(path: str) -> tuple[float, float, float, float] | None:
    numbers = [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?|-?\.\d+", path)]
    if len(numbers) < 6 or re.search(r"[a-yA-BD-KN-PR-Y]", path.replace("z", "")):
        return None
    across, up = numbers[0::2], numbers[1::2]
    return min(across), min(up), max(across), max(up)


def _blended(ink: str, opacity: str, ground: str) -> str:
    part = float(opacity)
    values = [round(part * a + (1 - part) * b) for a, b in zip(_channels(ink), _channels(ground))]
    return "#" + "".join(f"{value:02x}" for value in values)


def _channels(colour: str) -> list[int]:
    if not (digits := re.fullmatch(r"#([0-9a-f]{6}|[0-9a-f]{3})", colour.strip().lower())):
        raise ValueError(f"a drawing has the colour {colour!r}")
    text = digits[1] if len(digits[1]) == 6 else "".join(2 * digit for digit in digits[1])
    return [int(text[at : at + 2], 16) for at in (0, 2, 4)]


def contrast(first: str, second: str) -> float:
    """Return the contrast of two colours (WCAG 2.2, relative luminance)."""

    def luminance(colour: str) -> float:
        parts = [value / 255 for value in _channels(colour)]
        linear = [part / 12.92 if part <= 0.04045 else math.pow((part + 0.055) / 1.055, 2.4) for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def whole_figures(page: Page) -> Iterator[str]:
    """Nothing in a figure is written beyond its edge at the left or right, above or below."""
    for number, drawing in enumerate(drawings(page)):
        root = ElementTree.fromstring(drawing)
        _, _, width, height = (float(part) for part in root.get("viewBox", "0 0 0 0").split())
        for element, _ in _painted(root):
            if element.tag == f"{DRAWING}g":
                x, y = _place(element.get("transform", ""))
                scale = float((re.search(r"scale\(([\d.]+)", element.get("transform", "")) or [0, 0])[1])
                last = max((float(child.get("x", 0)) for child in element), default=0.0)
                end = x + last * scale if scale else x
                if x < 0 or y < 0 or end > width or y > height:
                    yield f"figure {number + 1} is written beyond its edge ({x:.0f} to {end:.0f} of {width:.0f}, {y:.0f} of {height:.0f})"


CHECKS: dict[str, Callable[[Page], Iterator[str]]] = {
    check.__name__: check
    for check in (
        structure,
        language,
        title,
        narrow_screens,
        policy,
        inert,
        offline,
        unique_ids,
        references,
        links,
        contents,
        headings,
        images,
        table_heads,
        empty_columns,
        keyboard_regions,
        invisible_characters,
        broken_numbers,
        typography,
        figure_contrast,
        whole_figures,
    )
}


def findings(text: str, address: Path = Path("index.html")) -> dict[str, list[str]]:
    """Return what every check found on a page, by the check's name; checks that found nothing are left out."""
    page = Page(text, address)
    found = {name: list(check(page)) for name, check in CHECKS.items()}
    return {name: told for name, told in found.items() if told}
