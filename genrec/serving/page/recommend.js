// Recommendations for the history, asked anew whenever it changes, each with what is known of why.

import { evidence, semanticIds } from "./codes.js";
import { byId, count, latest, make, nameOf, row } from "./dom.js";
import { addButton, changes, historyIds, historyItems } from "./history.js";
import { ask } from "./server.js";

/** What a recommendation's basis means. */
const BASES = {
  "model": "from the history (model)",
  "model and query": "from history and words (model and query)",
  "query and popularity": "from the words and what sells (query and popularity)",
  "popularity": "what sells (popularity)",
};

const REASONS = 2;

export function startRecommend() {
  const recommend = latest(find, show, fail);
  byId("seen").indeterminate = true; // until somebody says
  const again = () => {
    byId("recommend-status").textContent = "Asking…";
    byId("recommend-error").textContent = "";
    recommend();
  };
  byId("options").addEventListener("submit", (event) => { event.preventDefault(); again(); });
  changes.addEventListener("change", () => byId("options").reportValidity() && again());
  return again;
}

async function find(signal) {
  const history = historyItems();
  const { recommendations, note } = await ask("recommend", { body: wanted(), signal });
  const ids = await semanticIds([...history, ...recommendations].map((item) => item.item_id));
  const past = history.map((item, place) => ({ item, codes: ids[place] }));
  const found = recommendations.map((item, place) => ({ item, codes: ids[history.length + place] }));
  return { past, found, note };
}

function wanted() {
  const query = byId("query").value.trim();
  const where = byId("where").value.split("\n").map((line) => line.trim()).filter(Boolean);
  const history = historyIds();
  const seen = byId("seen");
  const exclude_seen = seen.indeterminate ? null : seen.checked; // null: as the recommender does
  const body = { history, k: byId("k").valueAsNumber, exclude_seen, where };
  if (history.length) body.explain = REASONS;
  return query ? { ...body, query } : body;
}

function show({ past, found, note }) {
  byId("recommend-status").textContent = [words(found, past), note].filter(Boolean).join(". But ");
  byId("recommended").replaceChildren(...found.map(({ item, codes }) => {
    const small = `${item.item_id} · score ${item.score.toFixed(2)} · ${BASES[item.basis] ?? item.basis}`;
    return row(item, small, addButton(item), reasons(item), evidence(codes, past));
  }));
  byId("why").hidden = !found.length || !past.length;
}

/** What of the history an item's score hangs on, in a sentence; null where nobody asked. */
function reasons(item) {
  if (!item.reasons) return null;
  const parts = item.reasons.flatMap((reason, place) => {
    const fall = (-reason.score_change).toFixed(2);
    return [place ? "; without " : "Without ", make("b", {}, nameOf(reason)),
      place ? ` by ${fall}` : ` its score would fall by ${fall}`];
  });
  if (!parts.length) parts.push("No single item of the history raises its score");
  return make("p", { class: "reasons" }, ...parts, ".");
}

function words(found, past) {
  if (!found.length) return "No item meets all of this. Take away a condition, or keep the history's items in.";
  const of = past.length ? `a history of ${count(past.length, "item")}` : "an empty history";
  return `${count(found.length, "item")} for ${of}; scores are logarithms of probabilities`;
}

function fail(error) {
  byId("recommend-status").textContent = "";
  byId("recommend-error").textContent = error.message;
  byId("recommended").replaceChildren();
  byId("why").hidden = true;
}
