// Titles of the next product, where the language model has learned to write them.

import { byId, latest, nameOf, row } from "./dom.js";
import { changes, historyIds } from "./history.js";
import { ask } from "./server.js";

const WRITTEN = 3;

export function startTitles() {
  const write = latest(
    (signal) => ask("titles", { body: { history: historyIds(), n: WRITTEN }, signal }),
    ({ titles }) => {
      byId("titles-status").textContent = titles.length ? "Likeliest first" : "No title came.";
      byId("titles").replaceChildren(...titles.map(line));
    },
    (error) => clear(error.message),
  );
  byId("write").addEventListener("click", () => { clear("Writing…"); write(); });
  changes.addEventListener("change", () => byId("titles").childElementCount && clear("The history has changed: write anew."));
}

function clear(words) {
  byId("titles-status").textContent = words;
  byId("titles").replaceChildren();
}

function line({ title, score, nearest }) {
  const near = nearest.map((item) => `${nameOf(item)} (${item.similarity.toFixed(2)})`).join("; ");
  return row({ title: title || "(empty)" }, near ? `nearest items: ${near}` : "no item is near", score.toFixed(2));
}
