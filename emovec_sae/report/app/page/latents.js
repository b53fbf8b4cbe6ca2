// The dashboard of a latent: tokens, emotions, passages.

import { at, fill, heat, make, number, percent, problem } from "./dom.js";
import { lines } from "./net.js";
import { change } from "./state.js";

let facts, go, running;

export function start(told, jumps) {
  [facts, go] = [told, jumps];
  at("latent").max = facts.sae.latents - 1;
  at("latent-form").addEventListener("submit", (event) => { event.preventDefault(); run(); });
  at("latent").addEventListener("input", () => change({ latent: at("latent").value }));
  fill(at("of-emotion"), ...facts.listed.map((one) => make("option", { text: one.emotion, set: { value: one.emotion } })));
  at("of-emotion").addEventListener("change", listed);
  at("read-latent").addEventListener("click", () => go.text(at("latent").value));
}

export function restore(found) {
  at("latent").value = found.latent;
  change({ latent: found.latent });
  if (found.emotions?.length && facts.decomposed.includes(found.emotions[0])) at("of-emotion").value = found.emotions[0];
  listed();
}

function listed() {
  const own = facts.listed.find((one) => one.emotion === at("of-emotion").value)?.latents ?? [];
  fill(at("of-chips"), ...own.map((latent) => make("button", {
    text: latent, cls: `chip${facts.with_passages.includes(latent) ? " kept" : ""}`, set: { type: "button" },
    on: { click: () => { at("latent").value = latent; change({ latent }); run(); } },
  })));
}

export async function run() {
  running?.abort();
  const own = (running = new AbortController());
  problem();
  const latent = at("latent").value.trim();
  if (!/^\d{1,9}$/.test(latent)) return problem(`A latent is a whole number from 0 to ${facts.sae.latents - 1}.`);
  try {
    await lines(`api/latent/${latent}`, { signal: own.signal, each: draw });
  } catch (error) {
    if (running !== own) return;
    at("card").hidden = true;
    if (error.name !== "AbortError") problem(error.message);
  }
}

function draw(card) {
  at("latent-status").textContent = "";
  at("card").hidden = false;
  at("card-name").textContent = `Latent ${card.latent}`;
  const rate = card.firing_rate === null ? "How often it fires is not known." : `It fires on ${percent(card.firing_rate)} of the run's tokens${card.dense ? "; a dense latent, which no arm uses" : ""}.`;
  at("card-rate").textContent = rate;
  for (const side of ["up", "down"]) fill(at(`card-${side}`), ...card[side].map((token) => make("span", { text: token })));
  fill(at("card-emotions"), card.emotions.length ? shares(card.emotions) : make("p", { cls: "hint", text: "It is among the first latents of no emotion." }));
  const none = card.kept ? "It was active on no passage." : "The run kept no passages of this latent; emovec latents show reads them from the recorded texts.";
  fill(at("card-passages"), ...(card.passages.length ? card.passages.map(passage) : [make("p", { cls: "hint", text: none })]));
}

function shares(emotions) {
  const body = make("tbody", {}, ...emotions.slice(0, 8).map((one) => make("tr", {}, make("th", { text: one.emotion, set: { scope: "row" } }),
    make("td", { text: percent(one.share) }),
    make("td", { text: Number.isFinite(one.low) && one.low !== null ? `${percent(one.low)} to ${percent(one.high)}` : "" }),
    make("td", { text: `rank ${one.rank}` }))));
  return make("table", { cls: "shares" }, body);
}

function passage(one) {
  const words = make("p", { cls: "heat" });
  heat(words, { ...one, unit: "activation" });
  return make("div", { cls: "passage" }, words, make("footer", { text: `${one.emotion} \u00b7 ${one.id} \u00b7 largest ${number(one.largest, 1)}` }));
}
