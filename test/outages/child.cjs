// Calls one server in one pattern while the parent takes it away and brings it back, and reports what its callers saw.
'use strict';

const { setTimeout: sleep } = require('node:timers/promises');

const [client, pattern, everyMs, quietMs, patienceMs] = process.argv.slice(2);
const { call, arrived, start } = require(`./clients/${client}.cjs`);

const seen = { calls: 0, failed: 0, longestMs: 0, lastFailureAt: 0, blockedMs: 0, cpuMs: 0, lastError: '' };
const pending = new Set();
let running = true;

/** A call whose outcome its caller looks at. @returns whether it succeeded */
async function observed() {
  const startedAt = Date.now();
  seen.calls++;
  const made = call();
  pending.add(made);
  try {
    await made;
    return true;
  } catch (error) {
    seen.failed++;
    seen.lastFailureAt = Date.now();
    seen.lastError = String(error);
    return false;
  } finally {
    pending.delete(made);
    seen.longestMs = Math.max(seen.longestMs, Date.now() - startedAt);
  }
}

const patterns = {
  /** Users come and wait for their answers. */
  awaited() {
    const timer = setInterval(() => void observed(), Number(everyMs));
    return () => clearInterval(timer);
  },

  /** Nobody waits, and nobody would catch an error. */
  'fire-and-forget'() {
    const timer = setInterval(() => {
      seen.calls++;
      void call();
    }, Number(everyMs));
    return () => clearInterval(timer);
  },

  /** A consumer that works on what it gets for a moment, and tries again at once where it gets nothing. */
  'tight loop'() {
    void (async () => {
      while (running) if (await observed()) await sleep(5);
    })();
    return () => {};
  },
};

function watchEventLoop() {
  const everyMs = 10;
  let last = performance.now();
  let cpu = process.cpuUsage();
  setInterval(() => {
    const now = performance.now();
    const { user, system } = process.cpuUsage(cpu);
    // On a busy machine a loop is late since others run. It is blocked for as long as this process works.
    seen.blockedMs = Math.max(seen.blockedMs, Math.min(now - last - everyMs, (user + system) / 1_000));
    last = now;
    cpu = process.cpuUsage();
  }, everyMs).unref();
}

/** Resolves when the server is back and no call has failed for a while, or when it is time to give up. */
async function untilQuiet(returnedAt) {
  const giveUpAt = returnedAt + Number(patienceMs);
  for (;;) {
    const now = Date.now();
    const end = Math.min(Math.max(returnedAt, seen.lastFailureAt) + Number(quietMs), giveUpAt);
    if (now >= end) return;
    await sleep(end - now);
  }
}

// Whoever ends the parent ends this as well.
process.on('disconnect', () => process.exit());

async function main() {
  await start?.();
  await call();
  let stop;
  let cpu;
  process.on('message', async (message) => {
    if (message === 'begin') {
      stop = patterns[pattern]();
    } else if (message === 'away') {
      cpu = process.cpuUsage();
      watchEventLoop();
    } else if (message === 'about to return') {
      const { user, system } = process.cpuUsage(cpu);
      seen.cpuMs = (user + system) / 1_000;
    } else {
      await untilQuiet(Date.now());
      running = false;
      stop();
      // What still waits has as long as the parent has patience.
      await Promise.allSettled(pending);
      // A call may be made twice, since its answer was lost. The first one was made before the pattern began.
      if (pattern === 'fire-and-forget') seen.failed = Math.max(0, seen.calls + 1 - (await arrived()));
      process.send(seen, () => process.exit(0));
    }
  });
  process.send('ready');
}

void main();
