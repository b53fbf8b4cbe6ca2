// Two sentences, and a map of where a state of the first brings its answer into the second.

import { at, fill, make, number, problem, scale } from "./dom.js";
import { lines } from "./net.js";
import { change } from "./state.js";

const FIELDS = { source: "source", target: "target", source_answer: "source-answer", target_answer: "target-answer", what: "what" };
let running, cells;

export function start() {
  at("patch-form").addEventListener("submit", (event) => { event.preventDefault(); run(); });
  at("patch-stop").addEventListener("click", () => running?.abort());
  for (const [name, id] of Object.entries(FIELDS)) at(id).addEventListener("input", () => change({ [name]: at(id).value }));
}

export function restore(found) {
  for (const [name, id] of Object.entries(FIELDS)) at(id).value = found[name];
}

async function run() {
  running?.abort();
  const own = (running = new AbortController());
  problem();
  cells = new Map();
  at("map-panel").hidden = true;
  at("patch-stop").hidden = false;
  at("patch-status").textContent = "Waiting for the model";
  const body = Object.fromEntries(Object.entries(FIELDS).map(([name, id]) => [name, at(id).value]));
  let found = 0;
  try {
    await lines("api/patch", { body, signal: own.signal, each: (line) => { found += told(line); } });
  } catch (error) {
    if (running !== own) return;
    at("patch-status").textContent = error.name === "AbortError" ? "Stopped." : "Nothing was patched.";
    if (error.name !== "AbortError") problem(error.message);
  }
  if (running === own) at("patch-stop").hidden = true;
}

function told(line) {
  if (line.kind === "waiting") at("patch-status").textContent = `Waiting for a turn; ${line.before} before you`;
  else if (line.kind === "pair") table(line);
  else if (line.kind === "cells") for (const [layer, token, value] of line.cells) colour(cells.get(`${layer} ${token}`), value);
  else if (line.kind === "done") at("patch-status").textContent = "Done.";
  return 1;
}

function table(pair) {
  at("map-panel").hidden = false;
  at("patch-status").textContent = "Patching, layer by layer";
  const [source, target] = pair.answers;
  at("map-name").textContent = `How much of \u201c${source}\u201d against \u201c${target}\u201d comes along`;
  const aligned = pair.align === "token" ? "token by token" : "around the words that differ, whose tokens get the other's mean";
  const who = pair.chosen ? "The answers are the model's own next words that tell the sentences apart most. " : "";
  at("map-cell").textContent = `${who}The sentences are aligned ${aligned}. Point at a cell, or touch it, to see its value.`;
  scale(at("map-scale"), 1, { signed: true, unit: "recovered" });
  const layers = Array.from({ length: pair.layers }, (_, layer) => layer);
  const head = make("tr", {}, make("th", { text: "layer", set: { scope: "col" } }),
    ...layers.map((layer) => make("th", { text: layer % 5 ? "" : layer, set: { scope: "col", "aria-label": `layer ${layer}` } })));
  const body = pair.places.map(({ token, text, changed }) => {
    const piece = text.trim() || "\u2423";
    const row = make("tr", { cls: changed ? "changed" : "" }, make("th", { text: piece, set: { scope: "row" } }));
    for (const layer of layers) {
      const cell = make("td");
      cell.dataset.about = `layer ${layer}, \u201c${piece}\u201d`;
      cells.set(`${layer} ${token}`, cell);
      row.append(cell);
    }
    return row;
  });
  fill(at("map"), make("thead", {}, head), make("tbody", {}, ...body));
}

function colour(cell, value) {
  if (!cell) return;
  cell.className = value > 1.05 ? "plus beyond" : value > 0 ? "plus" : "minus";
  cell.style.setProperty("--a", Math.min(1, Math.abs(value)).toFixed(3));
  cell.title = `${cell.dataset.about}: ${number(value)} recovered`;
  const point = () => {
    at("map").querySelector(".at")?.classList.remove("at");
    cell.classList.add("at");
    at("map-cell").textContent = cell.title;
  };
  cell.addEventListener("mouseenter", point);
  cell.addEventListener("click", point);
}
