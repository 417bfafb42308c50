// Makes the calls of one library, all that can happen to them at once, and reports what its breakers say.
'use strict';

const { globalRegistry } = require('otel-breaker');
const { mocks } = require('./mocks.cjs');

const [file] = process.argv.slice(2);
/** @type {Record<string, Record<string, { url: string, breaker: string }>>} by way and happening */
const farEnds = JSON.parse(process.env.VERDICTS);
const ways = require(`./clients/${file}.cjs`);

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Longer than `abandonedAfter`, and shorter: both so much longer than answers take that a busy machine is no excuse.
const PATIENT = 1_200;
const IMPATIENT = 500;
// No call takes as long.
const HANGS = 8_000;

/**
 * Of one HTTP client: `before`, so many calls whose answers are good; `calls`, and how many milliseconds lie between them.
 * A target that never answers gets more calls than it takes: where our own loop stands, a timeout is excused.
 */
const WEB = {
  silent: { before: 1, calls: 12, every: 100, make: (way, url) => way.giveUp(url, PATIENT) },
  timeout: { before: 1, calls: 12, every: 50, make: (way, url) => way.giveUp(url, IMPATIENT) },
  cancel: { before: 1, calls: 6, every: 30, make: (way, url) => way.cancel(url, 200) },
  // No answer was ever good, so that it takes a silence of five seconds: until then, the failure that would open is ignored.
  syn: { cold: true, calls: 12, every: 400, make: (way, url) => way.giveUp(url, PATIENT) },
  tls: { cold: true, calls: 12, every: 400, make: (way, url) => way.giveUp(url, PATIENT) },
  reset: { calls: 5, every: 20, make: (way, url) => way.get(url) },
  stale: { before: 1, calls: 1, every: 20, make: (way, url) => way.get(url) },
  unread: { calls: 6, every: 20, make: (way, url) => way.unread(url) },
  cut: { calls: 5, every: 20, make: (way, url) => way.get(url) },
  events: { calls: 6, every: 20, make: (way, url) => way.events(url) },
  poll: { before: 1, calls: 2, every: 100, make: (way, url) => way.cancel(url, PATIENT) },
};

/** The longest time for which the event loop of this process did not turn. */
let stoodMs = 0;
let lookedAt = performance.now();
setInterval(() => {
  const now = performance.now();
  stoodMs = Math.max(stoodMs, now - lookedAt - 20);
  lookedAt = now;
}, 20).unref();

/** @returns what callers saw, for messages of failed tests */
async function call(way, { before = 0, cold = false, calls, every, make }, url, isInTurn) {
  const made = [];
  for (let n = 0; n < calls; n++) {
    made.push(Promise.race([make(way, url).then(() => 'an answer', String), sleep(HANGS).then(() => 'nothing')]));
    if (isInTurn) await made.at(-1);
    else if (n < calls - 1) await sleep(every);
  }
  return { before, cold, calls, saw: await Promise.all(made) };
}

/** What a breaker says once nothing is in flight, or has been for long enough. */
async function standing(name) {
  const breaker = globalRegistry.get(name);
  for (let tries = 0; tries < 25 && breaker?.stats().calls.inFlight > 0; tries++) await sleep(20);
  if (breaker === undefined) return { counts: undefined, state: 'none' };
  const { calls, state } = breaker.stats();
  return { counts: calls, state };
}

async function main() {
  // Loaded before anything is timed.
  for (const [name, ends] of Object.entries(farEnds)) {
    await ways[name].get?.(ends.warm.url);
    await ways[name].warmUp?.(ends);
  }
  await new Promise((resolve) => {
    process.once('message', resolve);
    process.send('ready');
  });
  const all = Object.entries(farEnds).flatMap(([name, ends]) =>
    Object.entries(ends).map(([happening, farEnd]) => ({ name, way: ways[name], happening, farEnd })),
  );
  // One after the other, so that no good answer is a slow one; but for the one that is.
  const polls = [];
  for (const { way, happening, farEnd } of all) {
    const { before = 0 } = (way.happenings === undefined && WEB[happening]) || {};
    if (happening === 'poll' && before > 0) polls.push(way.get(farEnd.url));
    else for (let n = 0; n < before; n++) await way.get(farEnd.url);
  }
  await Promise.all(polls);
  stoodMs = 0;
  const seen = {};
  const runs = all.map(async ({ name, way, happening, farEnd }) => {
    if (happening === 'warm') return;
    const own = way.happenings?.[happening];
    const ended =
      own === undefined ? call(way, WEB[happening], farEnd.url, way.inTurn?.includes(happening)) : own(farEnd);
    const hangs = sleep(2 * HANGS).then(() => ({ before: 0, calls: 0, saw: ['It goes on.'] }));
    const found = await Promise.race([ended, hangs]);
    (seen[name] ??= {})[happening] = { ...found, ...(await standing(farEnd.breaker)) };
  });
  await Promise.all(runs);
  // At the end: they put themselves in the place of the modules of Node.
  for (const name of Object.keys(farEnds)) {
    for (const kind of ways[name].mocks ?? []) (seen[name].mock ??= []).push(await mocks[kind](ways[name], name));
  }
  process.send({ seen, stoodMs }, () => process.exit(0));
}

void main();
