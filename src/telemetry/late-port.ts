import { log } from './log.js';
import { setTimeout, clearTimeout } from '../breaker/real-time.js';

// As long as metrics wait for a provider of the application: a process that ends before opens nothing.
const GRACE_MS = 500;

export interface Port {
  stop(): Promise<void>;
}

/** A port that is opened a moment after the start, unless somebody else turns out to have it. */
export class LatePort {
  #timer: ReturnType<typeof setTimeout> | undefined;
  #port: Port | undefined;
  #isWanted = false;

  /** @param what is there, for the log */
  constructor(private readonly what: string) {}

  /** @param open opens it, or says why not and returns `undefined` */
  start(open: () => Promise<Port | undefined>, grace = GRACE_MS): void {
    this.#isWanted = true;
    this.#timer = setTimeout(() => void this.#open(open), grace).unref();
  }

  /** Does without. */
  yield(): void {
    void this.stop();
  }

  async stop(): Promise<void> {
    this.#isWanted = false;
    clearTimeout(this.#timer);
    const port = this.#port;
    this.#port = undefined;
    try {
      await port?.stop();
    } catch (error) {
      log.warn(`${this.what} did not stop cleanly`, error);
    }
  }

  async #open(open: () => Promise<Port | undefined>): Promise<void> {
    try {
      const port = await open();
      this.#port = port;
      if (!this.#isWanted) await this.stop();
    } catch (error) {
      // Nobody waits for this: unhandled, it would end the application.
      log.error(`${this.what} could not be opened`, error);
    }
  }
}
