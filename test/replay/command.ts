import { Readable } from 'node:stream';
import { runReplay } from '../../src/replay/command.js';

export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** `otel-breaker replay` in this process, with this text as its standard input. */
export async function replay(args: readonly string[], input = '', isTTY = false): Promise<Outcome> {
  const output = { stdout: '', stderr: '' };
  const into = (name: keyof typeof output) => ({ write: (text: string) => (output[name] += text), isTTY });
  const stdin = Readable.from(input === '' ? [] : [Buffer.from(input)]);
  const code = await runReplay(args, { stdin, stdout: into('stdout'), stderr: into('stderr') });
  return { code, ...output };
}
