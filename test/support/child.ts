import { spawn, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';

/** The root of this package: children run there, so that `--require otel-breaker/register` finds the build. */
export const ROOT = join(__dirname, '../..');

export interface ChildResult {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ChildOptions {
  /** Arguments to Node before the program, such as `--require otel-breaker/register`. */
  readonly nodeArgs?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  /** A path to a file, or the program itself with the kind of its module. */
  readonly program: string | { readonly kind: 'commonjs' | 'module'; readonly source: string };
  /** Arguments to a program that is a file. */
  readonly programArgs?: readonly string[];
  /** The Node to run; default this one. */
  readonly node?: string;
  /** Where it runs, and so whose packages it finds; default the root of this package. */
  readonly cwd?: string;
  /** Whether parent and child can send each other messages; default not. */
  readonly ipc?: boolean;
}

export const PRELOAD = ['--require', 'otel-breaker/register'] as const;

/** Runs a program in a Node process of its own. Metrics go to any free port, unless the environment says otherwise. */
export async function runNode(options: ChildOptions): Promise<ChildResult> {
  const child = spawnNode(options);
  let stdout = '';
  let stderr = '';
  child.stdout!.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr!.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (...status) => resolve(status));
  });
  return { code, signal, stdout, stderr };
}

export function spawnNode({
  nodeArgs = [],
  env,
  program,
  programArgs = [],
  node = process.execPath,
  cwd = ROOT,
  ipc,
}: ChildOptions): ChildProcess {
  const args =
    typeof program === 'string'
      ? [...nodeArgs, program, ...programArgs]
      : [...nodeArgs, ...(program.kind === 'module' ? ['--input-type=module'] : []), '--eval', program.source];
  return spawn(node, args, {
    cwd,
    env: { ...process.env, OTEL_EXPORTER_PROMETHEUS_PORT: '0', ...env },
    stdio: ['ignore', 'pipe', 'pipe', ...(ipc ? (['ipc'] as const) : [])],
  });
}
