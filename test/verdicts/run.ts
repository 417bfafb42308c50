import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeFindings } from '../support/report.js';
import { Backends, LIBRARIES, Trial, type Library, type SeenVerdicts } from './matrix.js';
import { tableOf } from './table.js';

// What one round finds by chance, the next does not.
const ROUNDS = 3;

/**
 * Tries all libraries, one after the other, some rounds each, and writes the table into `docs/reliability.md`. Arguments are
 * files of `clients/` to try, such as "axios"; default all, and only then the table is written.
 */
async function main(files: readonly string[]): Promise<void> {
  const backends = await Backends.start();
  const seen: Record<string, SeenVerdicts[string]> = {};
  let wrong = 0;
  try {
    for (const library of LIBRARIES) {
      if (files.length > 0 && !files.includes(library.file)) continue;
      for (let round = 0; round < (files.length > 0 ? 1 : ROUNDS); round++) {
        const found = await Trial.of(library, backends);
        wrong += report(library, found);
        Object.assign(seen, found);
      }
    }
  } finally {
    await backends.stop();
  }
  if (wrong > 0) {
    process.stdout.write(`${wrong} verdicts are not as they should be\n`);
    process.exitCode = 1;
  } else if (files.length === 0) {
    await writeFindings(
      'verdicts',
      `${versions()}\n\n${tableOf((title, happening) => seen[title]?.[happening]?.verdict)}`,
    );
    process.stdout.write('docs/reliability.md is written\n');
  }
}

/** @returns how many verdicts are not as they should be */
function report({ ways }: Library, seen: SeenVerdicts): number {
  let wrong = 0;
  for (const { title, verdicts } of ways) {
    for (const [happening, verdict] of Object.entries(verdicts)) {
      const found = seen[title]?.[happening];
      if (found?.verdict === verdict) continue;
      wrong++;
      process.stdout.write(`BAD ${title}, ${happening}: ${found?.verdict}, not ${verdict}\n${found?.details}\n`);
    }
    process.stdout.write(`${title}: ${Object.keys(verdicts).length} tried\n`);
  }
  return wrong;
}

const PACKAGES = [
  'axios',
  'got',
  'node-fetch2',
  'node-fetch',
  'superagent',
  'ky',
  'undici6',
  'undici',
  '@aws-sdk/client-s3',
  'openai',
  '@anthropic-ai/sdk',
  'ioredis5',
  'ioredis',
  'redis5',
  'redis',
  'mysql2',
  'mongodb',
  'pg',
  'pg-pool',
  'nodemailer',
  'nock',
  'msw',
] as const;

function versions(): string {
  const all = PACKAGES.map((name) => {
    const file = readFileSync(join(__dirname, '../../node_modules', name, 'package.json'), 'utf8');
    const { name: realName, version } = JSON.parse(file) as { name: string; version: string };
    return `${realName} ${version}`;
  });
  return `Node ${process.versions.node}; ${all.join(', ')}:`;
}

void main(process.argv.slice(2)).then(() => process.exit());
