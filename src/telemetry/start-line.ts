import { log } from './log.js';

// Captured at load: an application's fake timers must not hold the line back.
const { setTimeout } = globalThis;

// As long as the application has to bring its own metrics; a process that ends before prints nothing.
const GRACE_MS = 500;

/** What the line says besides the clients. */
export interface Start {
  readonly mode: string;
  /** Where the rules come from, if there are any. */
  readonly rules: string | undefined;
  /** Whether the application is built by Next.js. */
  readonly underNext: boolean;
  /** Threads say nothing that their process has not said. */
  readonly level: 'info' | 'debug';
}

/** Says once what is guarded: the clients that were really patched, and later those that come after. */
export class StartLine {
  readonly #clients = new Set<string>();
  #level: Start['level'] | undefined;

  /** Those that have been patched so far. */
  get clients(): ReadonlySet<string> {
    return this.#clients;
  }

  attached(client: string): void {
    if (this.#clients.has(client)) return;
    this.#clients.add(client);
    if (this.#level !== undefined) log[this.#level](`guarding ${client} as well`);
  }

  /** @param after does something later, unless the process has nothing else to do; for tests */
  print(start: Start, after: (act: () => void) => void = (act) => void setTimeout(act, GRACE_MS).unref()): void {
    after(() => {
      this.#level = start.level;
      const clients = [...this.#clients].join(', ') || 'no client yet';
      const rules = start.rules === undefined ? '' : `; rules from ${start.rules}`;
      log[start.level](`guarding ${clients} (mode ${start.mode})${rules}`);
      if (!start.underNext) return;
      log.warn(
        `Next.js bundles packages, and a bundled client cannot be guarded. So far we have found ${clients}. ` +
          "Name the others in next.config.js: serverExternalPackages: ['ioredis', 'pg', 'undici']",
      );
    });
  }
}
