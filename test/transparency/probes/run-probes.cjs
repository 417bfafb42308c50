'use strict';

const { shapeOf } = require('./shape.cjs');

/** Runs the probes of a family of clients, tells the parent process of each that begins, and sends what was seen. */
function runProbes(...args) {
  return runAll(...args).catch((error) => {
    console.error(error);
    process.exit(1);
  });
}

async function runAll(witness, family, clients) {
  const { probes, exits, prepare, tidy, names, ...chances } = require(`./${family}.cjs`);
  const { addresses, only } = JSON.parse(process.env.TRANSPARENCY);
  if (only?.exit !== undefined) return exits[only.exit]({ ...addresses, clients });
  const { unheard, chance, promiseOfOurs } = chances;
  Object.assign(witness, { unheard, chance, promiseOfOurs });
  await prepare?.({ clients });
  const seen = {};
  for (const [name, probe] of Object.entries(probes)) {
    if (only !== undefined && !only.includes(name)) continue;
    const context = { witness, clients, ...addresses };
    const whole = async () => {
      try {
        await probe(context);
      } finally {
        await tidy?.(context);
      }
    };
    await ask({ begin: name });
    seen[name] = await witness.watch(name, whole, () => ask({ end: name }));
  }
  const shape = shapeOf(Object.fromEntries(clients.map((client, index) => [names[index], client])));
  process.send({ seen, shape, exits: Object.keys(exits), guarded: guardedCalls() }, () => process.disconnect());
}

function ask(message) {
  return new Promise((resolve) => {
    process.once('message', resolve);
    process.send(message);
  });
}

/** How many calls the preload has seen; none where there is no preload. */
function guardedCalls() {
  if (!process.execArgv.some((argument) => argument.startsWith('otel-breaker'))) return undefined;
  const calls = require('otel-breaker')
    .globalRegistry.getAllStats()
    .map((stats) => stats.calls);
  return {
    allowed: calls.reduce(
      (sum, { success, failure, ignored, inFlight }) => sum + success + failure + ignored + inFlight,
      0,
    ),
    rejected: calls.reduce((sum, { rejected }) => sum + rejected, 0),
  };
}

module.exports = { runProbes };
