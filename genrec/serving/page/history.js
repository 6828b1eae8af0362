// The history: an ordered list of items that the other parts read and watch.

import { byId, make, nameOf, row } from "./dom.js";

export const changes = new EventTarget();
let items = [];

export const historyItems = () => items;
export const historyIds = () => items.map((item) => item.item_id);

export function addButton(item) {
  return make("button", {
    type: "button", "aria-label": `Add to the history: ${nameOf(item)}`, onclick: () => add(item),
  }, "Add");
}

export function startHistory() {
  byId("clear").addEventListener("click", () => {
    change([], "The history is empty.");
    byId("history-heading").focus();
  });
  show();
}

function add(item) {
  change([...items, { item_id: item.item_id, title: item.title }], `Added to the history: ${nameOf(item)}`);
}

function change(next, words) {
  items = next;
  show();
  byId("history-status").textContent = words;
  changes.dispatchEvent(new Event("change"));
}

function move(place, by) {
  const next = [...items];
  const [item] = next.splice(place, 1);
  next.splice(place + by, 0, item);
  change(next, `${nameOf(item)} is now number ${place + by + 1} of ${next.length}`);
  // The keyboard stays with the item; at an end its button is off, so the other one takes over.
  const buttons = byId("history").children[place + by].querySelectorAll("button");
  const wanted = by < 0 ? buttons[0] : buttons[1];
  (wanted.disabled ? buttons[by < 0 ? 1 : 0] : wanted).focus();
}

function remove(place) {
  const name = nameOf(items[place]);
  change(items.filter((_, other) => other !== place), `Removed from the history: ${name}`);
  const rows = byId("history").children;
  if (rows.length) rows[Math.min(place, rows.length - 1)].querySelector("button:last-child").focus();
  else byId("history-heading").focus();
}

function show() {
  byId("history").replaceChildren(...items.map((item, place) => row(item, item.item_id, buttons(item, place))));
  byId("history-hint").hidden = items.length > 0;
  byId("clear").hidden = !items.length;
}

function buttons(item, place) {
  const button = (sign, words, onclick, disabled = false) =>
    make("button", { type: "button", "aria-label": `${words}: ${nameOf(item)}`, title: words, onclick, disabled }, sign);
  return make("div", { class: "buttons" },
    button("↑", "Move earlier", () => move(place, -1), place === 0),
    button("↓", "Move later", () => move(place, 1), place === items.length - 1),
    button("×", "Remove", () => remove(place)));
}
