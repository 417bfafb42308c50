import type { Guard } from '../../src/guard/guard.js';
import { BreakerInstrumentation, type BreakerInstrumentationConfig } from '../instrumentation.js';
import { Mysql2Attachment } from './mysql2-attachment.js';

/** Guards `mysql2` 3: connections, pools and clusters of pools. */
export class Mysql2BreakerInstrumentation extends BreakerInstrumentation {
  /** @throws ConfigError naming everything that is wrong with the rules given, or with the rules file */
  constructor(config?: BreakerInstrumentationConfig);
  /** @internal @param guard for tests */
  constructor(config?: BreakerInstrumentationConfig, guard?: Guard);
  constructor(config: BreakerInstrumentationConfig = {}, guard?: Guard) {
    super(Mysql2Attachment, config, guard);
  }
}
