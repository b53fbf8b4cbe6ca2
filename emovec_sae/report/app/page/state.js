// One state, kept in the address so that a link restores it.

import { problem } from "./dom.js";

export const state = {};
const MIX = ["k", "prompt", "seed", "tokens", "temperature"];
const FIELDS = { mix: MIX, text: ["text", "read"], latents: ["latent"], patch: ["source", "target", "source_answer", "target_answer", "what"] };

// The address says the view, and all that this view needs.
export function address() {
  const query = new URLSearchParams({ view: state.view });
  if (state.view === "mix") {
    query.set("emotions", state.emotions.join(","));
    query.set("strengths", state.strengths.join(","));
  }
  for (const name of FIELDS[state.view]) if (state[name] !== "") query.set(name, state[name]);
  return `${location.origin}${location.pathname}?${query}`;
}

export const keep = () => history.replaceState(null, "", address());

export function change(values) {
  Object.assign(state, values);
  keep();
}

export async function share(button) {
  keep();
  try {
    await navigator.clipboard.writeText(address());
    button.textContent = "Link copied";
  } catch {
    problem("The link could not be copied; the address of this page is the link.");
  }
  setTimeout(() => { button.textContent = "Copy link"; }, 2000);
}
