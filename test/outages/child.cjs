// Calls one server in one pattern while the parent takes it away and brings it back, and reports what its callers saw.
'use strict';

const [client, pattern, everyMs] = process.argv.slice(2);
const { call, arrived, start } = require(`./clients/${client}.cjs`);

const seen = { calls: 0, failed: 0, longestMs: 0, lastFailureAt: 0, blockedMs: 0, cpuMs: 0, lastError: '' };
const pending = new Set();
let running = true;

/** A call whose outcome its caller looks at. */
async function observed(make = call) {
  const startedAt = Date.now();
  seen.calls++;
  const made = make();
  pending.add(made);
  try {
    await made;
  } catch (error) {
    seen.failed++;
    seen.lastFailureAt = Date.now();
    seen.lastError = String(error);
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

  /** A consumer that tries again at once. */
  'tight loop'() {
    void (async () => {
      while (running) await observed();
    })();
    return () => {};
  },
};

function watchEventLoop() {
  let last = performance.now();
  setInterval(() => {
    const now = performance.now();
    seen.blockedMs = Math.max(seen.blockedMs, now - last - 10);
    last = now;
  }, 10).unref();
}

async function main() {
  await start?.({ observed, seen });
  await call();
  const stop = patterns[pattern]();
  let cpu;
  process.on('message', async (message) => {
    if (message === 'away') {
      cpu = process.cpuUsage();
      watchEventLoop();
    } else if (message === 'back') {
      const { user, system } = process.cpuUsage(cpu);
      seen.cpuMs = (user + system) / 1000;
    } else {
      running = false;
      stop();
      // A command may be executed twice: its answer was lost. What still waits has as long as the parent has patience.
      await Promise.allSettled(pending);
      if (pattern === 'fire-and-forget') seen.failed = Math.max(0, seen.calls - (await arrived()));
      process.send(seen, () => process.exit(0));
    }
  });
  process.send('ready');
}

void main();
