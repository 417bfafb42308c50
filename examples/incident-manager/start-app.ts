import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Addresses } from './dependencies.js';

export type Breakers = 'preload' | 'explicit';

export interface RunningApp {
  readonly url: string;
  readonly process: ChildProcess;
  stop(): Promise<void>;
}

const ROOT = join(__dirname, '../..');
const PRELOAD = ['--require', 'otel-breaker/register'];

/** Starts the service as a process of its own: `node --require otel-breaker/register app.ts`, or without the preload. */
export async function startApp(
  addresses: Addresses,
  breakers: Breakers,
  env: NodeJS.ProcessEnv = {},
): Promise<RunningApp> {
  // tsx first, so that the preload comes from the same sources as what the app imports.
  const nodeArgs = ['--require', 'tsx/cjs', ...(breakers === 'preload' ? PRELOAD : [])];
  const child = spawn(process.execPath, [...nodeArgs, join(__dirname, 'app.ts')], {
    cwd: ROOT,
    env: {
      ...process.env,
      OTEL_BREAKER_CONFIG: join(__dirname, 'otel-breaker.yaml'),
      OTEL_EXPORTER_PROMETHEUS_PORT: '0',
      ...env,
      ...addresses,
      BREAKERS: breakers,
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(child, 'exit');
  const line = once(createInterface(child.stdout), 'line') as Promise<[string]>;
  const [url] = await Promise.race([
    line,
    ended.then(([code]) => {
      throw new Error(`The incident manager ended before it listened, with code ${String(code)}: see above`);
    }),
  ]);
  return {
    url,
    process: child,
    stop: async () => {
      child.kill('SIGTERM');
      await ended;
    },
  };
}
