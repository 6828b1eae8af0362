// The tree of semantic IDs as blocks: a code each, sized by its items; what one item is left of is a leaf.

import { codesRow, lookUp, semanticIds } from "./codes.js";
import { byId, count, latest, make, nameOf } from "./dom.js";
import { addButton, changes, historyIds } from "./history.js";
import { ask, events } from "./server.js";
import { squares } from "./squares.js";

let shown = null; // the last answer of /tree, with the codes of the history's items

export function startTree() {
  const go = latest(find, show, fail);
  const open = (prefix, focus = false) => go(prefix, focus);
  byId("blocks").addEventListener("open", (event) => open(event.detail, true));
  changes.addEventListener("change", () => shown && open(shown.prefix));
  events.addEventListener("catalog", () => open([]));
  new ResizeObserver(() => shown && draw()).observe(byId("blocks"));
  return () => open([]);
}

async function find(signal, prefix) {
  const answer = await ask(`tree?${new URLSearchParams({ prefix: prefix.join(",") })}`, { signal });
  return { ...answer, history: await semanticIds(historyIds()) };
}

function show(answer, prefix, focus) {
  const moved = shown?.prefix.join() !== answer.prefix.join();
  shown = answer;
  byId("path").replaceChildren(...[...Array(answer.prefix.length + 1).keys()].map(step));
  byId("tree-status").textContent = summary(answer);
  if (moved) byId("leaf").hidden = true;
  draw();
  if (focus) byId("blocks").focus();
}

function fail(error) {
  byId("tree-status").textContent = error.message;
}

function summary({ items, prefix, levels, children, children_in_all: all }) {
  const listed = children.length < all ? `, the ${children.length} with most items shown` : "";
  return `${count(items, "item")}; code ${prefix.length + 1} of ${levels} takes ${count(all, "value")}${listed}`;
}

function step(length) {
  const codes = shown.prefix.slice(0, length);
  const here = length === shown.prefix.length;
  return make("li", {}, make("button", {
    type: "button", "aria-current": here && "location", disabled: here, onclick: () => goTo(codes),
  }, length ? String(codes.at(-1)) : "All items"));
}

function goTo(prefix) {
  byId("blocks").dispatchEvent(new CustomEvent("open", { detail: prefix }));
}

function draw() {
  const { clientWidth: width, clientHeight: height } = byId("blocks");
  const areas = squares(shown.children.map((child) => child.items), width, height);
  byId("blocks").replaceChildren(...shown.children.map((child, place) => block(child, areas[place])));
}

function block(child, area) {
  const codes = [...shown.prefix, child.code];
  const seen = shown.history.filter((id) => codes.every((code, level) => id[level] === code)).length;
  const mark = seen ? ` · ● ${seen} of the history` : "";
  const words = `Code ${child.code}, ${count(child.items, "item")}${mark}: ${child.titles.join(" / ")}`;
  const size = area.width < 26 || area.height < 18 ? "tiny" : area.width < 90 || area.height < 60 ? "small" : "";
  const button = make("button", {
    type: "button", title: words, "aria-label": words, class: `${size} ${seen ? "marked" : ""}`,
    onclick: () => (child.item_id === null ? goTo(codes) : showLeaf(child.item_id)),
  }, make("b", {}, `${child.code}${seen ? " ●" : ""}`), make("span", {}, count(child.items, "item")),
  make("span", {}, child.titles[0]));
  const place = make("li", {}, button);
  for (const [name, side] of Object.entries({ left: area.x, top: area.y, width: area.width, height: area.height })) {
    place.style[name] = `${side}px`;
  }
  return place;
}

async function showLeaf(id) {
  const leaf = byId("leaf");
  try {
    const { item, semantic_id: codes } = await lookUp(id);
    const facts = Object.entries(item).filter(([name, value]) => value !== null && name !== "title");
    leaf.replaceChildren(
      make("h3", {}, nameOf(item)), codesRow(codes, 0),
      make("dl", {}, ...facts.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, text(value))])),
      addButton(item));
  } catch (error) {
    leaf.replaceChildren(make("p", { class: "error" }, error.message));
  }
  leaf.hidden = false;
  leaf.focus();
}

function text(value) {
  if (Array.isArray(value)) return value.map(text).join(", ");
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
