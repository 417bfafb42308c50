import type { CircuitBreaker } from '../breaker/circuit-breaker.js';
import type { Transition } from '../breaker/observer.js';
import { diagnostics } from '../breaker/diagnostics.js';
import { formatPercent, formatSeconds } from '../breaker/format.js';
import { DEFAULT_PANIC_THRESHOLD } from '../rules/rule.js';
import type { PanicChange } from '../telemetry/events/span-events.js';

// Fewer have too often one cause of their own: the same provider, the same rack.
const MIN_TARGETS = 4;
// What has one cause shows at once; what is spread wider is several outages.
const WITHIN = 10_000;
// While calls that would be rejected keep coming, nobody needs to count circuits for each of them.
const REVIEW_EVERY = 1_000;

/**
 * Notices when so many circuits open at once that the fault must be nearer than their targets: our own network, DNS, a
 * proxy, a machine without memory. Rejecting calls would then turn one fault into an outage of everything, and hide it.
 *
 * Circuits go on as in mode `observe`; only the word on what they would reject is taken from them. Nothing is looked at
 * but when a circuit changes and, in panic, once a second when a call would be rejected.
 */
export class Panic {
  #threshold = DEFAULT_PANIC_THRESHOLD;
  /** When each circuit opened that has not closed since. */
  readonly #openedAt = new Map<CircuitBreaker, number>();
  #reason: string | undefined;
  #reviewAt = 0;

  /** @param breakers all there are */
  constructor(
    private readonly breakers: Iterable<CircuitBreaker>,
    private readonly onChange: (change: PanicChange, context: unknown) => void,
    private readonly now: () => number = performance.now.bind(performance),
  ) {}

  /** Why nothing is rejected just now; `undefined` where circuits reject. */
  get reason(): string | undefined {
    return this.#reason;
  }

  /** The share of targets beyond which it begins; 1 turns it off, since more than all cannot be open. */
  get threshold(): number {
    return this.#threshold;
  }

  set threshold(share: number) {
    this.#threshold = share;
    // Whatever is in panic is judged anew by the next call that would be rejected.
    this.#reviewAt = 0;
  }

  watch(breaker: CircuitBreaker): void {
    breaker.isPanic = (now) => this.#isActive(now, breaker);
  }

  forget(breaker: CircuitBreaker): void {
    breaker.isPanic = undefined;
    this.#openedAt.delete(breaker);
  }

  onTransition(breaker: CircuitBreaker, { from, to }: Transition, context: unknown): void {
    const now = this.now();
    if (from === 'closed' && breaker.isTripped) this.#openedAt.set(breaker, now);
    if (to === 'closed') this.#openedAt.delete(breaker);
    if (this.#reason !== undefined) this.#review(now, breaker, context);
    else if (from === 'closed') this.#beginIfTooMany(now, breaker, context);
  }

  #isActive(now: number, breaker: CircuitBreaker): boolean {
    if (this.#reason === undefined) return false;
    if (now >= this.#reviewAt) this.#review(now, breaker, undefined);
    return this.#reason !== undefined;
  }

  #beginIfTooMany(now: number, breaker: CircuitBreaker, context: unknown): void {
    const open = this.#openTargets(now, WITHIN);
    // Before looking at every breaker there is.
    if (open.size <= MIN_TARGETS * this.#threshold) return;
    const all = this.#targetsOf(this.breakers, now);
    if (all.size < MIN_TARGETS || open.size <= all.size * this.#threshold) return;
    this.#reviewAt = now + REVIEW_EVERY;
    const reason = `${open.size} of ${all.size} unrelated targets opened within ${formatSeconds(WITHIN)}`;
    this.#change(true, reason, breaker, context);
  }

  #review(now: number, breaker: CircuitBreaker, context: unknown): void {
    this.#reviewAt = now + REVIEW_EVERY;
    const open = this.#openTargets(now, Infinity);
    const all = this.#targetsOf(this.breakers, now);
    if (all.size >= MIN_TARGETS && open.size > all.size * this.#threshold) return;
    this.#change(false, `${open.size} of ${all.size} unrelated targets are still open`, breaker, context);
  }

  #change(active: boolean, numbers: string, breaker: CircuitBreaker, context: unknown): void {
    const reason = `${numbers} (threshold ${formatPercent(this.#threshold)})`;
    this.#reason = active ? reason : undefined;
    try {
      this.onChange({ active, reason, breaker }, context);
    } catch (error) {
      // It may be a call that is about to be made which brought this about.
      diagnostics.report('Telling of panic failed', error);
    }
  }

  /** Targets with a circuit that opened no longer ago than that, and is not closed. */
  #openTargets(now: number, within: number): Set<string> {
    const recent = [...this.#openedAt].filter(([, at]) => now - at <= within);
    return this.#targetsOf(
      recent.map(([breaker]) => breaker),
      now,
    );
  }

  /** The targets of those breakers that were called lately. */
  #targetsOf(breakers: Iterable<CircuitBreaker>, now: number): Set<string> {
    const targets = new Set<string>();
    for (const breaker of breakers) {
      const target = targetOf(breaker);
      if (target !== undefined && breaker.hadCalls(now)) targets.add(target);
    }
    return targets;
  }
}

/**
 * One host and one system are one target: its ports and databases go down together. A breaker made in code is none, since
 * the calls within it may have one of their own.
 */
function targetOf({ name, labels: { system, server_address: address } }: CircuitBreaker): string | undefined {
  if (system === undefined) return undefined;
  return address === undefined ? name : `${system} ${address}`;
}
