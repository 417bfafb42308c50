import type { MeterProvider } from '@opentelemetry/api';
import { InstrumentationBase } from '@opentelemetry/instrumentation';
import type { Guard } from '../src/guard/guard.js';
import { RULES_KEYS, type RulesConfig } from '../src/rules/rule.js';
import { getGuard, getRuntime } from '../src/runtime.js';
import { PACKAGE } from '../src/version.js';
import type { Attachment, AttachmentClass } from './attachment.js';

/** Rules given here are for this instrumentation alone, and come before those of the rules file and of `configure()`. */
export interface BreakerInstrumentationConfig extends RulesConfig {
  /** Whether to attach at once; default true. */
  enabled?: boolean;
}

/**
 * The OpenTelemetry face of an attachment, for `instrumentations` of NodeSDK and for `registerInstrumentations`. It is
 * for an application's own SDK to construct, never for the preload: see docs/decisions.
 */
export abstract class BreakerInstrumentation extends InstrumentationBase<BreakerInstrumentationConfig> {
  readonly #attachment: Attachment;

  /**
   * @internal
   * @throws ConfigError naming everything that is wrong with the rules given, or with the rules file
   */
  protected constructor(Class: AttachmentClass, config: BreakerInstrumentationConfig, guard?: Guard) {
    const name = `${PACKAGE.name}/${Class.client}`;
    // The base class would enable before there is an attachment.
    super(name, PACKAGE.version, { ...config, enabled: false });
    this.#attachment = new Class(guard ?? getGuard(name, config));
    super.setConfig(config);
    if (config.enabled !== false) this.enable();
  }

  /** @internal What its calls ask. */
  get guard(): Guard {
    return this.#attachment.guard;
  }

  /** No module is patched through the hooks of OpenTelemetry: an attachment has its own. */
  protected override init(): void {}

  /** Attaches to the client, copies loaded already and later. Attached already, here or by another copy of us, it does nothing. */
  override enable(): void {
    super.enable();
    this.#attachment.attach();
  }

  /** Leaves the client as it was. */
  override disable(): void {
    super.disable();
    this.#attachment.detach();
  }

  /** @throws ConfigError naming everything that is wrong with the rules given; then nothing changes */
  override setConfig(config: BreakerInstrumentationConfig): void {
    // The constructor of the base class comes here first.
    if (#attachment in this) {
      const before = this.getConfig();
      if (RULES_KEYS.some((key) => config[key] !== before[key])) {
        this.#attachment.guard = getGuard(this.instrumentationName, config);
      }
    }
    super.setConfig(config);
  }

  /** Metrics of all breakers go to the provider that the application's SDK hands us. */
  override setMeterProvider(provider: MeterProvider): void {
    super.setMeterProvider(provider);
    getRuntime().publishTo(provider);
  }
}
