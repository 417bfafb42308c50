import { LastingTarget, type System } from '../src/target.js';

// More than most clients that serve several hosts are used for; each is compared with, one after the other.
const MAX = 8;

/** The targets that one client was last used for: a known one needs no object for each call, and its breaker is remembered. */
export class KnownTargets {
  readonly #known: { readonly host: unknown; readonly port: unknown; readonly target: LastingTarget }[] = [];
  #oldest = 0;

  constructor(private readonly system: System) {}

  /** @param host @param port as the client says it, in whatever form */
  get(scheme: string, host: unknown, port: unknown): LastingTarget {
    for (const one of this.#known) {
      if (one.port === port && one.host === host && one.target.scheme === scheme) return one.target;
    }
    const target = new LastingTarget(this.system, scheme, String(host).toLowerCase(), Number(port));
    this.#known[this.#oldest] = { host, port, target };
    this.#oldest = (this.#oldest + 1) % MAX;
    return target;
  }
}
