import { diag, type MeterProvider, type TracerProvider } from '@opentelemetry/api';
import { UNGUARDED, type Admission, type Guard } from '../src/guard.js';
import { RULES_KEYS, type RulesConfig } from '../src/rules/rule.js';
import { getGuard, getRuntime } from '../src/runtime.js';
import { PACKAGE } from '../src/version.js';
import type { Target } from '../src/target.js';
import { Patches } from './patch.js';

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
  protected enter(target: Target, context?: unknown, longRunning?: boolean): Admission {
    return this.#patches === undefined ? UNGUARDED : this.guard.enter(target, context, longRunning);
  }
}
