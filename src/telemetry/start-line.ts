import { log } from './log.js';
import { setTimeout } from '../breaker/real-time.js';

// As long as the application has to bring its own metrics; a process that ends before prints nothing.
const GRACE_MS = 500;

/** What the line says besides the clients and the places. */
export interface Start {
  readonly mode: string;
  /** Where the rules come from, if there are any. */
  readonly rules: string | undefined;
  /** Whether the application is built by Next.js. */
  readonly underNext: boolean;
  /** Threads say nothing that their process has not said. */
  readonly level: 'info' | 'debug';
}

/** What has a place that is known only later. */
export type Placed = 'metrics' | 'console';

/**
 * Says once what is guarded and where to look: the clients that were really patched, and later those that come after; the
 * mode, the rules, and where metrics and the console are. It waits until all that is known.
 */
export class StartLine {
  readonly #clients = new Set<string>();
  /** In words, in the order of the line; `undefined` where it is not known yet. */
  readonly #places = new Map<Placed, string | undefined>();
  #start: Start | undefined;
  #isDue = false;
  #isPrinted = false;

  /** Those that have been patched so far. */
  get clients(): ReadonlySet<string> {
    return this.#clients;
  }

  attached(client: string): void {
    if (this.#clients.has(client)) return;
    this.#clients.add(client);
    if (this.#isPrinted) log[this.#start!.level](`guarding ${client} as well`);
  }

  /** The line waits until it is said where this is. */
  await(what: Placed): void {
    if (!this.#places.has(what)) this.#places.set(what, undefined);
  }

  /**
   * @param where in words: "metrics at http://127.0.0.1:9464/metrics"
   * @param level lower than that of the start where nobody needs to read the line
   */
  place(what: Placed, where: string, level?: 'debug'): void {
    this.#places.set(what, where);
    if (level !== undefined && this.#start !== undefined) this.#start = { ...this.#start, level };
    this.#printIfKnown();
  }

  /** @param after does something later, unless the process has nothing else to do; for tests */
  print(start: Start, after: (act: () => void) => void = (act) => void setTimeout(act, GRACE_MS).unref()): void {
    this.#start = start;
    after(() => {
      this.#isDue = true;
      this.#printIfKnown();
    });
  }

  #printIfKnown(): void {
    if (this.#isPrinted || !this.#isDue || this.#start === undefined) return;
    const places = [...this.#places.values()];
    if (places.includes(undefined)) return;
    this.#isPrinted = true;
    const { mode, rules, level, underNext } = this.#start;
    const clients = [...this.#clients].join(', ') || 'no client yet';
    const rest = [rules === undefined ? 'no rules file' : `rules from ${rules}`, ...places].join('; ');
    log[level](`guarding ${clients} (mode ${mode}); ${rest}`);
    if (!underNext) return;
    log.warn(
      `Next.js bundles packages, and a bundled client cannot be guarded. So far we have found ${clients}. ` +
        "Name the others in next.config.js: serverExternalPackages: ['ioredis', 'redis', '@redis/client', 'mysql2', 'mongodb', 'pg', 'undici', '@grpc/grpc-js', 'nodemailer']",
    );
  }
}
