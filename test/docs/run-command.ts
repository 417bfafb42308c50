import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { needProgram } from '../support/programs.js';

export interface RunningCommand {
  readonly output: { stdout: string; stderr: string };
  /** Waits until it has printed something that matches; fails where it ends without. */
  readonly prints: (stream: 'stdout' | 'stderr', pattern: RegExp) => Promise<RegExpExecArray>;
  readonly ends: () => Promise<number | null>;
  readonly stop: () => Promise<void>;
}

const running = new Set<RunningCommand>();

/** Runs what stands in a shell block, in a group of its own so that everything it starts can be ended. */
export function startCommand(command: string, cwd: string, env: NodeJS.ProcessEnv = {}): RunningCommand {
  const child = spawn('sh', ['-e', '-c', command], {
    cwd,
    // Documents call curl, which may be in the cache of this project only.
    env: { ...needProgram('curl').env, OTEL_EXPORTER_PROMETHEUS_PORT: '0', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  const output = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream].setEncoding('utf8').on('data', (text: string) => (output[stream] += text));
  }
  const ended = once(child, 'close') as Promise<[number | null]>;
  const started: RunningCommand = {
    output,
    prints: (stream, pattern) =>
      new Promise((resolve, reject) => {
        const look = () => {
          const match = pattern.exec(output[stream]);
          if (match !== null) resolve(match);
        };
        child[stream].on('data', look);
        look();
        void ended.then(() => {
          reject(new Error(`"${command}" never printed ${pattern}:\n${output.stdout}\n${output.stderr}`));
        });
      }),
    ends: async () => (await ended)[0],
    stop: async () => {
      try {
        process.kill(-child.pid!, 'SIGKILL');
      } catch {
        // It has ended by itself.
      }
      await ended;
    },
  };
  running.add(started);
  void ended.then(() => running.delete(started));
  return started;
}

/** Runs it to its end. */
export async function runCommand(command: string, cwd: string, env?: NodeJS.ProcessEnv) {
  const started = startCommand(command, cwd, env);
  const code = await started.ends();
  return { code, ...started.output };
}

/** Ends every command that a failed test may have left behind. */
export async function stopCommands(): Promise<void> {
  await Promise.all(Array.from(running, (command) => command.stop()));
}
