// Many buttons as one stop of the Tab key: arrow keys, Home and End go from one to the next.

const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -Infinity, End: Infinity };

/** Listen for the keys; the buttons may be replaced at any time, `stopAt` then names the one to stop at. */
export function rove(list) {
  list.addEventListener("keydown", (event) => {
    const step = STEPS[event.key];
    const buttons = [...list.querySelectorAll("button")];
    const place = buttons.indexOf(event.target);
    if (!step || place < 0) return;
    event.preventDefault();
    const next = buttons[Math.min(Math.max(place + step, 0), buttons.length - 1)];
    stopAt(list, next);
    next.focus();
  });
}

export function stopAt(list, stop = list.querySelector("button")) {
  for (const button of list.querySelectorAll("button")) button.tabIndex = button === stop ? 0 : -1;
}
