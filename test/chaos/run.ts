/**
 * Tries every fault with every client: `npm run chaos [-- --seed 7 --client pg --fault flaps --short]`. Long runs with all faults
 * write the rows of their clients into `docs/reliability.md`.
 */
import { parseArgs } from 'node:util';
import { writeFindings } from '../support/report.js';
import { CLIENTS } from './backends.js';
import { FAULTS, LONG, SHORT } from './faults.js';
import { tableOf } from './report.js';
import { playAll } from './suite.js';

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seed: { type: 'string', default: String(Date.now() % 100_000) },
      client: { type: 'string', multiple: true },
      fault: { type: 'string' },
      short: { type: 'boolean', default: false },
    },
  });
  const clients = CLIENTS.filter((client) => values.client?.includes(client) ?? true);
  const faults = FAULTS.filter(({ name }) => name.includes(values.fault ?? ''));
  const seed = Number(values.seed);
  const extent = values.short ? SHORT : LONG;
  process.stdout.write(`seed ${seed}\n`);
  const results = await playAll(clients, faults, extent, seed, (result) => {
    const { fault, client, calls, success, failure, ignored, rejected, opened, recoveryMs, problems } = result;
    process.stdout.write(
      `${problems.length === 0 ? 'ok ' : 'BAD'} ${client.padEnd(8)} ${fault}: ${calls} calls, ${success} good, ${failure} failed, ` +
        `${ignored} ignored, ${rejected} rejected; opened ${opened} times, closed after ${Math.round(recoveryMs)} ms\n` +
        problems.map((problem) => `      ${problem}\n`).join(''),
    );
  });
  const bad = results.filter(({ problems }) => problems.length > 0).length;
  process.stdout.write(`${results.length} tried, ${bad} with problems\n`);
  if (bad > 0) process.exitCode = 1;
  else if (faults.length === FAULTS.length && !values.short) {
    await writeFindings('faults', (document) => tableOf(results, seed, document));
    process.stdout.write('docs/reliability.md is written\n');
  }
}

void main();
