import type { Guard } from '../../src/guard/guard.js';
import { BreakerInstrumentation, type BreakerInstrumentationConfig } from '../instrumentation.js';
import { UndiciAttachment } from './undici-attachment.js';

/** Guards `undici`, every copy of it, and so the global `fetch`, `WebSocket` and `EventSource`. */
export class UndiciBreakerInstrumentation extends BreakerInstrumentation {
  /** @throws ConfigError naming everything that is wrong with the rules given, or with the rules file */
  constructor(config?: BreakerInstrumentationConfig);
  /** @internal @param guard for tests */
  constructor(config?: BreakerInstrumentationConfig, guard?: Guard);
  constructor(config: BreakerInstrumentationConfig = {}, guard?: Guard) {
    super(UndiciAttachment, config, guard);
  }
}
