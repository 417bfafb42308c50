import type { CircuitBreaker } from '../breaker/circuit-breaker.js';
import { isUnreachable } from '../breaker/classification.js';
import { diagnostics } from '../breaker/diagnostics.js';
import { formatPercent, formatSeconds } from '../breaker/format.js';
import type { Transition } from '../breaker/observer.js';
import { DEFAULT_PANIC_THRESHOLD } from '../rules/rule.js';
import type { PanicChange } from '../telemetry/events/span-events.js';

// Fewer have too often one cause of their own: the same provider, the same rack.
const MIN_TARGETS = 4;
// What has one cause shows at once; what is spread wider is several outages.
const WITHIN = 10_000;
// All breakers are looked at no more often than this, however many circuits change.
const REVIEW_EVERY = 1_000;

/**
 * Notices when the share of targets lost at once is so large that the fault must be on our side: our own network, DNS, a
 * proxy. Rejecting calls would then turn one fault into an outage of everything, and hide it.
 *
 * Only a target that has answered before and cannot be reached now speaks for that. An answer, whatever its status, proves
 * the network; a host that never answered may not exist, and strangers may have named it; a circuit that was opened by
 * hand, or because its target asked for it, is no conclusion of ours.
 *
 * Circuits go on as in mode `observe`; only the word on what they would reject is taken from them. Nothing is looked at
 * but when a circuit changes and, in panic, once a second when a call would be rejected.
 */
export class Panic {
  #threshold = DEFAULT_PANIC_THRESHOLD;
  /** Since when targets are lost: circuits that opened because a target that had answered could not be reached. */
  readonly #lostAt = new Map<CircuitBreaker, number>();
  #reason: string | undefined;
  #hasBeen = false;
  #reviewAt = 0;
  /** How many targets that have answered there were at the last review. */
  #witnesses = 0;
  /** How many times a target was lost since the start, and with which of them there can be enough at the earliest. */
  #losses = 0;
  #enoughAt = 0;

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

  /** Whether it is panic now; `undefined` where it never was. */
  get isPanic(): boolean | undefined {
    return this.#hasBeen ? this.#reason !== undefined : undefined;
  }

  /** The share of targets beyond which it begins; 1 turns it off, since more than all cannot be lost. */
  get threshold(): number {
    return this.#threshold;
  }

  set threshold(share: number) {
    this.#threshold = share;
    // Whatever is in panic is judged anew by the next call that would be rejected, and what is not by the next loss.
    this.#reviewAt = this.#enoughAt = 0;
  }

  /** Asks this one for its word, and gives it one, until `isPanic` is taken from it again. */
  watch(breaker: CircuitBreaker): void {
    // One function for all breakers, not one for each.
    breaker.isPanic = this.#isActive;
  }

  forget(breaker: CircuitBreaker): void {
    breaker.isPanic = undefined;
    this.#lostAt.delete(breaker);
  }

  onTransition(breaker: CircuitBreaker, { to, cause }: Transition, context: unknown): void {
    if (to === 'half_open' || targetOf(breaker) === undefined) return;
    const now = this.now();
    const isLost = to === 'open' && breaker.isTripped && breaker.hasAnswered && isUnreachable(cause);
    const wasLost = this.#lostAt.has(breaker);
    if (!isLost) this.#lostAt.delete(breaker);
    else if (!wasLost) {
      this.#lostAt.set(breaker, now);
      this.#losses++;
    }
    if (this.#reason === undefined) {
      if (isLost && !wasLost) this.#beginIfTooMany(now, breaker, context);
    } else if (now >= this.#reviewAt || this.#lostAt.size <= this.#witnesses * this.#threshold) {
      this.#review(now, breaker, context);
    }
  }

  readonly #isActive = (now: number, breaker: CircuitBreaker): boolean => {
    if (this.#reason === undefined) return false;
    if (now >= this.#reviewAt) this.#review(now, breaker, undefined);
    return this.#reason !== undefined;
  };

  #beginIfTooMany(now: number, breaker: CircuitBreaker, context: unknown): void {
    // Before looking at every breaker there is.
    if (this.#losses < this.#enoughAt && now < this.#reviewAt) return;
    const lost = this.#lostTargets(now, WITHIN);
    if (lost <= MIN_TARGETS * this.#threshold) return;
    this.#count(now);
    const enough = this.#witnesses * this.#threshold;
    if (this.#witnesses < MIN_TARGETS || lost <= enough) {
      this.#enoughAt = this.#losses + Math.max(1, Math.floor(enough) + 1 - lost);
      return;
    }
    const reason = `${lost} of ${this.#witnesses} unrelated targets became unreachable within ${formatSeconds(WITHIN)}`;
    this.#change(true, reason, breaker, context);
  }

  #review(now: number, breaker: CircuitBreaker, context: unknown): void {
    const lost = this.#lostTargets(now, Infinity);
    this.#count(now);
    if (this.#witnesses >= MIN_TARGETS && lost > this.#witnesses * this.#threshold) return;
    this.#enoughAt = 0;
    this.#change(false, `${lost} of ${this.#witnesses} unrelated targets are still unreachable`, breaker, context);
  }

  #change(active: boolean, numbers: string, breaker: CircuitBreaker, context: unknown): void {
    const reason = `${numbers} (threshold ${formatPercent(this.#threshold)})`;
    this.#reason = active ? reason : undefined;
    this.#hasBeen = true;
    try {
      this.onChange({ active, reason, breaker }, context);
    } catch (error) {
      // It may be a call that is about to be made which brought this about.
      diagnostics.report('Telling of panic failed', error);
    }
  }

  /** How many targets were lost no longer ago than that, and are called. */
  #lostTargets(now: number, within: number): number {
    const targets = new Set<string>();
    for (const [breaker, at] of this.#lostAt) if (now - at <= within) addTarget(targets, breaker, now);
    return targets.size;
  }

  /** Counts the targets that have answered and are called. */
  #count(now: number): void {
    this.#reviewAt = now + REVIEW_EVERY;
    const targets = new Set<string>();
    for (const breaker of this.breakers) if (breaker.hasAnswered) addTarget(targets, breaker, now);
    this.#witnesses = targets.size;
  }
}

function addTarget(targets: Set<string>, breaker: CircuitBreaker, now: number): void {
  const target = targetOf(breaker);
  if (target !== undefined && breaker.hadCalls(now)) targets.add(target);
}

/**
 * One host and one system are one target: its ports and databases go down together. A breaker made in code is not counted, since
 * the calls within it may have one of their own.
 */
function targetOf({ name, labels: { system, server_address: address }, isPanic }: CircuitBreaker): string | undefined {
  if (system === undefined || isPanic === undefined) return undefined;
  return address === undefined ? name : `${system} ${address}`;
}
