// The list of several sweeps that are served: how far each has come, renewed while somebody looks.

import { setText } from "./groups.js";

const SOON_MS = 2000;
// Of a page that nobody sees.
const LATER_MS = 15000;

/** Show the list in the colours that this screen prefers, and keep it new. @param {HTMLElement} list @param {HTMLElement} problem */
export function startList(list, problem) {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const colour = () => { document.documentElement.dataset.theme = dark.matches ? "dark" : "light"; };
  dark.addEventListener("change", colour);
  colour();
  renew(list, problem);
}

/** Renew the rows of the list, again and again. @param {HTMLElement} list @param {HTMLElement} problem */
async function renew(list, problem) {
  try {
    const reply = await fetch("sweeps", { cache: "no-store" });
    if (!reply.ok) throw new Error(`the server answered ${reply.status}`);
    const rows = await reply.json();
    rows.forEach((/** @type {any} */ row, /** @type {number} */ i) => {
      const [progress, found] = list.children[i].querySelectorAll("p");
      setText(progress, row.progress);
      setText(found, row.found);
      progress.classList.toggle("ended", row.is_done);
    });
    problem.hidden = true;
  } catch (error) {
    problem.textContent = `Not reached: ${error instanceof Error ? error.message : error}; trying again.`;
    problem.hidden = false;
  }
  setTimeout(() => renew(list, problem), document.hidden ? LATER_MS : SOON_MS);
}
