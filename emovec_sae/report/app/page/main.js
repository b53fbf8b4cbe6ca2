// The page: it asks the server what the run is and what the address means, then each view works by itself.

import { at, make, problem, fill } from "./dom.js";
import { get } from "./net.js";
import { change, keep, share, state } from "./state.js";
import * as mix from "./mix.js";
import * as text from "./text.js";
import * as latents from "./latents.js";
import * as patch from "./patch.js";

const VIEWS = { mix, text, latents, patch };

function show(view) {
  change({ view });
  for (const name of Object.keys(VIEWS)) {
    const chosen = name === view;
    at(`view-${name}`).hidden = !chosen;
    at(`tab-${name}`).setAttribute("aria-selected", chosen);
    at(`tab-${name}`).tabIndex = chosen ? 0 : -1;
  }
  problem();
}

function arrows(event) {
  const names = Object.keys(VIEWS);
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  const next = names[(names.indexOf(event.target.dataset.view) + step + names.length) % names.length];
  show(next);
  at(`tab-${next}`).focus();
}

function head(facts) {
  document.title = `Explorer: ${facts.title}`;
  at("title").textContent = facts.title;
  fill(at("about"), make("b", { text: facts.model }), ` at ${facts.site}; ${facts.emotions.length} emotions, `,
    `${facts.decomposed.length} of them decomposed into ${facts.sae.latents.toLocaleString("en")} latents`);
  const options = facts.emotions.map((name) => make("option", { set: { value: name } }));
  fill(at("emotions"), ...options.map((one) => one.cloneNode()));
  fill(at("readable"), ...options);
}

async function boot() {
  const [facts, found] = await Promise.all([get("api/facts"), get(`api/state${location.search}`)]);
  Object.assign(state, found.state);
  head(facts);
  const go = {
    text: (read, words) => { text.restore({ ...state, read, ...(words ? { text: words } : {}) }); show("text"); text.run(); },
    latent: (latent) => { latents.restore({ latent }); show("latents"); latents.run(); },
  };
  for (const view of Object.values(VIEWS)) {
    view.start(facts, go);
    view.restore(state);
  }
  for (const tab of document.querySelectorAll("[role=tab]")) {
    tab.addEventListener("click", () => show(tab.dataset.view));
    tab.addEventListener("keydown", arrows);
  }
  for (const button of document.querySelectorAll(".share")) button.addEventListener("click", () => share(button));
  at("problem-close").addEventListener("click", () => problem());
  show(state.view);
  if (state.view === "latents") latents.run();
  if (found.refused.length) problem(`The address was restored in part. ${found.refused.join(". ")}.`);
  keep();
  at("main").setAttribute("aria-busy", "false");
}

boot().catch((error) => problem(error.message));
