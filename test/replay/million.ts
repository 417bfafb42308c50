/**
 * Measures a replay of very many spans: `npm run replay:million`. Writes a file as a Collector would have written it in a day
 * of an outage or two, replays it by the command itself, and prints how long that took and how much memory it had at most.
 */
import { spawn } from 'node:child_process';
import { createWriteStream, mkdtempSync, rmSync, statSync } from 'node:fs';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ReplayReport } from '../../src/replay/report.js';
import { ROOT } from '../support/child.js';
import { Random } from '../support/random.js';
import { otlpDocument, otlpSpan } from './traces.js';

const DAY_MS = 24 * 60 * 60_000;
const PER_LINE = 500;
const HOSTS = 20;

export interface Measured {
  readonly spans: number;
  readonly bytes: number;
  readonly seconds: number;
  /** The most memory that the process had, in bytes. */
  readonly maxRss: number;
  readonly report: ReplayReport;
}

/** @param spreadMs over how long the calls are spread: within five minutes, all of them wait to be sorted */
export async function replayMany(spans: number, spreadMs = DAY_MS): Promise<Measured> {
  const folder = mkdtempSync(join(tmpdir(), 'otel-breaker-replay-'));
  try {
    const traces = join(folder, 'traces.otlp.json');
    await write(traces, spans, spreadMs);
    const began = performance.now();
    const source = `
      const { runReplay } = require('./dist/src/replay/command.js');
      runReplay([${JSON.stringify(traces)}, '--json'], process).then((code) => {
        process.exitCode = code;
        console.error(process.resourceUsage().maxRSS);
      });`;
    const child = spawn(process.execPath, ['--eval', source], { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
    const output = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8').on('data', (text: string) => (output[name] += text));
    }
    const [code] = (await once(child, 'close')) as [number | null];
    if (code !== 0) throw new Error(`The replay ended with ${code}: ${output.stderr}`);
    return {
      spans,
      bytes: statSync(traces).size,
      seconds: (performance.now() - began) / 1_000,
      maxRss: Number(output.stderr) * 1_024,
      report: JSON.parse(output.stdout) as ReplayReport,
    };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function write(path: string, spans: number, spreadMs: number): Promise<void> {
  const random = new Random(3);
  const file = createWriteStream(path);
  for (let from = 0; from < spans; from += PER_LINE) {
    const line = Array.from({ length: Math.min(PER_LINE, spans - from) }, (_, index) => {
      const at = ((from + index) / spans) * spreadMs;
      // Each host is down for a hundredth of the time, one after the other.
      const host = random.below(HOSTS);
      const isDown = Math.floor((at / spreadMs) * 100) === host * 5;
      const took = 5 + random.below(isDown ? 2_000 : 200);
      const status = isDown || random.next() < 0.001 ? 503 : 200;
      return otlpSpan({ at, took, host: `service-${host}.internal.example.com`, status });
    });
    if (!file.write(`${JSON.stringify(otlpDocument(line))}\n`)) await once(file, 'drain');
  }
  file.end();
  await once(file, 'close');
}

async function main(): Promise<void> {
  for (const [what, spreadMs] of [
    ['a day', DAY_MS],
    ['four minutes', 4 * 60_000],
  ] as const) {
    const { spans, bytes, seconds, maxRss, report } = await replayMany(1_000_000, spreadMs);
    const opened = report.rules[0]!.breakers.reduce((sum, breaker) => sum + breaker.opened, 0);
    console.log(
      `${spans.toLocaleString('en')} spans of ${what}, ${(bytes / 1e6).toFixed(0)} MB: ${seconds.toFixed(1)} s, ` +
        `${(maxRss / 1e6).toFixed(0)} MB of memory at most; ${opened} openings of ${report.rules[0]!.breakers.length} circuits`,
    );
  }
}

if (require.main === module) void main();
