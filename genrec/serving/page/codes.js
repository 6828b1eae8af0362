// Semantic IDs, and what two of them have in common: their first codes, as far as they agree.

import { make, nameOf } from "./dom.js";
import { ask, events } from "./server.js";

const known = new Map();
events.addEventListener("catalog", () => known.clear());

/** All that the server knows of an item: `item` and `semantic_id`. */
export function lookUp(id) {
  if (!known.has(id)) {
    const asked = ask(`items/${encodeURIComponent(id)}`);
    known.set(id, asked);
    asked.catch(() => known.delete(id));
  }
  return known.get(id);
}

/** The semantic IDs of some items, in their order. */
export async function semanticIds(ids) {
  return (await Promise.all(ids.map(lookUp))).map((found) => found.semantic_id);
}

export function sharedCodes(one, other) {
  let length = 0;
  while (length < one.length && one[length] === other[length]) length += 1;
  return length;
}

/** A semantic ID whose first `shared` codes are marked. */
export function codesRow(codes, shared) {
  const words = `semantic ID ${codes.join(", ")}` + (shared ? `; the first ${shared} shared` : "");
  return make("span", { class: "codes", role: "img", "aria-label": words },
    ...codes.map((code, level) => make("span", { class: level < shared ? "code same" : "code" }, String(code))));
}

/** A result's semantic ID beside those of a history, whose items are `{item, codes}`. */
export function evidence(codes, history) {
  const pairs = history.map(({ item, codes: other }) => ({ item, other, shared: sharedCodes(codes, other) }));
  const most = Math.max(0, ...pairs.map((pair) => pair.shared));
  const parts = make("div", {}, codesRow(codes, most));
  if (!pairs.length) return parts;
  const nearest = pairs.filter((pair) => most && pair.shared === most);
  parts.append(make("p", { class: "evidence" }, sentence(most, codes.length, nearest)));
  parts.append(make("details", {},
    make("summary", {}, "Beside the history"),
    make("ul", { class: "beside" }, ...pairs.map(({ item, other, shared }) =>
      make("li", {}, codesRow(other, shared), make("span", {}, nameOf(item)))))));
  return parts;
}

function sentence(most, levels, nearest) {
  if (!most) return "Shares no first code with the history.";
  const names = [...new Set(nearest.map(({ item }) => nameOf(item)))];
  const others = names.length > 1 ? ` and ${names.length - 1} more of the history` : "";
  const codes = most === 1 ? `first code of ${levels}` : `first ${most} codes of ${levels}`;
  return most === levels ? "This is in the history." : `Same ${codes} as ${names[0]}${others}.`;
}
