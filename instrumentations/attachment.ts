import { diag, trace, type MeterProvider, type Span, type TracerProvider } from '@opentelemetry/api';
import { whenOpenFor } from '../src/outcomes/when-open.js';
import { UNGUARDED, type Admission, type Guard, type Permit } from '../src/guard/guard.js';
import { RULES_KEYS, type RulesConfig } from '../src/rules/rule.js';
import { getGuard, getRuntime } from '../src/runtime.js';
import { NamedCall, type CallContext } from '../src/telemetry/events/call-context.js';
import { mark } from '../src/telemetry/events/span-events.js';
import { PACKAGE } from '../src/version.js';
import type { Target } from '../src/target.js';
import { Patches } from './patches.js';

/** Rules given here are for this instrumentation alone, and come before those of the rules file and of `configure()`. */
export interface BreakerInstrumentationConfig extends RulesConfig {
  /** Whether to attach at once; default true. */
  enabled?: boolean;
}

// One per client and thread, whichever copy of this package it comes from: a client patched twice would count twice.
const ATTACHED = Symbol.for('otel-breaker.attached');
const attached = ((globalThis as Record<symbol, unknown>)[ATTACHED] ??= new Map()) as Map<string, object>;

/**
 * What the instrumentations share: attaching, detaching and the door to the guard.
 *
 * It has the shape of an OpenTelemetry instrumentation, so that it fits into NodeSDK's array, without being built on
 * `InstrumentationBase`: constructing one of those in a preload caches `http` in require-in-the-middle before the
 * application's own SDK comes, whose http spans are then lost.
 */
export abstract class BreakerInstrumentation<
  Config extends BreakerInstrumentationConfig = BreakerInstrumentationConfig,
> {
  readonly instrumentationName: string;
  readonly instrumentationVersion = PACKAGE.version;

  readonly #client: string;
  readonly #spans = getRuntime().spans;
  #config: Config;
  #patches: Patches | undefined;
  protected guard: Guard;

  /**
   * @internal
   * @throws ConfigError naming everything that is wrong with the rules given, or with the rules file
   */
  protected constructor(client: string, config: Config, guard?: Guard) {
    this.#client = client;
    this.instrumentationName = `${PACKAGE.name}/${client}`;
    this.#config = config;
    this.guard = guard ?? getGuard(this.instrumentationName, config);
    if (config.enabled !== false) this.enable();
  }

  /** Changes the client through `patches` and nothing else, so that everything can be undone. */
  protected abstract patch(patches: Patches): void;

  /** Attaches to the client, copies loaded already and later. Attached already, here or by another copy of us, it does nothing. */
  enable(): void {
    if (this.#patches !== undefined) return;
    if (attached.has(this.#client)) {
      diag.debug(`${this.instrumentationName}: attached already, by another instance`);
      return;
    }
    attached.set(this.#client, this);
    this.#patches = new Patches();
    this.patch(this.#patches);
  }

  /** Leaves the client as it was. */
  disable(): void {
    if (this.#patches === undefined) return;
    attached.delete(this.#client);
    this.#patches.undo();
    this.#patches = undefined;
  }

  getConfig(): Config {
    return this.#config;
  }

  /** @throws ConfigError naming everything that is wrong with the rules given; then nothing changes */
  setConfig(config: Config): void {
    if (RULES_KEYS.some((key) => config[key] !== this.#config[key])) {
      this.guard = getGuard(this.instrumentationName, config);
    }
    this.#config = config;
  }

  /** Events are written through the API's global tracer, which hands on to whatever provider comes. */
  setTracerProvider(_provider: TracerProvider): void {}

  /** Metrics of all breakers go to the provider that the application's SDK hands us. */
  setMeterProvider(provider: MeterProvider): void {
    getRuntime().publishTo(provider);
  }

  /** Asks the guard for one call. A patch that had to stay in place after `disable()` finds its door open. */
  protected enter(target: Target, context?: CallContext, longRunning?: boolean): Admission {
    return this.#patches === undefined ? UNGUARDED : this.guard.enter(target, context, longRunning);
  }

  /** What telemetry knows of a call about to be made, by the name that OpenTelemetry's instrumentation gives its spans. */
  protected context(name: string | (() => string)): NamedCall {
    return new NamedCall(this.callSpan(), name);
  }

  /** The span of a call about to be made: what OpenTelemetry's instrumentation has made for it, else the active one. */
  protected callSpan(): Span | undefined {
    return this.#spans.claim(this.#client) ?? trace.getActiveSpan();
  }

  /**
   * Tells that the client's own function was called for a call. Where OpenTelemetry's instrumentation is within ours, it
   * has made its span by now: from here on, that is the span of the call.
   */
  protected sent(call: { span: Span | undefined }, permit?: Permit): void {
    const span = this.#spans.claim(this.#client);
    if (span === undefined) return;
    call.span = span;
    if (permit?.settled === false) mark(permit.breaker, span);
  }

  /** Whether a call that has just been rejected gets an answer rather than an error. */
  protected responds(client: 'http' | 'undici', target: Target): boolean {
    return whenOpenFor(client, this.guard.breakerOf(target).config) === 'respond';
  }

  /** A permit for what a target has shown without being called: a connection that could not be made. */
  protected evidence(target: Target): Permit {
    return this.#patches === undefined ? UNGUARDED : this.guard.evidence(target);
  }

  /** A permit to probe a target with a call of our own, where a half-open circuit has room for one; else `UNGUARDED`. */
  protected probe(target: Target, context?: CallContext): Permit {
    return this.#patches === undefined ? UNGUARDED : this.guard.probe(target, context);
  }

  /** The permit of a call that must be made whatever the state of the circuit. */
  protected pass(target: Target, context?: CallContext, longRunning?: boolean): Permit {
    return this.#patches === undefined ? UNGUARDED : this.guard.pass(target, context, longRunning);
  }

  /** Whether calls to a target need no asking just now. */
  protected isClosed(target: Target): boolean {
    return this.#patches === undefined || this.guard.isClosed(target);
  }

  /** Whether the circuit of a target is open and says so to its callers. */
  protected refuses(target: Target): boolean {
    return this.#patches !== undefined && this.guard.refuses(target);
  }
}
