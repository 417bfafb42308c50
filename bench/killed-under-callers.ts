/**
 * A server is killed with SIGKILL under 100 callers, each of which pauses for 50 ms after an error, and comes back: what do
 * they see of it, with the preload and without? Run with `npx tsx bench/killed-under-callers.ts mysql2 4`: a word of the
 * titles in `test/outages/rows.ts`, and for how many seconds the server is away. Needs the build, and the server.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Service } from '../test/outages/outage.js';
import { ROWS } from '../test/outages/rows.js';
import { PRELOAD, spawnNode } from '../test/support/child.js';

const UP_MS = 2_000;
const AFTERWARDS_MS = 6_000;

/** What callers saw, as a process of theirs reports it. */
interface Report {
  readonly calls: number;
  readonly answered: number;
  readonly failed: number;
  readonly rejected: number;
  readonly hanging: number;
  readonly longestMs: number;
  readonly firstAnswerAt: number;
  readonly lastFailureAt: number;
  readonly unhandled: number;
  readonly counts: unknown;
  readonly errors: Readonly<Record<string, number>>;
}

const CALLERS = `
  const { call, start } = require(process.env.CLIENT);
  const seen = { calls: 0, answered: 0, failed: 0, rejected: 0, hanging: 0, longestMs: 0, firstAnswerAt: 0, lastFailureAt: 0, unhandled: 0, errors: {} };
  let backAt = Infinity;
  let ended = false;
  const begun = new Set();
  const isOurs = (error) => error?.code === 'ERR_CIRCUIT_OPEN' || (error?.cause !== undefined && isOurs(error.cause));
  process.on('unhandledRejection', () => seen.unhandled++);
  async function caller() {
    while (!ended) {
      const startedAt = Date.now();
      seen.calls++;
      begun.add(startedAt);
      try {
        await call();
        seen.answered++;
        if (startedAt >= backAt || Date.now() >= backAt) seen.firstAnswerAt ||= Date.now();
      } catch (error) {
        seen.failed++;
        if (isOurs(error)) seen.rejected++;
        const kind = isOurs(error) ? 'rejected' : String(error.code ?? error.name) + ': ' + error.message.slice(0, 60);
        seen.errors[kind] = (seen.errors[kind] ?? 0) + 1;
        seen.lastFailureAt = Date.now();
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      seen.longestMs = Math.max(seen.longestMs, Date.now() - startedAt);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
  let running = 0;
  process.on('message', async (message) => {
    if (message === 'back') backAt = Date.now();
    if (message !== 'end') return;
    ended = true;
    const until = Date.now() + 2_000;
    while (running > 0 && Date.now() < until) await new Promise((resolve) => setTimeout(resolve, 20));
    seen.hanging = running;
    const { globalRegistry } = require('otel-breaker');
    seen.counts = [...globalRegistry].map((one) => [one.name, one.state, JSON.stringify(one.stats().calls)].join(' '));
    process.send(seen, () => process.exit());
  });
  Promise.resolve(start?.()).then(() => {
    for (let n = 0; n < 100; n++) { running++; void caller().finally(() => running--); }
    process.send('ready');
  });
`;

async function measure(client: string, service: Service, awayMs: number): Promise<Record<string, Report>> {
  const processes = [false, true].map((preload) =>
    spawnNode({
      program: { kind: 'commonjs', source: CALLERS },
      nodeArgs: preload ? PRELOAD : [],
      env: { ...service.env, CLIENT: join(__dirname, `../test/outages/clients/${client}.cjs`), OTEL_LOG_LEVEL: 'none' },
      ipc: true,
    }),
  );
  const message = (child: (typeof processes)[number]) =>
    new Promise((resolve, reject) => {
      child.once('message', resolve);
      child.once('exit', (code) => reject(new Error(`A caller ended: ${code}`)));
      child.stderr?.pipe(process.stderr);
      child.stdout?.resume();
    });
  await Promise.all(processes.map(message));
  await sleep(UP_MS);
  await service.away();
  await sleep(awayMs);
  await service.back();
  const backAt = Date.now();
  for (const child of processes) child.send('back');
  await sleep(AFTERWARDS_MS);
  const reports = processes.map(message);
  for (const child of processes) child.send('end');
  const [without, withUs] = (await Promise.all(reports)) as [Report, Report];
  const since = (at: number) => (at > backAt ? `${((at - backAt) / 1_000).toFixed(2)} s` : '–');
  const row = ({ firstAnswerAt, lastFailureAt, errors: _, counts: __, ...others }: Report) => ({
    ...others,
    'first answer after the return': since(firstAnswerAt),
    'last failure after it': since(lastFailureAt),
  });
  console.table({ without: row(without), with: row(withUs) });
  console.log('errors without', without.errors, 'with', withUs.errors, withUs.counts);
  return { without, with: withUs };
}

async function main([word = '', seconds = '4']: readonly string[]): Promise<void> {
  const row = ROWS.find(({ title }) => title.toLowerCase().includes(word.toLowerCase()));
  if (row === undefined)
    throw new Error(`${word}: no client has that in its title. Use ${ROWS.map(({ title }) => title).join(', ')}.`);
  const service = await row.service();
  try {
    await measure(row.client, service, Number(seconds) * 1_000);
  } finally {
    await service.remove();
  }
}

void main(process.argv.slice(2)).then(() => process.exit());
