// Runs in the page. Notes which rows are touched, and the longest piece of work that kept the page from answering.
const touched = new Set();
const waiting = [];
globalThis.work = {
  longestMs: 0,
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
new PerformanceObserver((list) => {
  for (const { duration } of list.getEntries())
    globalThis.work.longestMs = Math.max(globalThis.work.longestMs, duration);
}).observe({ type: 'longtask' });
