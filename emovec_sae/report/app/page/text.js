// A text, shaded by how strongly an emotion or a latent is present at each token.

import { at, bars, heat, problem, scale } from "./dom.js";
import { lines } from "./net.js";
import { change } from "./state.js";

let go, running;

export function start(_facts, jumps) {
  go = jumps;
  at("text-form").addEventListener("submit", (event) => { event.preventDefault(); run(); });
  for (const name of ["text", "read"]) at(name).addEventListener("input", () => change({ [name]: at(name).value }));
}

export function restore(found) {
  at("text").value = found.text;
  at("read").value = found.read;
  change({ text: found.text, read: found.read });
}

export async function run() {
  running?.abort();
  const own = (running = new AbortController());
  problem();
  at("text-status").textContent = "Reading";
  const read = at("read").value.trim();
  const body = { text: at("text").value, readout: at("readout").value };
  Object.assign(body, /^\d+$/.test(read) ? { latent: Number(read) } : { emotion: read });
  try {
    await lines("api/heat", { body, signal: own.signal, each: draw });
  } catch (error) {
    if (running !== own) return;
    at("text-status").textContent = "Nothing was read.";
    at("heat-panel").hidden = at("whole").hidden = true;
    if (error.name !== "AbortError") problem(error.message);
  }
}

function draw(found) {
  at("text-status").textContent = `${found.pieces.length} tokens, ${found.whole.tokens} of them scored.`;
  at("heat-panel").hidden = at("whole").hidden = false;
  at("heat-name").textContent = found.what;
  at("heat-token").textContent = "Point at a token, or touch it, to see its value.";
  scale(at("heat-scale"), found.largest, found);
  heat(at("heat"), found, at("heat-token"));
  const again = (read) => { restore({ text: at("text").value, read: String(read) }); run(); };
  bars(at("whole-emotions"), found.whole.emotions.map((one) => ({ key: one.emotion, name: one.emotion, value: one.value })), again);
  bars(at("whole-latents"), found.whole.latents.map((one) => ({ key: one.latent, name: `latent ${one.latent}`, value: one.value })), again);
}
