// Runs in the page. Notes which rows are touched.
const touched = new Set();
const waiting = [];
globalThis.work = {
  /** Settles when so many rows have been touched; fails when more have. */
  touches: (rows) => new Promise((resolve, reject) => waiting.push({ rows, resolve, reject })),
};
new MutationObserver((changes) => {
  for (const { target } of changes) {
    const row = (target.nodeType === Node.ELEMENT_NODE ? target : target.parentElement)?.closest('.body .row');
    if (row) touched.add(row.querySelector('[data-row]').dataset.row);
  }
  for (const { rows, resolve, reject } of waiting) {
    if (touched.size === rows) resolve();
    else if (touched.size > rows) reject(new Error(`${touched.size} rows were touched`));
  }
}).observe(document.querySelector('#breakers'), {
  subtree: true,
  childList: true,
  characterData: true,
  attributes: true,
});
