import type { ReadSoFar } from './read-spans.js';

const EVERY_MS = 200;
const WIDTH = 30;

/** Where progress is drawn: a terminal, or nothing. */
export interface ProgressOutput {
  write(text: string): unknown;
  readonly isTTY?: boolean | undefined;
}

/** Draws how far reading has come, a few times a second, where there is a terminal. */
export class Progress {
  #drawnAt = -Infinity;

  constructor(private readonly output: ProgressOutput) {}

  show({ bytes, totalBytes, spans }: ReadSoFar): void {
    const now = performance.now();
    if (this.output.isTTY !== true || now - this.#drawnAt < EVERY_MS) return;
    this.#drawnAt = now;
    const read = `${(bytes / 1e6).toFixed(0)} MB, ${spans.toLocaleString('en')} spans`;
    this.output.write(`\r\u001b[K${totalBytes === undefined ? read : `${bar(bytes / totalBytes)} ${read}`}`);
  }

  clear(): void {
    if (this.#drawnAt > -Infinity) this.output.write('\r\u001b[K');
  }
}

function bar(share: number): string {
  const filled = Math.round(Math.min(share, 1) * WIDTH);
  return `[${'#'.repeat(filled)}${' '.repeat(WIDTH - filled)}] ${Math.floor(Math.min(share, 1) * 100)} %`;
}
