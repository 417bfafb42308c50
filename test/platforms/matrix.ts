import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PRELOAD, ROOT, runNode } from '../support/child.js';
import { LATER_LINES, OLDEST } from '../support/node-lines.js';

/** The oldest first. */
export const NODES: Readonly<Record<string, string>> = { ...OLDEST.nodes, ...LATER_LINES.nodes };

export interface Client {
  readonly title: string;
  readonly family:
    'http' | 'fetch' | 'undici' | 'ioredis' | 'redis' | 'mysql2' | 'mongodb' | 'pg' | 'grpc' | 'nodemailer' | 'http2';
  /** Where it is installed; what is within Node has no place. */
  readonly folder?: string;
  /** The oldest Node that it runs on itself. */
  readonly since?: string;
}

const installed = (name: string) => join(ROOT, 'node_modules', name);

/** Every client, with the versions that are tested. */
export function clients(): Client[] {
  const packages = (
    [
      ['undici', installed('undici6')],
      ['undici', installed('undici')],
      ['undici', LATER_LINES.undici8],
      ['ioredis', installed('ioredis5')],
      ['ioredis', installed('ioredis')],
      ['redis', installed('redis5')],
      ['redis', installed('redis')],
      ['mysql2', installed('mysql2')],
      ['mongodb', installed('mongodb')],
      ['pg', OLDEST.pg],
      ['pg', installed('pg')],
      ['grpc', installed('@grpc/grpc-js')],
      ['nodemailer', installed('nodemailer')],
    ] as const
  ).map(([family, folder]) => {
    const { version, engines } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as {
      readonly version: string;
      readonly engines?: { readonly node?: string };
    };
    const since = /^>=\s*([\d.]+)/.exec(engines?.node ?? '')?.[1];
    return { title: `${family} ${version}`, family, folder, ...(since !== undefined && { since }) };
  });
  return [
    { title: 'http', family: 'http' },
    { title: 'fetch', family: 'fetch' },
    { title: 'http2', family: 'http2' },
    ...packages,
  ];
}

/** Whether a client runs on a Node at all, by its own word. */
export async function runsOn({ since }: Client, node: string): Promise<boolean> {
  if (since === undefined) return true;
  const { stdout } = await runNode({
    node,
    program: { kind: 'commonjs', source: 'console.log(process.versions.node)' },
  });
  return stdout.trim().localeCompare(since, undefined, { numeric: true }) >= 0;
}

/** What became of a breaker in a process of its own. */
export interface Life {
  readonly name: string;
  readonly success: number;
  readonly rejection: Readonly<Record<string, unknown>>;
  readonly rejected: boolean;
  readonly recovered: string;
}

const SMOKE = join(__dirname, 'smoke');

/** Takes one client on one Node through the life of a breaker. */
export async function live(
  { family, folder }: Client,
  node: string,
  upstream: { readonly port: number; readonly user?: string; readonly database?: string },
): Promise<Life> {
  const { code, stdout, stderr } = await runNode({
    node,
    nodeArgs: ['--require', join(SMOKE, 'clock.cjs'), ...PRELOAD],
    program: join(SMOKE, 'life.cjs'),
    programArgs: [family, String(upstream.port), ...(folder === undefined ? [] : [folder])],
    env: {
      OTEL_LOG_LEVEL: 'error',
      OTEL_BREAKER_METRICS: 'off',
      PGUSER: upstream.user ?? '',
      PGDATABASE: upstream.database ?? '',
    },
  });
  const complaints = stderr
    .split('\n')
    .filter((line) => line !== '' && !/^otel-breaker: circuit ".*" (opened|closed)/.test(line));
  if (code !== 0 || complaints.length > 0) throw new Error(`${family} ended (${String(code)}):\n${stderr}`);
  return JSON.parse(stdout) as Life;
}

/** The table as it should be. @param works whether a cell has been tried and works; `undefined`: it does not run there */
export function table(works: ReadonlyMap<string, boolean>): string {
  const lines = Object.keys(NODES);
  const rows = clients().map(({ title, since }) => {
    const cells = lines.map((line) => (works.get(`${title} on ${line}`) ? '✓' : `from ${since}`));
    return `| ${[title, ...cells].join(' | ')} |`;
  });
  return [`| | ${lines.join(' | ')} |`, `| --- |${' :-: |'.repeat(lines.length)}`, ...rows].join('\n');
}
