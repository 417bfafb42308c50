// What 100,000 rejected calls leave behind: memory should return to where it was.
//
//     npx tsx bench/fetch-memory.ts
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { request } from 'undici';
import { UndiciBreakerInstrumentation } from '../instrumentations/undici/undici-instrumentation.js';
import { CircuitBreakerRegistry } from '../src/breaker/registry.js';
import { Guard } from '../src/guard/guard.js';
import { RuleSet } from '../src/rules/rule-set.js';

const CALLS = 100_000;
const AT_ONCE = 100;
const ORIGIN = 'http://unreachable.test';

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;

const clients: Readonly<Record<string, () => Promise<unknown>>> = {
  fetch: () => fetch(ORIGIN),
  'fetch with a body': () => fetch(ORIGIN, { method: 'POST', body: 'x'.repeat(1_000) }),
  'undici.request': () => request(ORIGIN),
};

async function reject(call: () => Promise<unknown>, times: number): Promise<void> {
  for (let made = 0; made < times; made += AT_ONCE) {
    await Promise.all(Array.from({ length: AT_ONCE }, () => call().catch(() => {})));
  }
}

/** Bytes of live objects. Finalizers run between the collections and may release more. */
async function livingBytes(): Promise<number> {
  for (let round = 0; round < 5; round++) {
    gc();
    await new Promise((resolve) => setImmediate(resolve));
  }
  const { heapUsed, external, arrayBuffers } = process.memoryUsage();
  return heapUsed + external + arrayBuffers;
}

async function main(): Promise<void> {
  const registry = new CircuitBreakerRegistry();
  new UndiciBreakerInstrumentation({}, new Guard(registry, new RuleSet()));
  for (const whenOpen of ['throw', 'respond'] as const) {
    for (const [name, client] of Object.entries(clients)) {
      registry.clear();
      const breaker = registry.getOrCreate(ORIGIN, { whenOpen });
      breaker.forceOpen();
      const call = async () => {
        const answer = await client();
        await (answer as { text?(): Promise<string> }).text?.();
        await (answer as { body?: { text?(): Promise<string> } }).body?.text?.();
      };
      // Warm up: code is compiled and caches are filled.
      await reject(call, CALLS / 10);
      const before = await livingBytes();
      const start = performance.now();
      await reject(call, CALLS);
      const micros = ((performance.now() - start) * 1_000) / CALLS;
      const grown = (await livingBytes()) - before;
      const { rejected } = breaker.stats().calls;
      console.log(
        `${whenOpen.padEnd(8)}${name.padEnd(20)}${rejected} rejected, ${micros.toFixed(1)} µs each, ${(grown / 1_024).toFixed(0)} KiB more (${(grown / CALLS).toFixed(2)} bytes per call)`,
      );
    }
  }
}

void main();
