import type { Guard } from '../../src/guard/guard.js';
import { BreakerInstrumentation, type BreakerInstrumentationConfig } from '../instrumentation.js';
import { PgAttachment } from './pg-attachment.js';

/** Guards `pg` and `pg-pool`, and with them everything built on these: cursors and streams, query builders, ORMs. */
export class PgBreakerInstrumentation extends BreakerInstrumentation {
  /** @throws ConfigError naming everything that is wrong with the rules given, or with the rules file */
  constructor(config?: BreakerInstrumentationConfig);
  /** @internal @param guard for tests */
  constructor(config?: BreakerInstrumentationConfig, guard?: Guard);
  constructor(config: BreakerInstrumentationConfig = {}, guard?: Guard) {
    super(PgAttachment, config, guard);
  }
}
