import http = require('node:http');
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { HttpBreakerInstrumentation } from '../../instrumentations/http/http-instrumentation.js';
import { CircuitBreakerRegistry } from '../../src/breaker/registry.js';
import { Guard } from '../../src/guard/guard.js';
import { checkedSection } from '../../src/rules/live-rules.js';
import { RuleSet } from '../../src/rules/rule-set.js';

const CALLS_A_SECOND = 200;
const TICK_MS = 50;

/**
 * A server with empty caches: it can take a fifth of the load at first, and half as much again each second that it is not
 * overloaded. Overloaded, it answers nobody well and its caches are empty again.
 */
async function coldServer() {
  let isAway = false;
  let share = 0;
  let came = 0;
  let isOverloaded = false;
  const server = http.createServer((_, res) => {
    came++;
    const most = (share * CALLS_A_SECOND * TICK_MS) / 1_000;
    // Bursts of a few calls are nothing to it.
    if (came > Math.max(4, 2 * most)) isOverloaded = true;
    res.statusCode = isAway || isOverloaded ? 503 : 200;
    res.end();
  });
  const timer = setInterval(() => {
    share = isOverloaded || isAway ? 0.2 : Math.min(1, share * (1 + TICK_MS / 2_000));
    isOverloaded = false;
    came = 0;
  }, TICK_MS);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    away: (away: boolean) => (isAway = away),
    close: () => {
      clearInterval(timer);
      server.closeAllConnections();
      server.close();
    },
  };
}

/** What became of the calls of one second after the return of the server. */
export interface Second {
  readonly served: number;
  readonly failed: number;
  readonly rejected: number;
}

/** Calls such a server for so many seconds after it came back from an outage, through a circuit under these options. */
export async function runOverload(recoveryDuration: string, seconds: number): Promise<Second[]> {
  const server = await coldServer();
  const registry = new CircuitBreakerRegistry();
  const defaults = { recoveryDuration, openDuration: '1s', failureThreshold: 10 } as const;
  const guard = new Guard(registry, new RuleSet([checkedSection('rules', { defaults })]));
  const instrumentation = new HttpBreakerInstrumentation({}, guard);
  const agent = new http.Agent({ keepAlive: true, maxSockets: 64 });
  const result = Array.from({ length: seconds }, () => ({ served: 0, failed: 0, rejected: 0 }));
  let begun = Infinity;
  const call = () => {
    const at = Math.floor((performance.now() - begun) / 1_000);
    const note = (outcome: keyof Second) => {
      const second = result[at];
      if (second !== undefined) second[outcome]++;
    };
    http
      .get({ host: '127.0.0.1', port: server.port, agent }, (res) => {
        note(res.statusCode === 200 ? 'served' : 'failed');
        res.resume();
      })
      .on('error', (error: NodeJS.ErrnoException) => note(error.code === 'ERR_CIRCUIT_OPEN' ? 'rejected' : 'failed'));
  };
  let due = performance.now();
  const timer = setInterval(() => {
    for (; due <= performance.now(); due += 1_000 / CALLS_A_SECOND) call();
  }, 5);
  try {
    server.away(true);
    await sleep(1_000);
    server.away(false);
    begun = performance.now();
    await sleep(seconds * 1_000);
    return result;
  } finally {
    clearInterval(timer);
    instrumentation.disable();
    agent.destroy();
    server.close();
  }
}

/** Prints the table of docs/outages.md. */
async function main(): Promise<void> {
  for (const recoveryDuration of ['0s', '6s']) {
    const seconds = await runOverload(recoveryDuration, 15);
    const row = (what: keyof Second) => seconds.map((second) => String(second[what]).padStart(4)).join('');
    console.log(`recoveryDuration ${recoveryDuration}`);
    for (const what of ['served', 'failed', 'rejected'] as const) console.log(what.padEnd(9), row(what));
  }
}

if (require.main === module) void main();
