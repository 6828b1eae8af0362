// Items by words of their titles.

import { byId, count, latest, row } from "./dom.js";
import { addButton } from "./history.js";
import { ask } from "./server.js";

const SHOWN = 6;

export function startSearch() {
  const find = latest(
    (signal, words) => ask(`search?${new URLSearchParams({ q: words, k: SHOWN })}`, { signal }),
    show,
    (error) => { byId("search-status").textContent = error.message; },
  );
  byId("search-form").addEventListener("submit", (event) => {
    event.preventDefault();
    byId("search-status").textContent = "Searching…";
    find(byId("words").value);
  });
}

function show({ items }, words) {
  byId("search-status").textContent = items.length
    ? `${count(items.length, "item")} nearest to “${words}”`
    : `No title has a word of “${words}”.`;
  byId("found").replaceChildren(...items.map((item) => row(item, item.item_id, addButton(item))));
}
