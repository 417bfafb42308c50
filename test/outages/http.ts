import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { freePort } from '../support/postgres-server.js';
import type { Row, Service } from './outage.js';

/** A service in a process of its own, which is killed, connections and all, and started again. @param file its program */
export async function killableService(file: string, scheme: string): Promise<Service> {
  const port = await freePort();
  let server: ChildProcess;
  const back = async () => {
    server = fork(join(__dirname, file), [String(port)], { execArgv: [] });
    const [message] = (await Promise.race([once(server, 'message'), once(server, 'exit')])) as [unknown];
    if (message !== 'listening') throw new Error(`${file} ended with ${String(message)}`);
  };
  const away = async () => {
    const ended = once(server, 'exit');
    server.kill('SIGKILL');
    await ended;
  };
  await back();
  return { env: { OUTAGE_URL: `${scheme}://127.0.0.1:${port}/` }, away, back, remove: away };
}

const httpService = () => killableService('http-server.cjs', 'http');

// No fire-and-forget: an error that nobody catches ends the process of these in any case.
const PATTERNS = ['awaited', 'tight loop'] as const;

/** Clients that fail at once while their server is away. */
export const HTTP: readonly Row[] = [
  { title: 'http, keep-alive', client: 'http', service: httpService, patterns: PATTERNS, inTests: true },
  { title: 'axios', client: 'axios', service: httpService, patterns: PATTERNS },
  { title: 'undici, request', client: 'undici', service: httpService, patterns: PATTERNS },
  { title: 'fetch', client: 'fetch', service: httpService, patterns: PATTERNS, inTests: true },
];
