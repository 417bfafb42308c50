import { log } from '../telemetry/log.js';
import { setTimeout } from '../breaker/real-time.js';

const PAUSE_MS = 1_000;

/** Lines that others can cause: one a second at most, which says how many there would have been. */
export class LimitedLog {
  readonly #level: 'error' | 'warn';
  #pausing = false;
  #more = 0;
  #last: { readonly message: string; readonly error: unknown } | undefined;

  constructor(level: 'error' | 'warn') {
    this.#level = level;
  }

  write(message: string, error?: unknown): void {
    if (this.#pausing) {
      this.#more++;
      this.#last = { message, error };
      return;
    }
    this.#tell(message, error);
  }

  #tell(message: string, error: unknown): void {
    log[this.#level](message, ...(error === undefined ? [] : [error]));
    this.#pausing = true;
    setTimeout(() => this.#goOn(), PAUSE_MS).unref();
  }

  #goOn(): void {
    this.#pausing = false;
    const last = this.#last;
    const more = this.#more;
    this.#last = undefined;
    this.#more = 0;
    if (last !== undefined)
      this.#tell(more === 1 ? last.message : `${last.message} (${more} times within a second)`, last.error);
  }
}
