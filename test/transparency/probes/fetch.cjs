// What applications do with the `fetch` that is within Node.
'use strict';

const { fetchProbes } = require('./undici.cjs');

const GLOBAL_DISPATCHER = Symbol.for('undici.globalDispatcher.1');

const probes = fetchProbes(() => globalThis);

const exits = {
  'a promise that nobody handles': async ({ deadOrigin }) => {
    await fetch(deadOrigin);
  },
  'an answer that nobody reads': async ({ origin }) => {
    await fetch(origin);
    console.log('answered');
  },
};

/** Lets go of connections, and has the next probe begin with none. */
async function tidy() {
  const { constructor: Agent } = globalThis[GLOBAL_DISPATCHER];
  await globalThis[GLOBAL_DISPATCHER].destroy();
  globalThis[GLOBAL_DISPATCHER] = new Agent();
}

module.exports = { names: [], probes, exits, tidy };
