"""Checks of a page in a browser: what its text alone does not tell. Each returns sentences that say what is wrong."""

from __future__ import annotations

from typing import Any

ROWS_FOR_AXE = 2
FOLDS_FOR_AXE = 8
RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}}
SERIOUS = ("serious", "critical")
PAPER, PAPER_HEIGHT = 702, 1031
"""Width and height in CSS pixels of a page of A4 with margins of 12 millimetres."""
LEAST_TYPE = 9.3
"""CSS pixels: smallest type of a printed table, 7 pt."""
TALLEST_ROW = 172
"""CSS pixels: eight lines of a table."""

OPEN = f"[...document.querySelectorAll('details')].slice(0, {FOLDS_FOR_AXE}).forEach((folded) => {{ folded.open = true; }})"
SHORTEN = f"""document.querySelectorAll('tbody').forEach((body) => {{
  while (body.rows.length > {ROWS_FOR_AXE}) body.rows[body.rows.length - 1].remove();
}})"""


def accessible(page: Any, *only: str) -> list[str]:
    """Return what axe-core finds, serious or critical, on a page whose first folds are open and whose tables keep two rows.

    All rows of a table come from one template, and so do all folds: more of them find the same again in ten times the time.
    """
    from axe_playwright_python.sync_playwright import Axe

    page.evaluate(OPEN)
    page.evaluate(SHORTEN)
    options = {"runOnly": {"type": "rule", "values": list(only)}} if only else RULES
    found = Axe().run(page, options={**options, "resultTypes": ["violations"]}).response["violations"]
    return [
        f"{one['id']} ({one['impact']}): {one['help']}; {len(one['nodes'])} places, first {one['nodes'][0]['html'][:120]}"
        for one in found
        if one["impact"] in SERIOUS
    ]


def fits(page: Any, width: int = 320) -> list[str]:
    """Return what does not fit into a narrow screen: a page that scrolls sideways, or words that are cut off."""
    page.set_viewport_size({"width": width, "height": 800})
    found = page.evaluate(
        """(width) => {
          const told = [];
          if (document.documentElement.scrollWidth > width) told.push("the page scrolls sideways: " + document.documentElement.scrollWidth);
          for (const one of document.querySelectorAll("body *")) {
            const style = getComputedStyle(one);
            if (one.classList.contains("spoken") || !one.clientWidth) continue;
            if (["hidden", "clip"].includes(style.overflowX) && one.scrollWidth > one.clientWidth + 1) told.push("cut off: " + one.tagName);
          }
          return told;
        }""",
        width,
    )
    return list(found)


def captions_stay(page: Any, width: int = 320) -> list[str]:
    """Return tables whose caption leaves the view, or is cut, where the table is scrolled sideways on a narrow screen."""
    page.set_viewport_size({"width": width, "height": 800})
    return list(
        page.evaluate(
            """() => [...document.querySelectorAll(".scroll")].filter((box) => {
              const caption = box.querySelector("caption");
              if (!caption.checkVisibility() || box.scrollWidth <= box.clientWidth + 1) return false;
              const beyond = () => {
                const inner = caption.getBoundingClientRect(), outer = box.getBoundingClientRect();
                return inner.left < outer.left - 1 || inner.right > outer.right + 1;
              };
              const before = beyond();
              box.scrollLeft = 100000;
              const after = beyond();
              box.scrollLeft = 0;
              return before || after;
            }).map((box) => "the caption is cut: " + box.querySelector("table").id)"""
        )
    )


def heads_stay(page: Any, width: int = 1280) -> list[str]:
    """Return tables in a box of their own height whose caption or heads leave the view where the rows are scrolled."""
    page.set_viewport_size({"width": width, "height": 800})
    page.evaluate("document.querySelectorAll('.tall').forEach((box) => { box.scrollTop = 0.5 * (box.scrollHeight - box.clientHeight); })")
    found = page.evaluate(
        """() => [...document.querySelectorAll(".tall")].filter((box) => {
          if (!box.checkVisibility() || box.scrollTop < 100) return false;
          const caption = box.querySelector("caption").getBoundingClientRect(), head = box.querySelector("th").getBoundingClientRect();
          return Math.abs(caption.top - box.getBoundingClientRect().top) > 2 || Math.abs(head.top - caption.bottom) > 2;
        }).map((box) => "caption or heads scroll away: " + box.querySelector("table").id)"""
    )
    page.evaluate("document.querySelectorAll('.tall').forEach((box) => { box.scrollTop = 0; })")
    return list(found)


def low_rows(page: Any, width: int = 1280) -> list[str]:
    """Return tables with a row so tall that few of them fit on a screen."""
    page.set_viewport_size({"width": width, "height": 800})
    return list(
        page.evaluate(
            """(tallest) => [...document.querySelectorAll("table")].map((table) => [
              table, Math.max(0, ...[...table.querySelectorAll("tbody tr")].map((row) => row.getBoundingClientRect().height)),
            ]).filter(([table, height]) => height > tallest).map(([table, height]) => `a row is ${height} pixels tall: ${table.id}`)""",
            TALLEST_ROW,
        )
    )


def reachable(page: Any) -> list[str]:
    """Return what scrolls but cannot be scrolled by the keyboard."""
    return list(
        page.evaluate(
            """() => [...document.querySelectorAll("body *")].filter((one) => {
              const style = getComputedStyle(one);
              const scrolls = ["auto", "scroll"].includes(style.overflowX) || ["auto", "scroll"].includes(style.overflowY);
              const more = one.scrollWidth > one.clientWidth + 1 || one.scrollHeight > one.clientHeight + 1;
              return scrolls && more && one.tabIndex < 0 && !one.querySelector("a, button, input, [tabindex='0']");
            }).map((one) => "cannot be scrolled by keyboard: " + one.outerHTML.slice(0, 80))"""
        )
    )


def focus_shows(page: Any) -> list[str]:
    """Return what can be reached by keyboard without being seen to be reached: an outline of two pixels that stands out."""
    page.keyboard.press("Tab")
    return list(
        page.evaluate(
            """() => {
              const light = (colour) => {
                const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255);
                const [r, g, b] = parts.map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
              };
              const ground = (one) => {
                for (let at = one.parentElement; at; at = at.parentElement) {
                  const colour = getComputedStyle(at).backgroundColor;
                  if (!/, 0\\)$|transparent/.test(colour)) return colour;
                }
                return "rgb(255, 255, 255)";
              };
              const kinds = new Map();
              for (const one of document.querySelectorAll("a, button, input, summary, [tabindex='0']")) {
                const kind = [one.tagName, one.className, one.parentElement.tagName, one.parentElement.className].join(" ");
                if (one.checkVisibility() && !kinds.has(kind)) kinds.set(kind, one);
              }
              const told = [];
              for (const [kind, one] of kinds) {
                one.focus();
                const style = getComputedStyle(one);
                if (style.outlineStyle === "none" || parseFloat(style.outlineWidth) < 2) { told.push("no outline: " + kind); continue; }
                const [a, b] = [light(style.outlineColor), light(ground(one))].sort((x, y) => y - x);
                if ((a + 0.05) / (b + 0.05) < 3) told.push("faint outline: " + kind);
              }
              return told;
            }"""
        )
    )


def large_enough(page: Any) -> list[str]:
    """Return buttons and fields that are smaller than 24 pixels either way."""
    return list(
        page.evaluate(
            """() => [...document.querySelectorAll("button, input, summary")].filter((one) => {
              const box = one.getBoundingClientRect();
              return one.checkVisibility() && (box.width < 24 || box.height < 23.5);
            }).map((one) => "too small to hit: " + one.outerHTML.slice(0, 80))"""
        )
    )


def prints(page: Any) -> list[str]:
    """Return what paper would cut off or should not show."""
    page.set_viewport_size({"width": PAPER, "height": 1000})
    page.emulate_media(media="print", color_scheme="light")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    found = page.evaluate(
        """([height, least]) => {
          const told = [];
          const seen = (one) => one.checkVisibility() && one.getBoundingClientRect().height > 0;
          for (const one of document.querySelectorAll("thead")) {
            // Chromium repeats no letters of a head that stand in the box of a button.
            const boxes = [...one.querySelectorAll("button")].some((inner) => getComputedStyle(inner).display !== "contents");
            const held = [...one.querySelectorAll("th")].some((head) => getComputedStyle(head).position !== "static");
            if (getComputedStyle(one).display !== "table-header-group" || boxes || held) {
              told.push("heads do not repeat: " + one.parentElement.id);
            }
          }
          for (const one of document.querySelectorAll("figure")) {
            if (seen(one) && one.getBoundingClientRect().height > height) told.push("is taller than paper: " + one.id);
          }
          for (const words of ["nav", ".tools", ".skip", ".finder", "tbody button"]) {
            if ([...document.querySelectorAll(words)].some(seen)) told.push("is printed: " + words);
          }
          for (const one of document.querySelectorAll("details.printed:not([open])")) told.push("stays folded: " + one.id);
          for (const one of document.querySelectorAll("main *")) {
            if (!["auto", "scroll", "hidden", "clip"].includes(getComputedStyle(one).overflowX) || !seen(one)) continue;
            if (one.scrollWidth > one.clientWidth + 1 || one.scrollHeight > one.clientHeight + 1) told.push("is cut off: " + one.className);
          }
          for (const one of document.querySelectorAll("table")) {
            if (!seen(one)) continue;
            if (!one.closest(".broadest") && one.getBoundingClientRect().right > document.documentElement.clientWidth + 1) {
              told.push("is wider than paper: " + one.id);
            }
            if (parseFloat(getComputedStyle(one).fontSize) < least) told.push("is too small to read: " + one.id);
          }
          if (getComputedStyle(document.body).backgroundColor !== "rgb(255, 255, 255)") told.push("the ground is not white");
          return told;
        }""",
        [PAPER_HEIGHT, LEAST_TYPE],
    )
    page.set_viewport_size({"width": PAPER_HEIGHT, "height": PAPER})
    found += page.evaluate(
        """() => [...document.querySelectorAll(".broadest")].flatMap((one) => {
          const turned = getComputedStyle(one).page !== "auto" ? [] : ["is not printed across: " + one.querySelector("table").id];
          const table = one.querySelector("table");
          const over = table && table.getBoundingClientRect().right > document.documentElement.clientWidth + 1;
          return over ? [...turned, "is wider than paper laid across: " + table.id] : turned;
        })"""
    )
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    page.emulate_media(media="screen")
    return list(found)
