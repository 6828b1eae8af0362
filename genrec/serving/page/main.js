// Puts the parts of the page together, and asks for a token where the server needs one.

import { byId, count } from "./dom.js";
import { startHistory } from "./history.js";
import { startRecommend } from "./recommend.js";
import { startSearch } from "./search.js";
import { ask, events, useToken } from "./server.js";
import { startTitles } from "./titles.js";
import { startTree } from "./tree.js";

async function showFacts() {
  try {
    const { items, catalog, version } = await ask("health");
    byId("facts").textContent = `${count(items, "item")} · catalog ${catalog} · version ${version}`;
  } catch (error) {
    byId("facts").textContent = error.message;
  }
}

function startToken(begin) {
  events.addEventListener("token", ({ detail }) => {
    const form = byId("token-form");
    if (form.hidden) {
      form.hidden = false;
      byId("token").focus();
    }
    byId("token-error").textContent = detail.wrong ? "The server does not know this token." : "";
  });
  byId("token-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const token = byId("token").value.trim();
    if (!/^[!-~]+$/.test(token)) {
      byId("token-error").textContent = "A token has letters, digits and signs of ASCII, without spaces.";
      return;
    }
    useToken(token);
    byId("token").value = "";
    byId("token-error").textContent = "";
    byId("token-form").hidden = true;
    begin();
  });
}

startHistory();
startSearch();
startTitles();
const recommend = startRecommend();
const openTree = startTree();
events.addEventListener("catalog", () => { showFacts(); recommend(); });
function begin() {
  recommend();
  openTree();
}
startToken(begin);
showFacts();
begin();
