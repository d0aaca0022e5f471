"""What all figures are drawn with: one style, one typeface, colours, and SVG with the same bytes for the same data."""

from __future__ import annotations

import functools
import io
import math
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alliance.reports.page import typographic, visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SOFT, LINE = "#1d2733", "#5a6673", "#cfd5db"
BLUE, BLUE_SOFT, ORANGE = "#0a557f", "#b9d3e2", "#b8560f"
STEPS = ("#dbe6ed", "#a9c7d8", "#6ea2bf", "#33769c", "#0a4a6e")
LABELLED_ROWS = 60


READABLE = 4.5


def luminance(colour: Any) -> float:
    """Return the relative luminance (WCAG 2.2) of a colour as matplotlib takes it."""
    from matplotlib.colors import to_rgb

    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def ink_on(ground: Any) -> str:
    """Return the colour of letters that can be read on a ground: ink, white where ink is too faint, black where both are."""

    def contrast(ink: str) -> float:
        light, dark = sorted((luminance(ink), luminance(ground)), reverse=True)
        return (light + 0.05) / (dark + 0.05)

    return next((ink for ink in (INK, "#ffffff") if contrast(ink) >= READABLE), "#000000")


_SALT = "alliance-pipeline"


@contextmanager
def style() -> Iterator[None]:
    """Draw with settings of our own, whatever the machine is set to; also a decorator of what makes many figures, which set them once."""
    import matplotlib

    if matplotlib.rcParams["svg.hashsalt"] == _SALT:
        yield
        return
    settings = {
        "svg.hashsalt": _SALT,
        "svg.fonttype": "path",
        "path.simplify": False,
        "axes.linewidth": 0.8,
        "text.parse_math": False,
        "axes.unicode_minus": True,
    }
    # To set the backend imports all that draws in windows; figures here name theirs.
    own = {name: value for name, value in matplotlib.rcParamsDefault.items() if name != "backend"}
    with matplotlib.rc_context({**own, **settings}):
        yield


@functools.cache
def _font(size: float, bold: bool = False) -> Any:
    """Return the typeface that comes with matplotlib, by its file: no other of that name on the machine is taken."""
    import matplotlib
    from matplotlib.font_manager import FontProperties

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return FontProperties(fname=folder / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"), size=size)


def write(axes: Axes, x: float, y: float, text: str, size: float = 9, bold: bool = False, **options: Any) -> Any:
    """Write text at a place in inches; invisible characters are written out."""
    options.setdefault("color", INK)
    return axes.text(x, y, typographic(visible(text)), fontproperties=_font(size, bold), parse_math=False, **options)


def width_of(text: str, size: float = 9, bold: bool = False) -> float:
    """Return how wide text is when written, in inches."""
    from matplotlib.textpath import text_to_path

    return text_to_path.get_text_width_height_descent(typographic(visible(text)), _font(size, bold), ismath=False)[0] / 72


@functools.cache
def fitted(text: str, room: float, size: float = 9, bold: bool = False) -> str:
    """Return text cut at a word, or inside one where it is the first, so that it is at most ``room`` inches wide."""
    if width_of(text, size, bold) <= room:
        return text
    words = text.split()
    while len(words) > 1:
        words.pop()
        if width_of(cut := " ".join(words) + "…", size, bold) <= room:
            return cut
    word = words[0] if words else text
    while len(word) > 1 and width_of(word + "…", size, bold) > room:
        word = word[:-1]
    return word + "…"


def capitalised(text: str) -> str:
    """Return the title of an axis with a capital first, except where its first word is a symbol of one letter."""
    first = text.split(" ", 1)[0]
    return text if len(first) < 2 else text[:1].upper() + text[1:]


def svg(figure: Figure) -> bytes:
    """Return a figure as SVG without date or program."""
    import warnings

    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _compact(buffer.getvalue().decode("utf-8")).encode("utf-8")


def _compact(drawing: str) -> str:
    """Return the same drawing in a third of the text: without comments, blanks between tags, names nothing refers to and far decimals.

    Clipping goes too: axes fill the whole canvas (:func:`canvas`), at whose edge every viewer clips.
    """
    for pattern, shorter in (
        (r"<!--.*?-->", ""),
        (r">\s+<", "><"),
        (r"\s*\n\s*", " "),
        (r' id="(?:axes|figure|line2d|patch|text)_\d+"', ""),
        (r' clip-path="url\(#\w+\)"', ""),
        (r'<clipPath id="\w+">.*?</clipPath>', ""),
        (r"DejaVuSans-(?:Bold-)?", lambda found: "b" if "Bold" in found.group() else "g"),
        (r"scale\([^)]*\)|(?<=\d\.\d\d)\d+", lambda found: found.group() if found.group().startswith("scale") else ""),
        (r'(<use xlink:href="#\w+") transform="translate\(([\d.]+) 0\)"', lambda found: f'{found[1]} x="{float(found[2]):.0f}"'),
        (r"xlink\b(?=[:=])", "x"),
        (r"<g>(<path[^>]*/>)</g>", r"\1"),
        (
            r'(<path id="\w+") d="([^"]*)" transform="scale\(0\.015625\)"',
            lambda found: f'{found[1]} d="{_outline(found[2])}" transform="scale(.5)"',
        ),
        (r"<defs></defs>|<[?!][^>]*>", ""),
        (r"<g>(<g [^>]*>(?:(?!</?g[ >]).)*</g>)</g>", r"\1"),
        (r'(?<= d=")[^"]*', lambda found: re.sub(r" ?([A-Za-z]) ?", r"\1", found.group()).replace(" -", "-")),
        (r'(?<= style=")[^"]*', lambda found: found.group().replace(": ", ":").replace("; ", ";")),
    ):
        drawing = re.sub(pattern, shorter, drawing, flags=re.DOTALL)
    return drawing


@functools.cache
def _outline(path: str) -> str:
    """Return a letter's outline in relative steps of half a hundredth of its size, finer than screens resolve at the sizes used."""
    made, last, corner, start, at = [], "", (0, 0), (0, 0), 0
    tokens = path.split()
    while at < len(tokens):
        command = tokens[at]
        at += 1
        if command == "z":
            made.append("z")
            corner, last = start, "z"
            continue
        length = {"M": 2, "L": 2, "Q": 4}[command]
        values = [round(float(value) / 32) for value in tokens[at : at + length]]
        at += length
        steps = [value - corner[index % 2] for index, value in enumerate(values)]
        corner = (values[-2], values[-1])
        start = corner if command == "M" else start
        letter, numbers = command.lower(), steps
        if command == "L" and 0 in steps:
            letter, numbers = ("h", steps[:1]) if steps[1] == 0 else ("v", steps[1:])
        text = " ".join(map(str, numbers)).replace(" -", "-")
        made.append(text if letter == last and text.startswith("-") else f" {text}" if letter == last else letter + text)
        last = letter
    return "".join(made)


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure of a size in inches with one bare axes whose units are inches from the upper left corner."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_axis_off()
    return figure, axes


def ticks(low: float, high: float) -> list[float]:
    """Return round values between two ends, at most seven."""
    span = max(high - low, 1e-9)
    step = next((s for s in (0.1, 0.2, 0.25, 0.5, 1, 2, 5, 10, 20, 50, 100) if span / s <= 6), span / 4)
    first = math.ceil(low / step - 1e-9)
    return [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]


def tick_text(tick: float, form: Any) -> str:
    """Return a tick as printed, with no more decimals than it needs."""
    return "0" if abs(tick) < 1e-9 else form(tick, 1 if abs(tick * 10 - round(tick * 10)) < 1e-9 else 2)
