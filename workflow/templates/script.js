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
  // A cell with several numbers, such as an interval, is sorted by the first of them and saved as it is printed.
  const whole = (cell) => ((cell.textContent.match(/\d[\d.,]*/g) ?? []).length > 1 ? cell.textContent.trim() : value(cell));
  const quoted = (text) => {
    const inert = /^[=+\-@\t\r]/.test(text) && Number.isNaN(Number(text)) ? "'" + text : text;
    return /[",\n\r]/.test(inert) ? '"' + inert.replaceAll('"', '""') + '"' : inert;
  };
  const order = (first, second) => {
    const a = value(first), b = value(second);
    if (a === "" || b === "") return (a === "") - (b === "");
    const x = Number(a), y = Number(b);
    return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, "en") : x - y;
  };

  // As word processors take it: the caption above, rules around the head and at the end, no colours. Attributes and no styles, which the
  // page's policy does not let in.
  const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  const shownText = (cell) => [...cell.childNodes].filter((node) => node.nodeName !== "BUTTON").map((node) => node.textContent).join("").trim();
  const forWords = (title, labels, numeric, rows) => {
    const line = (tag) => (row) => "<tr>" + row.map((text, place) =>
      "<" + tag + ' align="' + (numeric[place] ? "right" : "left") + '">' + escaped(text) + "</" + tag + ">").join("") + "</tr>";
    return {
      "text/html": "<p><i>" + escaped(title) + '</i></p><table border="1" frame="hsides" rules="groups" cellpadding="4" cellspacing="0"><thead>' +
        line("th")(labels) + "</thead><tbody>" + rows.map(line("td")).join("") + "</tbody></table>",
      "text/plain": [title, labels.join("\t"), ...rows.map((row) => row.join("\t"))].join("\n") + "\n",
    };
  };
  const copying = (label, what, content) => {
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
    tools.append(copying("Copy", text.dataset.copy, () => ({ "text/plain": text.textContent.trim() + "\n" })));
    text.after(tools);
  }

  const saved = new Map();
  const laid = (base, changes) => {
    const made = { ...base };
    for (const [key, change] of Object.entries(changes)) {
      const both = [made[key], change].every((one) => one && typeof one === "object" && !Array.isArray(one));
      made[key] = both ? laid(made[key], change) : change;
    }
    return made;
  };
  const parsed = (id) => JSON.parse(document.getElementById(id).textContent);
  const copier = (table, heads) => {
    const base = parsed("base-configuration");
    const options = parsed(table.dataset.configurations);
    const nodes = Object.keys(options);
    // The decisions stand side by side; one of them may be called like another column.
    const named = nodes.map((node) => node.replaceAll("_", " ").replace(/^./, (letter) => letter.toUpperCase()));
    const first = heads.findIndex((_, place) => named.every((name, index) => heads[place + index] === name));
    return (row) => {
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
    };
  };

  // Rows that the page holds as text become rows of the table, like the first one.
  const drawn = (text, like) => {
    const values = JSON.parse(text.dataset.values);
    return text.textContent.split("\n").map((line, index) => {
      const row = like.cloneNode(true);
      row.removeAttribute("class");
      line.split("\t").forEach((words, place) => {
        const cell = row.cells[place];
        const [value, address] = values[index][place] || [];
        delete cell.dataset.value;
        if (value !== undefined && value !== words) cell.dataset.value = value;
        const link = document.createElement("a");
        if (address) link.href = address;
        link.textContent = words;
        cell.replaceChildren(address ? link : words);
      });
      return row;
    });
  };

  const step = 100;
  const prepare = (table) => {
    const heads = [...table.tHead.rows[0].cells];
    const labels = heads.map((head) => head.textContent.trim());
    const body = table.tBodies[0];
    const around = table.closest(".table");
    const text = around.querySelector("pre[data-further]");
    const equip = table.dataset.configurations ? copier(table, labels) : () => {};
    const like = body.rows[0].cloneNode(true);
    let rows = [...body.rows];
    rows.forEach(equip);
    let waiting = text;
    let most = text ? rows.length : Infinity;
    let words = [];
    const every = () => {
      if (waiting) {
        const others = drawn(waiting, like);
        others.forEach(equip);
        rows = [...rows, ...others];
        waiting = null;
      }
      return rows;
    };
    const more = button("", () => { most += step; draw(); });
    const draw = () => {
      const fitting = every().filter((row) => {
        const inside = words.length ? row.textContent.toLowerCase() : "";
        return words.every((word) => inside.includes(word));
      });
      body.replaceChildren(...fitting.slice(0, most));
      const left = fitting.length - body.rows.length;
      more.hidden = left <= 0;
      more.textContent = "Show " + Math.min(step, left) + " more (" + body.rows.length + " of " + fitting.length + " rows are shown)";
      return fitting.length;
    };

    heads.forEach((head, index) => {
      const label = labels[index];
      if (!label || rows.length < 2) return;
      const sorter = button(label, () => {
        const downwards = head.getAttribute("aria-sort") === "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", downwards ? "descending" : "ascending");
        const empty = (row) => value(row.cells[index]) === "";
        every().sort((a, b) => {
          const sign = downwards && !empty(a) && !empty(b) ? -1 : 1;
          return sign * order(a.cells[index], b.cells[index]);
        });
        draw();
        spoken.textContent = "Sorted by " + label + (downwards ? ", descending" : ", ascending");
      });
      head.replaceChildren(sorter);
    });

    const tools = document.createElement("div");
    tools.className = "tools";
    const title = table.caption.textContent.trim();
    const csv = (name) => {
      const lines = [labels, ...every().map((row) => [...row.cells].map(whole))].map((cells) => cells.map(quoted).join(","));
      save(new Blob(["\ufeff" + lines.join("\r\n") + "\r\n"], { type: "text/csv;charset=utf-8" }), name + ".csv");
    };
    saved.set(table, csv);
    const download = button("Download CSV", () => csv(table.dataset.file));
    download.setAttribute("aria-label", "Download CSV: " + title);
    const numeric = heads.map((head) => head.classList.contains("number"));
    const copied = () => forWords(title, labels, numeric, [...body.rows].map((row) => [...row.cells].map(shownText)));
    tools.append(download, copying("Copy table", title, copied));
    around.append(tools);
    if (text) {
      const left = text.textContent.split("\n").length;
      more.textContent = "Show " + Math.min(step, left) + " more (" + most + " of " + (most + left) + " rows are shown)";
      tools.prepend(more);
      text.parentNode.remove();
    }

    if (table.dataset.configurations || text) {
      const finder = document.createElement("label");
      finder.className = "finder";
      finder.textContent = "Show rows that contain: ";
      const field = document.createElement("input");
      field.type = "search";
      field.addEventListener("input", () => {
        words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
        spoken.textContent = draw() + " of " + every().length + " rows fit";
      });
      finder.append(field);
      around.prepend(finder);
    }
  };
  // The caption of a table that scrolls in its own box stays above its heads, which begin where the caption ends.
  const hold = new ResizeObserver((entries) => {
    for (const { target } of entries) target.closest(".scroll").style.setProperty("--caption", target.offsetHeight + "px");
  });
  for (const box of document.querySelectorAll(".tall")) {
    box.classList.add("held");
    hold.observe(box.querySelector("caption"));
  }
  const prepared = (table) => {
    if (!saved.has(table)) prepare(table);
    return saved.get(table);
  };
  for (const table of document.querySelectorAll("table[data-file]")) {
    const folded = table.closest("details:not([open])");
    if (folded) folded.addEventListener("toggle", () => prepared(table), { once: true });
    else prepared(table);
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
      const data = button("Download data", () => prepared(source)(figure.dataset.file + "-data"));
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
