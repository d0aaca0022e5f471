"use strict";
(() => {
  const spoken = document.createElement("p");
  spoken.className = "spoken";
  spoken.setAttribute("role", "status");
  document.body.append(spoken);

  const button = (label, action) => {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = label;
    made.addEventListener("click", action);
    return made;
  };
  const save = (blob, name) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };
  const value = (cell) => cell.dataset.value ?? cell.textContent.trim();
  const quoted = (text) => {
    const inert = /^[=+\-@\t\r]/.test(text) && Number.isNaN(Number(text)) ? "'" + text : text;
    return /[",\n\r]/.test(inert) ? '"' + inert.replaceAll('"', '""') + '"' : inert;
  };
  const asCsv = (table) => {
    const lines = [...table.rows].map((row) =>
      [...row.cells].map((cell) => quoted(cell.parentNode.parentNode === table.tHead ? cell.textContent.trim() : value(cell))).join(","));
    return new Blob(["\ufeff" + lines.join("\r\n") + "\r\n"], { type: "text/csv;charset=utf-8" });
  };
  const order = (first, second) => {
    const a = value(first), b = value(second);
    if (a === "" || b === "") return (a === "") - (b === "");
    const x = Number(a), y = Number(b);
    return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, "en") : x - y;
  };

  const own = (cell) => [...cell.childNodes].filter((node) => cell.closest("thead") || node.nodeName !== "BUTTON").map((node) => node.textContent);
  const lines = (table) => [...table.rows].filter((row) => !row.hidden).map((row) => [...row.cells].map((cell) => own(cell).join("").trim()));
  const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  // As word processors take it: a caption above, rules above and below the head and at the end, no colours.
  const forWords = (table) => {
    const texts = lines(table);
    const rule = "1pt solid black";
    const cells = (row, index) => row.map((text, place) => {
      const head = index === 0;
      const number = table.tHead.rows[0].cells[place].classList.contains("number");
      const style = "padding:2pt 6pt;text-align:" + (number ? "right" : "left") + (head ? ";border-top:" + rule + ";border-bottom:" + rule : "") +
        (index === texts.length - 1 ? ";border-bottom:" + rule : "");
      return (head ? "<th" : "<td") + ' style="' + style + '">' + escaped(text) + (head ? "</th>" : "</td>");
    }).join("");
    const title = table.caption.textContent.trim();
    const html = '<p style="font-style:italic">' + escaped(title) + '</p><table style="border-collapse:collapse">' +
      texts.map((row, index) => "<tr>" + cells(row, index) + "</tr>").join("") + "</table>";
    return { "text/html": html, "text/plain": [title, ...texts.map((row) => row.join("\t"))].join("\n") + "\n" };
  };
  const copier = (label, what, content) => {
    const made = button(label, async () => {
      const parts = content();
      const blobs = Object.fromEntries(Object.entries(parts).map(([type, text]) => [type, new Blob([text], { type })]));
      try {
        await navigator.clipboard.write([new ClipboardItem(blobs)]);
        spoken.textContent = what + " copied";
      } catch {
        const kind = "text/html" in parts ? "text/html" : "text/plain";
        save(new Blob([parts[kind]], { type: kind }), "copy" + (kind === "text/html" ? ".html" : ".txt"));
        spoken.textContent = what + " saved, since this browser does not let it be copied";
      }
    });
    made.setAttribute("aria-label", label + ": " + what);
    return made;
  };
  for (const text of document.querySelectorAll("[data-copy]")) {
    const tools = document.createElement("div");
    tools.className = "tools";
    tools.append(copier("Copy", text.dataset.copy, () => ({ "text/plain": text.textContent.trim() + "\n" })));
    text.after(tools);
  }

  for (const table of document.querySelectorAll("table[data-file]")) {
    const heads = [...table.tHead.rows[0].cells];
    const body = table.tBodies[0];
    heads.forEach((head, index) => {
      const label = head.textContent.trim();
      if (!label || body.rows.length < 2) return;
      const sorter = button(label, () => {
        const downwards = head.getAttribute("aria-sort") === "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", downwards ? "descending" : "ascending");
        const rows = [...body.rows];
        const empty = (row) => value(row.cells[index]) === "";
        rows.sort((a, b) => {
          const sign = downwards && !empty(a) && !empty(b) ? -1 : 1;
          return sign * order(a.cells[index], b.cells[index]);
        });
        body.append(...rows);
        spoken.textContent = "Sorted by " + label + (downwards ? ", descending" : ", ascending");
      });
      head.replaceChildren(sorter);
    });
    const tools = document.createElement("div");
    tools.className = "tools";
    const title = table.caption.textContent.trim();
    const download = button("Download CSV", () => save(asCsv(table), table.dataset.file + ".csv"));
    download.setAttribute("aria-label", "Download CSV: " + title);
    tools.append(download, copier("Copy table", title, () => forWords(table)));
    table.closest(".table").append(tools);
  }

  const laid = (base, changes) => {
    const made = { ...base };
    for (const [key, change] of Object.entries(changes)) {
      const both = [made[key], change].every((one) => one && typeof one === "object" && !Array.isArray(one));
      made[key] = both ? laid(made[key], change) : change;
    }
    return made;
  };
  for (const table of document.querySelectorAll("table[data-configurations]")) {
    const base = JSON.parse(document.getElementById("base-configuration").textContent);
    const options = JSON.parse(document.getElementById(table.dataset.configurations).textContent);
    const nodes = Object.keys(options);
    const heads = [...table.tHead.rows[0].cells].map((head) => head.textContent.trim());
    const first = heads.indexOf(nodes[0].replaceAll("_", " ").replace(/^./, (letter) => letter.toUpperCase()));
    const body = table.tBodies[0];
    for (const row of body.rows) {
      const number = row.cells[0].textContent.trim();
      row.cells[0].dataset.value = number;
      const copy = button("Copy", async () => {
        const whole = nodes.reduce((made, node, index) => {
          const chosen = row.cells[first + index].textContent.trim();
          const [, changes] = Object.entries(options[node]).find(([name]) => name.replaceAll("_", " ") === chosen);
          return laid(made, changes);
        }, base);
        try {
          await navigator.clipboard.writeText(JSON.stringify(whole, null, 1) + "\n");
          spoken.textContent = "Configuration of specification " + number + " copied";
          copy.textContent = "Copied";
        } catch {
          save(new Blob([JSON.stringify(whole, null, 1) + "\n"], { type: "application/json" }), "config-" + number + ".yaml");
          spoken.textContent = "Configuration of specification " + number + " saved";
        }
      });
      copy.setAttribute("aria-label", "Copy the configuration of specification " + number);
      row.cells[0].append(" ", copy);
    }
    const finder = document.createElement("label");
    finder.className = "finder";
    finder.textContent = "Show rows that contain: ";
    const words = document.createElement("input");
    words.type = "search";
    words.addEventListener("input", () => {
      const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of body.rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !wanted.every((word) => text.includes(word));
        shown += row.hidden ? 0 : 1;
      }
      spoken.textContent = shown + " of " + body.rows.length + " rows shown";
    });
    finder.append(words);
    table.closest(".table").prepend(finder);
  }

  for (const figure of document.querySelectorAll("figure[data-file]")) {
    const image = figure.querySelector("img");
    const title = figure.querySelector("figcaption").textContent.trim();
    const tools = document.createElement("div");
    tools.className = "tools";
    const vector = button("Download SVG", () => {
      const drawing = decodeURIComponent(image.src.slice(image.src.indexOf(",") + 1));
      save(new Blob([drawing], { type: "image/svg+xml" }), figure.dataset.file + ".svg");
    });
    vector.setAttribute("aria-label", "Download SVG: " + title);
    const pixels = button("Download PNG", () => {
      const copy = new Image();
      copy.addEventListener("load", () => {
        const canvas = document.createElement("canvas");
        canvas.width = 3 * copy.naturalWidth;
        canvas.height = 3 * copy.naturalHeight;
        const pen = canvas.getContext("2d");
        pen.fillStyle = "#ffffff";
        pen.fillRect(0, 0, canvas.width, canvas.height);
        pen.drawImage(copy, 0, 0, canvas.width, canvas.height);
        canvas.toBlob((blob) => save(blob, figure.dataset.file + ".png"), "image/png");
      });
      copy.src = image.src;
    });
    pixels.setAttribute("aria-label", "Download PNG: " + title);
    tools.append(vector, pixels);
    // The table of a figure stands right after it, else right before it.
    const near = [figure.nextElementSibling, figure.previousElementSibling];
    const source = near.map((one) => one?.querySelector(":scope > table[data-file], .scroll > table[data-file]")).find(Boolean);
    if (source) {
      const data = button("Download data", () => save(asCsv(source), figure.dataset.file + "-data.csv"));
      data.setAttribute("aria-label", "Download data: " + title);
      tools.append(data);
    }
    figure.append(tools);
  }

  let unfolded = [];
  window.addEventListener("beforeprint", () => {
    unfolded = [...document.querySelectorAll("details.printed:not([open])")];
    unfolded.forEach((folded) => { folded.open = true; });
  });
  window.addEventListener("afterprint", () => {
    unfolded.forEach((folded) => { folded.open = false; });
    unfolded = [];
  });
})();
