"use strict";
const drawing = document.getElementById("drawing");
const width = Number(drawing.dataset.width), height = Number(drawing.dataset.height);
const closed = document.getElementById("closed"), open = document.getElementById("open");
const state = document.getElementById("state"), save = document.getElementById("save");
let polygons = [], corners = [];

function path(points, end) {
  return points.length ? "M" + points.map((point) => point.join(" ")).join("L") + end : "";
}

function draw() {
  closed.setAttribute("d", polygons.map((points) => path(points, "Z")).join(""));
  // A corner alone is drawn as a dot.
  open.setAttribute("d", path(corners.length === 1 ? [corners[0], corners[0]] : corners, ""));
  state.textContent = polygons.length + (polygons.length === 1 ? " polygon" : " polygons")
    + (corners.length ? ", " + corners.length + " corners of the next" : "");
  save.disabled = polygons.length === 0;
}

function close() {
  if (corners.length >= 3) {
    polygons.push(corners);
    corners = [];
  }
  draw();
}

function undo() {
  corners.length ? corners.pop() : polygons.pop();
  draw();
}

drawing.addEventListener("click", (event) => {
  const place = new DOMPoint(event.clientX, event.clientY).matrixTransform(drawing.getScreenCTM().inverse());
  const corner = [[place.x, width], [place.y, height]].map(([at, side]) => Math.round(Math.min(Math.max(at, 0), side) * 10) / 10);
  corners.push(corner);
  draw();
});
document.getElementById("close").addEventListener("click", close);
document.getElementById("undo").addEventListener("click", undo);
document.addEventListener("keydown", (event) => {
  if (event.target instanceof HTMLButtonElement && event.key === "Enter") return;
  if (event.key === "Enter") close();
  if (event.key === "Backspace") undo();
});
save.addEventListener("click", () => {
  close();
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify({ width, height, polygons }) + "\n"], { type: "application/json" }));
  link.download = "roi.json";
  link.click();
  URL.revokeObjectURL(link.href);
});
draw();
