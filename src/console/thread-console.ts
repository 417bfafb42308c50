import type { CircuitBreaker } from '../breaker/circuit-breaker.js';
import type { CircuitBreakerRegistry } from '../breaker/registry.js';
import type { Panic } from '../guard/panic.js';
import type { Explanation } from '../rules/rule-set.js';
import { log } from '../telemetry/log.js';
import type { SpanCapture } from '../telemetry/events/span-capture.js';
import type { DurationTotals } from '../telemetry/metrics/durations.js';
import { EVENT } from '../telemetry/names.js';
import type {
  Action,
  BreakerDetail,
  BreakerPatch,
  BreakerView,
  FleetBreakerView,
  TraceView,
  TransitionView,
} from './api.js';
import type { History } from './history/history.js';
import type { RingTrace } from './history/trace-ring.js';
import { redacted } from './redact.js';
import { viewBreaker, viewBreakerInFull, viewTrace, viewTransition, type Known } from './serialize.js';

/** What there is to see in one thread. */
export interface ThreadSource {
  readonly registry: CircuitBreakerRegistry;
  readonly panic: Pick<Panic, 'reason'>;
  readonly history: History;
  readonly spans: Pick<SpanCapture, 'watch' | 'feed'>;
  /** Whether traces are shown without the values in URLs and statements. */
  readonly redact: boolean;
  /** How long the calls of a breaker took. */
  readonly durationsOf: (breaker: CircuitBreaker) => DurationTotals | undefined;
  /** What the rules know of a breaker. */
  readonly explain: (breaker: CircuitBreaker) => Explanation | undefined;
  readonly rules: { readonly problem: string | null };
  /** How a breaker stands to the fleet; `undefined` where none shares it. */
  readonly fleetOf?: (breaker: CircuitBreaker) => FleetBreakerView | undefined;
}

/** What the console asks a thread; plain data, as its answers are. */
export type Question =
  /** `have`: the numbers of the news that whoever asks has got from all threads. */
  | { readonly ask: 'news'; readonly have: readonly number[] }
  | { readonly ask: 'breakers' }
  | { readonly ask: 'traces' }
  | { readonly ask: 'detail'; readonly name: string }
  | { readonly ask: 'act'; readonly name: string; readonly action: Action; readonly reason: string };

/** There is a console: what happens from now on is worth remembering. */
export const WATCH = { tell: 'watch' } as const;

/** What is different in a thread since its last news. */
export interface News {
  /** No other news of any thread has the same. */
  readonly id: number;
  /** Everything, since whoever asked has not got the news before. */
  readonly whole: boolean;
  readonly panic: string | null;
  /** Why the rules file as it is cannot be taken. */
  readonly rulesProblem: string | null;
  readonly tracing: boolean;
  readonly hidden: number;
  readonly changed: readonly (readonly [name: string, patch: BreakerPatch])[];
  readonly removed: readonly string[];
  readonly transitions: readonly TransitionView[];
  readonly traces: readonly TraceView[];
}

// Of one thread; circuits that are not closed are told of all the same.
const MAX_BREAKERS = 2_000;
// An open circuit can make hundreds of traces each second; nobody reads as many.
const MAX_REJECTION_TRACES = 5;
// All traces of one news together: a page that is opened in an outage must not wait for megabytes, nor a worker write them.
const MAX_TRACE_CHARACTERS = 1024 * 1024;
// No more traces than this are remembered.
const MAX_CHANGED_TRACES = 200;
// What is different after every call, and that nobody reads by the second, is told this often of closed circuits: of hundreds of
// breakers it is most of what there is to tell.
const AT_LEISURE_MS = 4_500;

const WORDS: Readonly<Record<Action, string>> = {
  open: 'opened by hand',
  reset: 'reset by hand',
  observe: 'set to observe by hand',
  enforce: 'set to enforce by hand',
};

/** The console's part in each thread and cluster worker: tells what is there, and does as it is told. */
export class ThreadConsole {
  readonly #source: ThreadSource;
  readonly #traces: ReturnType<typeof redacted>;
  #stops: (() => void)[] = [];
  #told = new Map<string, BreakerView>();
  #toldInFullAt = -Infinity;
  #toldSequence = 0;
  #newsId = 0;
  #changedTraces: Set<string> | undefined;
  #stopFollowing: (() => void) | undefined;

  constructor(source: ThreadSource) {
    this.#source = source;
    const { traces } = source.history;
    this.#traces = source.redact ? redacted(traces) : traces;
  }

  /** The latest traces, as they may be seen. */
  get traces(): readonly RingTrace[] {
    return this.#traces.traces();
  }

  /** From now on, calls are counted over time and traces are kept. */
  watch(): void {
    if (this.#stops.length > 0) return;
    const { registry, history, spans, durationsOf } = this.#source;
    history.recent.start(registry, durationsOf);
    this.#stops = [spans.feed(history.traces), () => history.recent.stop()];
  }

  stop(): void {
    for (const stop of this.#stops.splice(0)) stop();
    this.forget();
  }

  /** Nobody looks any longer: the next news are whole. */
  forget(): void {
    this.#told.clear();
    this.#newsId = 0;
    this.#stopFollowing?.();
  }

  /** @returns plain data; `null` where there is no such breaker */
  answer(
    question: Question,
  ): News | BreakerView | BreakerDetail | readonly BreakerView[] | readonly TraceView[] | null {
    switch (question.ask) {
      case 'news':
        return this.news(question.have);
      case 'breakers':
        return Array.from(this.#source.registry, (breaker) => this.view(breaker));
      case 'traces':
        return this.traces.map(viewTrace);
      case 'detail':
        return this.detail(question.name);
      case 'act':
        return this.act(question.name, question.action, question.reason);
    }
  }

  view(breaker: CircuitBreaker): BreakerView {
    return viewBreaker(breaker, this.#known(breaker));
  }

  detail(name: string): BreakerDetail | null {
    const breaker = this.#source.registry.get(name);
    if (breaker === undefined) return null;
    const { history, explain } = this.#source;
    return viewBreakerInFull(breaker, this.#known(breaker), history.transitions.latest(breaker), explain(breaker));
  }

  act(name: string, action: Action, reason: string): BreakerView | null {
    const breaker = this.#source.registry.get(name);
    if (breaker === undefined) return null;
    this.#source.history.transitions.doByHand(breaker, action, WORDS[action], reason, () => perform(action, breaker));
    log.info(`circuit "${name}": ${action}, through the console${reason && `: ${reason}`}`);
    return this.view(breaker);
  }

  news(have: readonly number[]): News {
    const { registry, panic, history, spans } = this.#source;
    const whole = !have.includes(this.#newsId);
    if (whole) this.#told.clear();
    // Two threads that begin at the same number would take each other's news for their own.
    this.#newsId = this.#newsId === 0 ? Math.floor(Math.random() * 2 ** 48) : this.#newsId + 1;

    const now = performance.now();
    const inFull = now - this.#toldInFullAt >= AT_LEISURE_MS;
    if (inFull) this.#toldInFullAt = now;
    const before = this.#told;
    this.#told = new Map();
    const changed: [string, BreakerPatch][] = [];
    let hidden = 0;
    for (const breaker of registry) {
      const known = before.get(breaker.name);
      if (known === undefined && this.#told.size >= MAX_BREAKERS && breaker.state === 'closed') {
        hidden++;
        continue;
      }
      const present = this.view(breaker);
      const view = known === undefined || inFull ? present : withoutHaste(known, present);
      this.#told.set(view.name, view);
      if (known === undefined) changed.push([view.name, { ...view, past: history.recent.of(breaker) }]);
      else {
        const patch = difference(known, view);
        if (patch !== undefined) changed.push([view.name, patch]);
      }
    }
    return {
      id: this.#newsId,
      whole,
      panic: panic.reason ?? null,
      tracing: spans.watch(),
      hidden,
      changed,
      removed: [...before.keys()].filter((name) => !this.#told.has(name)),
      transitions: this.#newTransitions(whole),
      rulesProblem: this.#source.rules.problem,
      traces: this.#newTraces(whole),
    };
  }

  #known(breaker: CircuitBreaker): Known {
    const { history, durationsOf, fleetOf } = this.#source;
    return {
      trouble: history.transitions.trouble(breaker),
      latency: history.recent.latency(breaker, durationsOf(breaker)),
      fleet: fleetOf?.(breaker),
    };
  }

  #newTransitions(whole: boolean): TransitionView[] {
    const { transitions } = this.#source.history;
    const since = whole ? 0 : this.#toldSequence;
    this.#toldSequence = transitions.sequence;
    if (since === transitions.sequence) return [];
    return transitions
      .latest()
      .filter(({ sequence }) => sequence > since)
      .map(viewTransition);
  }

  /** All in which a circuit has changed its state, and a few of the others. */
  #newTraces(whole: boolean): TraceView[] {
    const changed = this.#changedTraces;
    if (changed === undefined) this.#followTraces();
    else if (!whole && changed.size === 0) return [];
    let rejections = 0;
    const chosen: TraceView[] = [];
    let room = MAX_TRACE_CHARACTERS;
    for (const trace of this.traces) {
      if (!whole && changed !== undefined && !changed.has(trace.traceId)) continue;
      if (!hasTransition(trace) && ++rejections > MAX_REJECTION_TRACES) continue;
      const view = viewTrace(trace);
      room -= JSON.stringify(view).length;
      if (room < 0) break;
      chosen.push(view);
    }
    changed?.clear();
    return chosen;
  }

  #followTraces(): void {
    const changed = (this.#changedTraces = new Set<string>());
    const stop = this.#source.history.traces.onChange((traceId) => {
      changed.add(traceId);
      if (changed.size > MAX_CHANGED_TRACES) changed.delete(changed.values().next().value!);
    });
    this.#stopFollowing = () => {
      stop();
      this.#changedTraces = this.#stopFollowing = undefined;
    };
  }
}

function perform(action: Action, breaker: CircuitBreaker): void {
  if (action === 'open') breaker.forceOpen();
  else if (action === 'reset') breaker.reset();
  else breaker.reconfigure(Object.freeze({ ...breaker.config, mode: action }));
}

function hasTransition({ spans }: RingTrace): boolean {
  return spans.some(({ events }) => events.some(({ name }) => name === EVENT.transition || name === EVENT.panic));
}

/** What is told of a breaker now, while some of it can wait. */
function withoutHaste(told: BreakerView, present: BreakerView): BreakerView {
  if (present.state !== 'closed' || told.latency === null) return present;
  return { ...present, latency: told.latency, calls: { ...present.calls, inFlight: told.calls.inFlight } };
}

// Different with every call, and not shown in a list.
const UNTOLD: ReadonlySet<string> = new Set(['oldestMs', 'consecutiveSuccesses']);

/** @returns `undefined` where there is none that events tell of */
function difference(before: BreakerView, after: BreakerView): BreakerPatch | undefined {
  const calls = changes(before.calls, after.calls);
  const rest = changes(before, after);
  if (calls === undefined) return rest;
  return { ...rest, calls };
}

function changes<T extends object>(before: T, after: T): Partial<T> | undefined {
  let found: Partial<T> | undefined;
  for (const key in after) {
    const value = after[key];
    if (value === before[key] || key === 'calls' || UNTOLD.has(key)) continue;
    if (typeof value === 'object' && JSON.stringify(value) === JSON.stringify(before[key])) continue;
    found ??= {};
    found[key] = value;
  }
  return found;
}
