// Elements and their text. Text becomes text nodes: nothing here reads it as HTML.

export const byId = (id) => document.getElementById(id);

/** An element with attributes (null and false: left out), listeners (`onclick: f`) and children. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value != null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

/** A row of a list: a title with small print below it, and what stands at its end. */
export function row(item, small, end, ...more) {
  return make("li", { class: "item" },
    make("div", {}, nameOf(item), make("small", {}, small)),
    end,
    ...more.map((part) => part && make("div", { class: "more" }, part)));
}

export const nameOf = (item) => item.title || item.item_id;

export function count(number, one, many = `${one}s`) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

/** Wraps an asking function: of calls that overlap only the last one's outcome is shown. */
export function latest(asking, show, fail) {
  let running = null;
  return async (...given) => {
    running?.abort();
    const mine = running = new AbortController();
    try {
      const found = await asking(mine.signal, ...given);
      if (running === mine) show(found, ...given);
    } catch (error) {
      if (running === mine) fail(error);
    }
  };
}
