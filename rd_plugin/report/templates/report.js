// SPDX-License-Identifier: Apache-2.0
"use strict";
// All text goes through textContent: what a file is called is never read as markup.
(() => {
  const CARDS = 48;
  const WORST = 6;
  const find = (id) => document.getElementById(id);
  const data = JSON.parse(find("data").textContent);
  const start = data.threshold === null ? (data.low + data.high) / 2 : data.threshold;
  const rows = data.rows.map(([path, score, called, defective, reason, boxes, note], place) =>
    ({ place, path, score, called, defective, reason, boxes, note, product: data.products[place] || "" }));
  const state = { threshold: start, show: "all", name: "", product: "", order: "high", shown: [], cards: 0, large: -1 };

  const chosen = () => rows.filter((row) => !state.product || row.product === state.product);
  // At the model's own threshold its own verdict counts: it was made before any rounding.
  const anomalous = (row) => {
    if (row.reason) return null;
    if (state.threshold === data.threshold && row.called !== null) return row.called;
    return row.score === null || row.score > state.threshold;
  };
  const mistaken = (row) => !row.reason && row.defective !== null && anomalous(row) !== row.defective;
  const KINDS = {
    all: () => true,
    anomalous: (row) => anomalous(row) === true,
    normal: (row) => anomalous(row) === false,
    "false-alarms": (row) => row.defective === false && anomalous(row) === true,
    misses: (row) => row.defective === true && anomalous(row) === false,
    good: (row) => row.defective === false,
    defects: (row) => row.defective === true,
    errors: (row) => row.reason !== "",
  };
  const distance = (row) => row.score === null ? Infinity : Math.abs(row.score - state.threshold);
  const height = (row) => row.reason ? -Infinity : row.score === null ? Infinity : row.score;
  const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
  const ORDERS = {
    high: (a, b) => compare(height(b), height(a)),
    low: (a, b) => compare(height(a), height(b)),
    mistakes: (a, b) => compare(mistaken(b), mistaken(a)) || compare(distance(b), distance(a)) * (mistaken(a) ? 1 : -1),
    name: (a, b) => compare(a.path, b.path),
  };

  const share = (count, all) => all ? ` of ${all} (${(100 * count / all).toFixed(1)} %)` : "";
  const text = (kind, content, className) => {
    const element = document.createElement(kind);
    element.textContent = content;
    if (className) element.className = className;
    return element;
  };

  function count() {
    const counts = Object.fromEntries(Object.keys(KINDS).map((kind) => [kind, 0]));
    let good = 0, defects = 0;
    const counted = chosen();
    for (const row of counted) {
      for (const kind in KINDS) counts[kind] += KINDS[kind](row);
      good += !row.reason && row.defective === false;
      defects += !row.reason && row.defective === true;
    }
    const inspected = counts.anomalous + counts.normal;
    const all = { anomalous: inspected, normal: inspected, "false-alarms": good, misses: defects, errors: counted.length };
    for (const [kind, of] of Object.entries(all)) {
      const place = find(`count-${kind}`);
      if (place) place.replaceChildren(String(counts[kind]), text("small", share(counts[kind], of)));
    }
    for (const button of document.querySelectorAll("[data-show]")) {
      button.lastElementChild.textContent = counts[button.dataset.show];
      button.setAttribute("aria-pressed", String(button.dataset.show === state.show));
    }
    find("verdicts").textContent =
      `${counts.anomalous} of ${inspected} images are anomalous at a threshold of ${Number(state.threshold.toPrecision(4))}.` +
      (data.threshold === null ? " The model has none of its own." : state.threshold === data.threshold ? "" :
        ` The model's own is ${Number(data.threshold.toPrecision(4))}.`);
    const detected = defects - counts.misses;
    const alarms = counts["false-alarms"] / (good || 1);
    const recall = detected / (defects || 1);
    const called = detected + counts["false-alarms"];
    const precision = called ? detected / called : 1;
    point("roc", alarms, recall, `At the threshold: false-alarm rate ${alarms.toFixed(3)}, detection rate ${recall.toFixed(3)}.`);
    const f1 = 2 * detected / (called + defects || 1);
    point("precision", recall, precision, `At the threshold: precision ${precision.toFixed(3)}, recall ${recall.toFixed(3)}, F1 ${f1.toFixed(3)}.`);
  }

  function point(name, x, y, sentence) {
    const place = data.curves[name];
    if (!place) return;
    const { left, right, top, bottom } = place;
    find(`${name}-point`).setAttribute("transform", `translate(${x * (right - left)} ${-y * (bottom - top) / 1.005})`);
    find(`at-${name}`).textContent = sentence;
  }

  function line() {
    const { left, right } = data.histogram;
    const where = Math.min(Math.max((state.threshold - data.low) / (data.high - data.low), 0), 1);
    find("histogram-threshold").setAttribute("transform", `translate(${where * (right - left)} 0)`);
  }

  function picture(row, kind) {
    const place = document.createElement(kind);
    place.className = "picture";
    const source = find(`i${row.place}`);
    if (!source) {
      place.append(text("span", row.reason || "no picture", "nothing"));
      return place;
    }
    const image = document.createElement("img");
    image.alt = "";
    image.loading = "lazy";
    image.decoding = "async";
    image.src = `data:image/webp;base64,${source.textContent}`;
    const marks = document.createElement("span");
    marks.className = "marks";
    const overlay = find(`o${row.place}`);
    if (overlay) {
      const map = document.createElement("img");
      map.alt = "";
      map.src = `data:image/webp;base64,${overlay.textContent}`;
      marks.append(map);
    }
    for (const [left, top, width, height, ignored] of row.boxes) {
      const box = document.createElement("i");
      if (ignored) box.className = "ignored";
      Object.assign(box.style, { left: `${100 * left}%`, top: `${100 * top}%`, width: `${100 * width}%`, height: `${100 * height}%` });
      marks.append(box);
    }
    place.append(image, marks);
    return place;
  }

  const verdict = (row) => row.reason ? "error" : anomalous(row) ? "anomalous" : "normal";
  const score = (row) => row.reason ? "" : row.score === null ? "no number" : row.score.toFixed(4);

  function caption(row) {
    const lines = document.createDocumentFragment();
    lines.append(text("b", score(row)), " ");
    if (mistaken(row)) lines.append(text("span", row.defective ? "missed defect" : "false alarm", "mistake"));
    else lines.append(verdict(row), row.defective === null ? "" : row.defective ? ", a defect" : ", good");
    if (row.note && anomalous(row)) lines.append(` (${row.note})`);
    return lines;
  }

  function card(row, list) {
    const figure = document.createElement("figure");
    figure.className = `card ${row.reason ? "errors" : verdict(row)}`;
    figure.dataset.place = row.place;
    const button = picture(row, "button");
    button.type = "button";
    button.setAttribute("aria-label", `${row.path}: larger`);
    button.addEventListener("click", () => enlarge(list, list.indexOf(row)));
    const below = document.createElement("figcaption");
    below.append(caption(row), text("span", row.path, "name"));
    below.lastElementChild.title = row.path;
    if (row.label) below.append(labelled(row));
    figure.append(button, below);
    return figure;
  }

  function enlarge(list, index) {
    const row = list[index];
    if (!row) return;
    Object.assign(state, { list, large: index });
    const dialog = find("large");
    const pictures = [picture(row, "div")];
    if (pictures[0].querySelector(".marks")?.childElementCount) pictures.push(picture(row, "div"));
    dialog.querySelector(".pair").replaceChildren(...pictures);
    const below = dialog.querySelector(".path");
    below.replaceChildren(caption(row), document.createElement("br"), row.path);
    find("previous").disabled = index === 0;
    find("next").disabled = index === list.length - 1;
    find("label").value = row.label || "";
    find("note").value = row.note || "";
    if (!dialog.open) dialog.showModal();
  }

  const labelled = (row) => text("span", `labelled ${row.label}`, "labelled");

  function label() {
    const row = state.list[state.large];
    row.label = find("label").value;
    row.note = find("note").value;
    for (const below of document.querySelectorAll(`[data-place="${row.place}"] figcaption`)) {
      below.querySelector(".labelled")?.remove();
      if (row.label) below.append(labelled(row));
    }
    const count = rows.filter((other) => other.label).length;
    find("save-labels").hidden = count === 0;
    find("save-labels").textContent = `Save labels.csv (${count})`;
  }

  function saveLabels() {
    const quoted = (content) => `"${String(content).replaceAll('"', '""')}"`;
    const lines = rows.filter((row) => row.label).map((row) => [row.path, row.label, row.note].map(quoted).join(","));
    const link = document.createElement("a");
    link.download = "labels.csv";
    link.href = `data:text/csv;charset=utf-8,${encodeURIComponent(["path,label,note", ...lines, ""].join("\n"))}`;
    link.click();
  }

  const watcher = new IntersectionObserver((entries) => {
    if (entries.some((entry) => entry.isIntersecting) && state.cards < state.shown.length) more();
  }, { rootMargin: "600px" });

  function more() {
    const next = state.shown.slice(state.cards, state.cards + CARDS);
    find("cards").append(...next.map((row) => card(row, state.shown)));
    state.cards += next.length;
    find("more").textContent = `${state.cards} of ${state.shown.length} images are shown` +
      (state.cards < state.shown.length ? "; scroll for more." : ".");
    // Observed again, it says whether there is still room below.
    watcher.unobserve(find("more"));
    watcher.observe(find("more"));
  }

  function list() {
    const wanted = state.name.toLowerCase();
    state.shown = chosen().filter((row) => KINDS[state.show](row) && row.path.toLowerCase().includes(wanted));
    state.shown.sort(ORDERS[state.order]);
    find("cards").replaceChildren();
    state.cards = 0;
    more();
    for (const kind of ["false-alarms", "misses"]) {
      const place = find(`worst-${kind}`);
      if (!place) continue;
      const worst = chosen().filter(KINDS[kind]).sort((a, b) => compare(distance(b), distance(a))).slice(0, WORST);
      place.replaceChildren(...worst.map((row) => card(row, worst)));
    }
  }

  let waiting = 0;
  function update() {
    line();
    count();
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(list);
  }
  function setThreshold(value) {
    if (!Number.isFinite(value)) return;
    state.threshold = value;
    find("threshold").value = value;
    if (document.activeElement !== find("threshold-number")) find("threshold-number").value = Number(value.toPrecision(6));
    update();
  }

  find("threshold").addEventListener("input", (event) => setThreshold(event.target.valueAsNumber));
  find("threshold-number").addEventListener("input", (event) => setThreshold(event.target.valueAsNumber));
  find("reset").addEventListener("click", () => setThreshold(start));
  find("name").addEventListener("input", (event) => { state.name = event.target.value; list(); });
  const product = find("product");
  if (product) product.addEventListener("change", (event) => { state.product = event.target.value; update(); });
  find("order").addEventListener("change", (event) => { state.order = event.target.value; list(); });
  find("overlays").addEventListener("change", (event) => document.body.classList.toggle("with-overlays", event.target.checked));
  for (const button of document.querySelectorAll("[data-show]")) {
    button.addEventListener("click", () => { state.show = button.dataset.show; update(); });
  }
  find("previous").addEventListener("click", () => enlarge(state.list, state.large - 1));
  find("next").addEventListener("click", () => enlarge(state.list, state.large + 1));
  find("close").addEventListener("click", () => find("large").close());
  find("label").addEventListener("change", label);
  find("note").addEventListener("input", label);
  find("save-labels").addEventListener("click", saveLabels);
  find("large").addEventListener("keydown", (event) => {
    if (["INPUT", "SELECT"].includes(event.target.tagName)) return;
    if (event.key === "ArrowLeft") enlarge(state.list, state.large - 1);
    if (event.key === "ArrowRight") enlarge(state.list, state.large + 1);
  });
  setThreshold(start);
})();
