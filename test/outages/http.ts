import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { freePort } from '../support/free-port.js';
import type { Row, Service } from './outage.js';

/**
 * A service in a process of its own, which is killed, connections and all, and followed by another one on its port.
 *
 * @param file its program: it listens at the port of its first argument, and then sends `'listening'`
 * @param behind the port that it leads to, its second argument
 */
export async function killableService(file: string, scheme: string, behind?: number): Promise<Service> {
  const port = await freePort();
  const args = [join(__dirname, file), String(port), String(behind)];
  const onStandby = () => fork(join(__dirname, 'standby.cjs'), args, { execArgv: [] });
  let server: ChildProcess;
  let next = onStandby();
  const back = async () => {
    server = next;
    const answer = Promise.race([once(server, 'message'), once(server, 'exit')]) as Promise<[unknown]>;
    server.send('listen');
    const [message] = await answer;
    if (message !== 'listening') throw new Error(`${file} ended with ${String(message)}`);
    next = onStandby();
  };
  await back();
  return {
    env: { OUTAGE_URL: `${scheme}://127.0.0.1:${port}/` },
    away: () => end(server),
    back,
    remove: async () => {
      for (const process of [server, next]) await end(process);
    },
  };
}

async function end(process: ChildProcess): Promise<void> {
  const ended = once(process, 'exit');
  process.kill('SIGKILL');
  await ended;
}

const httpService = () => killableService('http-server.cjs', 'http');

const http2Service = () => killableService('http2-server.cjs', 'http');

// No fire-and-forget: an error that nobody catches ends the process of these in any case.
const PATTERNS = ['awaited', 'tight loop'] as const;

/** Clients that fail at once while their server is away. */
export const HTTP: readonly Row[] = [
  {
    title: 'http, keep-alive',
    client: 'http',
    service: httpService,
    patterns: PATTERNS,
    inTests: true,
    underCallers: {},
  },
  { title: 'axios', client: 'axios', service: httpService, patterns: PATTERNS },
  { title: 'undici, request', client: 'undici', service: httpService, patterns: PATTERNS },
  {
    title: 'http2, one session',
    client: 'http2',
    service: http2Service,
    patterns: PATTERNS,
    underCallers: { inTests: true },
  },
  { title: 'fetch', client: 'fetch', service: httpService, patterns: PATTERNS, inTests: true },
];
