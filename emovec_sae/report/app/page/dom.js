// Small helpers; text always goes in as text, never as HTML.

export const at = (id) => document.getElementById(id);

export function make(tag, options = {}, ...children) {
  const found = document.createElement(tag);
  const { text, cls, title, set = {}, vars = {}, on = {} } = options;
  if (text !== undefined) found.textContent = text;
  if (cls) found.className = cls;
  if (title) found.title = title;
  for (const [name, value] of Object.entries(set)) found.setAttribute(name, value);
  for (const [name, value] of Object.entries(vars)) found.style.setProperty(name, value);
  for (const [name, listener] of Object.entries(on)) found.addEventListener(name, listener);
  found.append(...children);
  return found;
}

export const fill = (place, ...children) => place.replaceChildren(...children);

// A number as people read it, with a true minus.
export function number(value, digits = 2) {
  return value.toFixed(digits).replace("-", "\u2212");
}

export const percent = (value) => `${number(100 * value, Math.abs(value) < 0.1 ? 1 : 0)} %`;

export function problem(text) {
  at("problem-text").textContent = text ?? "";
  at("problem").hidden = !text;
}

// Texts with a value a token: shaded, marked below (dotted for negative), the value as a tooltip and on touch.
export function heat(place, { pieces, values, largest, unit }, told) {
  const spans = pieces.flatMap((whole, index) => {
    const value = values[index];
    if (value === null) {
      const why = "not scored: the first token and special ones are sinks";
      return [make("span", { text: whole, cls: "unread", title: why })];
    }
    // The blank before a word belongs to its token, but shaded it would hang at the end of a line.
    const piece = whole.trimStart() || whole;
    const before = whole.slice(0, whole.length - piece.length);
    const share = largest > 0 ? Math.abs(value) / largest : 0;
    const cls = value > 0 ? "plus" : value < 0 ? "minus" : "";
    const title = `${number(value, 3)} ${unit}`;
    const point = (event) => {
      place.querySelector(".at")?.classList.remove("at");
      event.target.classList.add("at");
      if (told) told.textContent = `\u201c${piece.trim() || "\u2423"}\u201d: ${title}`;
    };
    return [before, make("span", { text: piece, cls, title, vars: { "--a": share.toFixed(3) }, on: { mouseenter: point, click: point } })];
  });
  fill(place, ...spans);
}

export function scale(place, largest, { signed, unit }) {
  const low = signed ? number(-largest) : "0";
  fill(place, make("span", { text: low }), make("i", { cls: signed ? "signed" : "unsigned" }),
    make("span", { text: `${number(largest)} ${unit}` }));
}

export function bars(place, rows, chosen) {
  const most = Math.max(...rows.map((row) => Math.abs(row.value)), 1e-9);
  fill(place, ...rows.map((row) => make("button", { set: { type: "button" }, on: { click: () => chosen(row.key) } },
    make("span", { text: row.name }),
    make("i", { cls: row.value < 0 ? "under" : "", vars: { "--part": Math.abs(row.value) / most } }),
    make("b", { text: number(row.value) }))));
}
