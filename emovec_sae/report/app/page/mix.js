// Mixing emotions: sliders, and the answers of three arms as they are written.

import { at, fill, make, number, problem } from "./dom.js";
import { get, lines } from "./net.js";
import { change, state } from "./state.js";

const ARMS = ["none", "raw", "latents"];
let facts, go, running;

export function start(told, jumps) {
  [facts, go] = [told, jumps];
  at("limit").textContent = number(facts.limit.strength);
  at("limit-said").textContent = `${facts.limit.said.replace(/^./, (one) => one.toUpperCase())}.`;
  at("k").max = facts.most.latents;
  at("tokens").max = facts.most.tokens;
  at("mix-form").addEventListener("submit", (event) => { event.preventDefault(); run(); });
  at("stop").addEventListener("click", () => running?.abort());
  at("add").addEventListener("click", add);
  at("add-emotion").addEventListener("keydown", (event) => {
    if (event.key === "Enter") { event.preventDefault(); add(); }
  });
  at("beyond").addEventListener("change", rows);
  for (const name of ["prompt", "k", "seed", "tokens", "temperature"]) {
    at(name).addEventListener("input", () => change({ [name]: at(name).value }));
  }
}

export function restore(found) {
  for (const name of ["prompt", "k", "seed", "tokens", "temperature"]) at(name).value = found[name];
  // A shared mix may lie beyond the limit: its sliders must reach there, and whoever opens it ticks the box.
  rows();
}

function add() {
  const name = at("add-emotion").value.trim();
  if (!name) return;
  if (!facts.emotions.includes(name)) return problem(`There is no direction for \u201c${name}\u201d; choose one of the list.`);
  if (state.emotions.includes(name)) return problem(`\u201c${name}\u201d is in the mix already; move its slider.`);
  if (state.emotions.length >= facts.most.emotions) return problem(`A mix holds at most ${facts.most.emotions} emotions.`);
  problem();
  at("add-emotion").value = "";
  change({ emotions: [...state.emotions, name], strengths: [...state.strengths, 0] });
  rows();
}

function rows() {
  const end = at("beyond").checked ? facts.limit.farthest : facts.limit.strength;
  fill(at("mix-rows"), ...state.emotions.map((name, place) => row(name, place, end)));
  gauge();
}

function row(name, place, end) {
  const strength = state.strengths[place];
  const most = Math.max(end, Math.abs(strength));
  const bounds = { min: -most.toFixed(2), max: most.toFixed(2), step: 0.01 };
  const slider = make("input", { set: { type: "range", ...bounds, "aria-label": `strength of ${name}`, id: `strength-${name}` } });
  const box = make("input", { set: { type: "number", ...bounds, "aria-label": `strength of ${name} as a number` } });
  slider.value = box.value = strength;
  const moved = (from, to) => () => {
    const value = Number(from.value);
    if (from.value === "" || !Number.isFinite(value)) return;
    to.value = value;
    change({ strengths: state.strengths.map((one, index) => (index === place ? value : one)) });
    gauge();
  };
  slider.addEventListener("input", moved(slider, box));
  box.addEventListener("input", moved(box, slider));
  const drop = make("button", { cls: "drop", text: "\u00d7", set: { type: "button", "aria-label": `take ${name} out` }, on: { click: () => {
    const left = (list) => list.filter((_, index) => index !== place);
    change({ emotions: left(state.emotions), strengths: left(state.strengths) });
    rows();
  } } });
  const label = make("label", { text: name, set: { for: `strength-${name}` } });
  if (!facts.decomposed.includes(name)) label.append(make("small", { text: " no latents" }));
  return make("div", { cls: "row" }, label, box, drop, slider);
}

// Directions that are alike add up to more than unlike ones: the server tells how long several are together.
let measured = 0;
async function gauge() {
  const own = ++measured;
  if (state.strengths.filter(Boolean).length < 2) return shown(Math.max(0, ...state.strengths.map(Math.abs)));
  await new Promise((done) => { setTimeout(done, 120); });
  if (own !== measured) return;
  const query = new URLSearchParams({ emotions: state.emotions.join(","), strengths: state.strengths.join(",") });
  const found = await get(`api/length?${query}`).catch((error) => problem(error.message));
  if (found && own === measured) shown(found.length);
}

function shown(length) {
  const end = at("beyond").checked ? facts.limit.farthest : facts.limit.strength;
  at("mix-length").textContent = number(length);
  at("gauge").style.setProperty("--part", Math.min(1, length / end));
  at("gauge").parentElement.style.setProperty("--end", facts.limit.strength / end);
  at("gauge").parentElement.classList.toggle("over", length > facts.limit.strength + 1e-9);
}

function clear() {
  for (const arm of ARMS) {
    at(`said-${arm}`).textContent = "";
    document.querySelector(`[data-arm="${arm}"]`).classList.remove("writing");
  }
  at("dose-raw").textContent = at("dose-latents").textContent = "nothing added";
  at("next").hidden = at("parts").hidden = true;
}

const chosen = () => [...document.querySelectorAll("#arms input:checked")].map((one) => one.value);
const whole = (id) => (at(id).value.trim() === "" ? null : Number(at(id).value));

async function run() {
  running?.abort();
  const own = (running = new AbortController());
  problem();
  clear();
  at("stop").hidden = false;
  at("mix-status").textContent = "Waiting for the model";
  const body = {
    arms: chosen(),
    prompt: at("prompt").value, emotions: state.emotions, strengths: state.strengths, beyond: at("beyond").checked,
    k: whole("k"), seed: whole("seed"), tokens: whole("tokens"), temperature: whole("temperature"),
  };
  try {
    await lines("api/answers", { body, signal: own.signal, each: (line) => told(line) });
  } catch (error) {
    if (running !== own) return;
    at("mix-status").textContent = error.name === "AbortError" ? "Stopped." : "Nothing was written.";
    if (error.name !== "AbortError") problem(error.message);
  }
  if (running !== own) return;
  running = undefined;
  at("stop").hidden = true;
  for (const arm of ARMS) document.querySelector(`[data-arm="${arm}"]`).classList.remove("writing");
}

function told(line) {
  if (line.kind === "waiting") at("mix-status").textContent = `Waiting for a turn; ${line.before} before you`;
  else if (line.kind === "dose") doses(line);
  else if (line.kind === "next") next(line);
  else if (line.kind === "text") {
    for (const [arm, words] of Object.entries(line.texts)) at(`said-${arm}`).textContent = words;
    at("mix-status").textContent = `${line.tokens} tokens`;
  } else if (line.kind === "done") at("mix-status").textContent = `Done: ${line.tokens} tokens.`;
}

const nats = (line) => (line.kl ? `, ${number(line.kl)} nats` : "");

function doses(line) {
  at("mix-status").textContent = "Writing";
  const there = { none: true, raw: line.raw, latents: line.latents };
  for (const arm of chosen().filter((one) => there[one])) document.querySelector(`[data-arm="${arm}"]`).classList.add("writing");
  at("latents-name").textContent = `${line.k} latents`;
  if (line.raw) at("dose-raw").textContent = `strength ${number(line.raw)}${nats(line)}`;
  if (line.latents) at("dose-latents").textContent = `strength ${number(line.latents)}${nats(line)}; ${line.said}`;
  if (line.refused) at("dose-latents").textContent = line.refused;
  at("parts").hidden = !line.parts.length;
  fill(at("part-chips"), ...line.parts.map((part) => make("button", {
    cls: `chip${facts.with_passages.includes(part.latent) ? " kept" : ""}`, set: { type: "button" }, title: `for ${part.emotions.join(", ")}`,
    on: { click: () => go.latent(part.latent) },
  }, `${part.latent} `, make("small", { text: number(part.amount, 3) }))));
}

function next(line) {
  at("next").hidden = false;
  const most = Math.max(...line.tokens.flatMap((one) => one.shares));
  fill(at("next-rows"), ...line.tokens.map((one) => make("tr", {}, make("th", { text: one.token, set: { scope: "row" } }),
    ...ARMS.map((arm) => {
      const share = one.shares[line.arms.indexOf(arm)];
      if (share === undefined) return make("td", { text: "\u2013" });
      return make("td", {}, make("div", { cls: "bar" }, make("span", { text: number(share, 3) }), make("i", { vars: { "--part": share / most } })));
    }))));
}
