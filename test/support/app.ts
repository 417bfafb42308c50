import type { ChildProcess } from 'node:child_process';
import { spawnNode, type ChildOptions, type ChildResult } from './child.js';

/** A Node process that goes on until it is told to end. */
export interface App {
  readonly child: ChildProcess;
  /** What it has printed so far. */
  readonly output: { stdout: string; stderr: string };
  /** Waits until it has printed something that matches; fails where it ends without. */
  readonly prints: (stream: 'stdout' | 'stderr', pattern: RegExp) => Promise<RegExpExecArray>;
  /** Waits until it ends by itself. */
  readonly ends: () => Promise<ChildResult>;
  /** Ends it by a signal and waits for that. */
  readonly stop: (signal?: NodeJS.Signals) => Promise<ChildResult>;
}

const apps = new Set<App>();

/** Where the metrics of a preloaded process are, as it prints that. */
export const METRICS_ADDRESS = /metrics at (http:\S+)/;

export function startApp(options: ChildOptions): App {
  const child = spawnNode(options);
  const output = { stdout: '', stderr: '' };
  const ended = new Promise<ChildResult>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve({ code, signal, ...output }));
  });
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream]!.setEncoding('utf8').on('data', (text: string) => (output[stream] += text));
  }
  const app: App = {
    child,
    output,
    ends: () => ended,
    prints: (stream, pattern) =>
      new Promise((resolve, reject) => {
        const look = () => {
          const match = pattern.exec(output[stream]);
          if (match !== null) resolve(match);
        };
        child[stream]!.on('data', look);
        look();
        void ended.then(({ code, signal, stdout, stderr }) => {
          reject(new Error(`Ended (${code ?? signal}) and never printed ${pattern}:\n${stdout}\n${stderr}`));
        });
      }),
    stop: (signal = 'SIGTERM') => {
      child.kill(signal);
      return ended;
    },
  };
  apps.add(app);
  void ended.finally(() => apps.delete(app));
  return app;
}

/** Ends every process that a failed test may have left behind. */
export async function stopApps(): Promise<void> {
  await Promise.all(Array.from(apps, (app) => app.stop('SIGKILL')));
}

/** One value of a scrape; `undefined` where there is no such series. Labels not named may have any value. */
export function sample(page: string, name: string, labels: Readonly<Record<string, string>> = {}): number | undefined {
  for (const line of page.split('\n')) {
    if (!line.startsWith(`${name}{`)) continue;
    if (Object.entries(labels).every(([key, value]) => line.includes(`${key}="${value}"`))) {
      return Number(/\} ([^ ]+)/.exec(line)![1]);
    }
  }
  return undefined;
}

export async function scrape(address: string): Promise<string> {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${address} answered ${answer.status}`);
  return answer.text();
}
