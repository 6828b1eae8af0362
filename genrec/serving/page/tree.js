// The tree of semantic IDs as blocks: a code each, sized by its items; what one item is left of is a leaf.

import { codesRow, lookUp, semanticIds } from "./codes.js";
import { byId, count, latest, make, nameOf } from "./dom.js";
import { addButton, changes, historyIds } from "./history.js";
import { ask, events } from "./server.js";
import { rove, stopAt } from "./rove.js";
import { squares } from "./squares.js";

const room = () => (byId("blocks").clientWidth < 500 ? 64 : 256); // blocks that can be read and hit
const BORDERS = 8; // of a block, above and below its words, in pixels
const rem = () => parseFloat(getComputedStyle(document.documentElement).fontSize); // a line of a block is as high
let shown = null; // the last answer of /tree, with the codes of the history's items

export function startTree() {
  const go = latest(find, show, fail);
  const open = (prefix, skip = 0, focus = false) => go(prefix, skip, focus);
  byId("blocks").addEventListener("open", (event) => open(event.detail, 0, true));
  rove(byId("blocks"));
  byId("earlier").addEventListener("click", () => open(shown.prefix, Math.max(0, shown.skip - room())));
  byId("later").addEventListener("click", () => open(shown.prefix, shown.skip + shown.children.length));
  changes.addEventListener("change", () => shown && open(shown.prefix, shown.skip));
  events.addEventListener("catalog", () => open([]));
  new ResizeObserver(() => shown && draw()).observe(byId("blocks"));
  return () => open([]);
}

async function find(signal, prefix, skip) {
  const place = new URLSearchParams({ prefix: prefix.join(","), k: room(), skip });
  const answer = await ask(`tree?${place}`, { signal });
  return { ...answer, skip, history: await semanticIds(historyIds()) };
}

function show(answer, prefix, skip, focus) {
  const moved = shown?.prefix.join() !== answer.prefix.join();
  shown = answer;
  byId("path").replaceChildren(...[...Array(answer.prefix.length + 1).keys()].map(step));
  byId("tree-status").textContent = summary(answer);
  byId("pages").hidden = answer.children_in_all <= answer.children.length;
  byId("earlier").disabled = !skip;
  byId("later").disabled = skip + answer.children.length >= answer.children_in_all;
  if (moved) byId("leaf").hidden = true;
  draw();
  if (focus) byId("blocks").querySelector("button")?.focus();
}

function fail(error) {
  byId("tree-status").textContent = error.message;
}

function summary({ items, prefix, levels, children, skip, children_in_all: all }) {
  const listed = children.length < all ? `: here ${skip + 1} to ${skip + children.length}, most items first` : "";
  return `${count(items, "item")}; code ${prefix.length + 1} of ${levels} has ${count(all, "value")}${listed}`;
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
  const list = byId("blocks");
  const { clientWidth: width, clientHeight: height } = list;
  const place = [...list.querySelectorAll("button")].indexOf(document.activeElement);
  const areas = squares(shown.children.map((child) => child.items), width, height);
  list.replaceChildren(...shown.children.map((child, at) => block(child, areas[at])));
  const focused = list.querySelectorAll("button")[place];
  stopAt(list, focused);
  focused?.focus();
}

function block(child, area) {
  const codes = [...shown.prefix, child.code];
  const seen = shown.history.filter((id) => codes.every((code, level) => id[level] === code)).length;
  const mark = seen ? ` · ● ${seen} of the history` : "";
  const words = `Code ${child.code}, ${count(child.items, "item")}${mark}: ${child.titles.join(" / ")}`;
  const size = area.width < 26 || area.height < 18 ? "tiny" : area.width < 66 || area.height < 44 ? "small" : "";
  const button = make("button", {
    type: "button", title: words, "aria-label": words, class: `${size} ${seen ? "marked" : ""}`,
    onclick: () => (child.item_id === null ? goTo(codes) : showLeaf(child.item_id)),
  },
  make("b", {}, `${child.code}${seen ? " ●" : ""}`),
  child.item_id === null ? make("span", { class: "number" }, count(child.items, "item")) : null,
  title(child, area));
  const place = make("li", {}, button);
  for (const [name, side] of Object.entries({ left: area.x, top: area.y, width: area.width, height: area.height })) {
    place.style[name] = `${side}px`;
  }
  return place;
}

/** The first title of a block, in the whole lines that are free below what else it says. */
function title(child, area) {
  const lines = Math.floor((area.height - BORDERS) / rem()) - (child.item_id === null ? 2 : 1);
  const words = make("span", { hidden: lines < 1 || area.width < 80 }, child.titles[0]);
  words.style.webkitLineClamp = lines;
  return words;
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
