/**
 * The incident manager among local fakes of everything it depends on. A key breaks or mends each of them.
 *
 *     npm run example                            breakers by the preload alone
 *     npm run example -- --explicit              the wrappers of with-breaker.ts in its place
 *     npm run example -- --broken sentinel,slack
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { DEPENDENCIES, startWorld, type World } from './fakes.js';
import type { Dependency } from './service.js';
import { startApp } from './start-app.js';

const FIRST_PORT = 7101;
const PAUSE = 500;

interface Health {
  readonly healthy: boolean;
  readonly circuits: readonly { readonly name: string; readonly state: string; readonly rejected: number }[];
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { explicit: { type: 'boolean', default: false }, broken: { type: 'string', default: '' } },
  });
  const broken = values.broken.split(',').filter((name) => name !== '');
  for (const name of broken) checkName(name);

  console.log('starting PostgreSQL, Redis, an SMTP server and seven HTTP services …');
  const world = await startWorld(FIRST_PORT);
  const app = await startApp(world.addresses, values.explicit ? 'explicit' : 'preload', { OPEN_DURATION: '5s' });
  for (const name of broken) world.gates[name as Dependency].shut();

  console.log(`the incident manager: ${app.url}   (breakers: ${values.explicit ? 'explicit' : 'preload'})`);
  console.log(`keys: ${DEPENDENCIES.map((name, index) => `${(index + 1) % 10} ${name}`).join('  ')}  q quit\n`);
  const ended = new AbortController();
  const end = () => ended.abort();
  listenToKeys(world, end);
  process.once('SIGINT', end);
  process.once('SIGTERM', end);
  app.process.once('exit', end);

  for (let number = 1; !ended.signal.aborted; number++) {
    await reportOne(world, app.url, number).catch((error: unknown) => console.log(String(error)));
    await sleep(PAUSE, undefined, { signal: ended.signal }).catch(() => {});
  }
  process.stdin.pause();
  await app.stop();
  await world.close();
}

/** Reports an incident and tells what became of it, in one line. */
async function reportOne({ gates }: World, url: string, number: number): Promise<void> {
  const begun = performance.now();
  const answer = await fetch(`${url}/incidents`, {
    method: 'POST',
    body: JSON.stringify({ title: `Checkout is slow (${number})`, description: 'p99 above 2 s', source: 'checkout' }),
  });
  const { degraded } = (await answer.json()) as { degraded: readonly string[] };
  const milliseconds = (performance.now() - begun).toFixed(0).padStart(4);
  const health = (await (await fetch(`${url}/health`)).json()) as Health;
  const circuits = health.circuits.filter(({ state }) => state !== 'closed');
  const shut = DEPENDENCIES.filter((name) => !gates[name].isOpen);
  console.log(
    `${answer.status} in ${milliseconds} ms   without: ${list(degraded)}   ` +
      `circuits: ${list(circuits.map(({ name, state }) => `${name} ${state}`))}   broken: ${list(shut)}`,
  );
}

function listenToKeys({ gates }: World, quit: () => void): void {
  const { stdin } = process;
  if (stdin.isTTY) stdin.setRawMode(true);
  stdin.setEncoding('utf8').on('data', (keys: string) => {
    for (const key of keys) {
      if (key === 'q' || key === '\u0003') return quit();
      const name = /\d/.test(key) ? DEPENDENCIES[(Number(key) + 9) % 10] : undefined;
      if (name === undefined) continue;
      const gate = gates[name];
      if (gate.isOpen) gate.shut();
      else gate.open();
      console.log(`— ${name} ${gate.isOpen ? 'works again' : 'is broken'}`);
    }
  });
}

function checkName(name: string): void {
  if ((DEPENDENCIES as readonly string[]).includes(name)) return;
  throw new Error(`--broken: got "${name}"; there is no such dependency. Use ${DEPENDENCIES.join(', ')}.`);
}

function list(names: readonly string[]): string {
  return names.length === 0 ? '–' : names.join(', ');
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
});
