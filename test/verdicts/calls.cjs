// How the programs in `clients/` make calls, whatever they call.
'use strict';

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** What became of a call. */
const outcome = (made) => made.then(() => 'an answer', String);

/** Calls of which each begins a while after the one before. */
async function staggered(calls, every, make) {
  const made = [];
  for (let n = 0; n < calls; n++) {
    made.push(outcome(make(n)));
    await sleep(every);
  }
  return Promise.all(made);
}

/** Calls of which each waits for the end of the one before. */
async function oneByOne(calls, make) {
  const saw = [];
  for (let n = 0; n < calls; n++) saw.push(await outcome(make()));
  return saw;
}

module.exports = { oneByOne, outcome, sleep, staggered };
