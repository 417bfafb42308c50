// Many callers in one process, each of which waits for its answer, while the parent kills their server and starts it again.
'use strict';

const { Socket } = require('node:net');
const { join } = require('node:path');
const { setTimeout: sleep } = require('node:timers/promises');

const [client, callers, pauseMs, patienceMs, fromOpening] = process.argv.slice(2);
const { call, start } = require(`./clients/${client}.cjs`);

// Whoever waits for longer hangs, once no call needs to any more.
const HANGS_MS = 1_000;
const SAMPLE_MS = 100;
const SOME = 5;
const QUIET_MS = 2_000;

const isGuarded = process.execArgv.some((argument) => argument.includes('otel-breaker'));
const seen = {
  calls: 0,
  answered: 0,
  failed: 0,
  rejected: 0,
  unhandled: 0,
  failedConnects: 0,
  longestMs: 0,
  hanging: -1,
  hangingUntilMs: -1,
  openedMs: -1,
  firstAnswerMs: -1,
  lastFailureMs: -1,
  unfinished: 0,
  transitions: [],
  counted: {},
  errors: {},
};
const underWay = new Set();
let killedAt = Infinity;
let backAt = Infinity;
let failedAt = -Infinity;
/** From when on nobody needs to wait: see `Kill` in killed.ts. */
let hangingFrom = Infinity;
let ended = false;

process.on('unhandledRejection', () => seen.unhandled++);

const isOurs = (error) => error?.code === 'ERR_CIRCUIT_OPEN' || (error?.cause !== undefined && isOurs(error.cause));

async function caller() {
  while (!ended) {
    const startedAt = performance.now();
    const one = { startedAt };
    underWay.add(one);
    seen.calls++;
    let error;
    try {
      await call();
    } catch (thrown) {
      error = thrown;
    }
    underWay.delete(one);
    note(startedAt, performance.now(), error);
    await sleep(Number(pauseMs));
  }
}

function note(startedAt, now, error) {
  seen.longestMs = Math.max(seen.longestMs, now - startedAt);
  if (error === undefined) {
    seen.answered++;
    if (now >= backAt && seen.firstAnswerMs < 0) seen.firstAnswerMs = now - backAt;
    return;
  }
  seen.failed++;
  const kind = isOurs(error) ? 'rejected' : `${error.code ?? error.name}: ${String(error.message).slice(0, 60)}`;
  seen.errors[kind] = (seen.errors[kind] ?? 0) + 1;
  if (kind === 'rejected') seen.rejected++;
  failedAt = now;
  if (now >= backAt) seen.lastFailureMs = now - backAt;
  const waited = now - Math.max(startedAt, killedAt);
  if (now >= killedAt && fromOpening !== 'true' && waited >= 0.9 * Number(patienceMs))
    hangingFrom = Math.min(hangingFrom, now);
}

function sample() {
  const now = performance.now();
  // Those who began at the same moment as the first to give up have the time of their pauses.
  if (now < hangingFrom + Number(pauseMs) || backAt < Infinity) return;
  let hanging = 0;
  for (const { startedAt } of underWay) if (now - startedAt > HANGS_MS) hanging++;
  seen.hanging = Math.max(seen.hanging, hanging);
  if (hanging > SOME) seen.hangingUntilMs = now - killedAt;
}

// Nothing is added to a socket: its client might look.
const known = new WeakSet();
const { destroy } = Socket.prototype;
Socket.prototype.destroy = function (error, ...others) {
  if (error?.syscall === 'connect' && !known.has(error)) {
    known.add(error);
    seen.failedConnects++;
  }
  return destroy.call(this, error, ...others);
};

/** What the breakers count, and what of it was no call: connections that could not be made. */
const breakers = {
  evidence: 0,
  before: {},

  counts() {
    const sum = { success: 0, failure: 0, ignored: 0, rejected: 0, inFlight: 0 };
    const { globalRegistry } = require('otel-breaker');
    for (const { calls } of Object.values(globalRegistry.getAllStats())) {
      for (const key of Object.keys(sum)) sum[key] += calls[key];
    }
    return sum;
  },

  begin() {
    const { Guard } = require(join(__dirname, '../../dist/src/guard/guard.js'));
    const { globalRegistry } = require('otel-breaker');
    const { evidence } = Guard.prototype;
    Guard.prototype.evidence = function (...target) {
      const before = breakers.counts().inFlight;
      const permit = evidence.apply(this, target);
      breakers.evidence += breakers.counts().inFlight - before;
      return permit;
    };
    globalRegistry.onTransition(({ to, reason }) => {
      const now = performance.now();
      seen.transitions.push(`${Math.round(now - killedAt)} ms after the kill: ${to}, ${reason}`);
      if (to !== 'open' || now < killedAt || seen.openedMs >= 0) return;
      seen.openedMs = now - killedAt;
      if (fromOpening === 'true') hangingFrom = now;
    });
    breakers.before = breakers.counts();
  },

  end() {
    const counts = breakers.counts();
    for (const key of Object.keys(counts)) counts[key] -= breakers.before[key];
    return { ...counts, evidence: breakers.evidence };
  },
};

/** Resolves when calls have been answered since the return and none has failed for a while, or when it is time to give up. */
async function untilQuiet(atMost) {
  const giveUpAt = backAt + atMost;
  for (;;) {
    const now = performance.now();
    if (now >= giveUpAt) return;
    if (seen.firstAnswerMs >= 0 && now >= Math.max(backAt + seen.firstAnswerMs, failedAt) + QUIET_MS) return;
    await sleep(SAMPLE_MS);
  }
}

// Whoever ends the parent ends this as well.
process.on('disconnect', () => process.exit());

async function main() {
  await start?.();
  await call();
  process.on('message', async (message) => {
    if (message === 'begin') {
      if (isGuarded) breakers.begin();
      setInterval(sample, SAMPLE_MS);
      for (let count = 0; count < Number(callers); count++) {
        void caller();
        await sleep(Number(pauseMs) / Number(callers));
      }
    } else if (message === 'away') {
      killedAt = performance.now();
    } else if (typeof message === 'number') {
      backAt = performance.now();
      await untilQuiet(message);
      ended = true;
      const until = performance.now() + QUIET_MS;
      while (underWay.size > 0 && performance.now() < until) await sleep(20);
      seen.unfinished = underWay.size;
      if (isGuarded) seen.counted = breakers.end();
      process.send(seen, () => process.exit(0));
    }
  });
  process.send('ready');
}

void main();
