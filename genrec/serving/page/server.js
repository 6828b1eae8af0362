// Asking the server: one way for every route, and errors as sentences.

const TOKEN = "genrec-token";
let catalog = null;

/** Dispatches `token` when one is needed, and `catalog` when another one answers than before. */
export const events = new EventTarget();

export function useToken(token) {
  sessionStorage.setItem(TOKEN, token);
}

/** The answer to a request, as JSON; a body makes it a POST. Throws an `Error` that can be shown. */
export async function ask(path, { body, signal } = {}) {
  const headers = {};
  const token = sessionStorage.getItem(TOKEN);
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body) headers["Content-Type"] = "application/json";
  const response = await send(path, { method: body ? "POST" : "GET", headers, signal, body: body && JSON.stringify(body) });
  const answer = await response.json().catch(() => ({}));
  if (response.status === 401) {
    events.dispatchEvent(new CustomEvent("token", { detail: { wrong: Boolean(token) } }));
    throw new Error("The server needs a token: enter it at the top of the page.");
  }
  if (!response.ok) throw new Error(sentence(answer.error ?? `the server answered with status ${response.status}`));
  notice(answer.catalog);
  return answer;
}

async function send(path, options) {
  try {
    return await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer. Is it running, and are you connected?");
  }
}

function notice(name) {
  if (!name || name === catalog) return;
  const before = catalog;
  catalog = name;
  if (before) events.dispatchEvent(new Event("catalog"));
}

function sentence(words) {
  return words.charAt(0).toUpperCase() + words.slice(1) + (/[.!?]$/.test(words) ? "" : ".");
}
