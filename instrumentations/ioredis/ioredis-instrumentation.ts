import type { Guard } from '../../src/guard/guard.js';
import { BreakerInstrumentation, type BreakerInstrumentationConfig } from '../instrumentation.js';
import { IoredisAttachment } from './ioredis-attachment.js';

/** Guards `ioredis` 5 and 6. */
export class IoredisBreakerInstrumentation extends BreakerInstrumentation {
  /** @throws ConfigError naming everything that is wrong with the rules given, or with the rules file */
  constructor(config?: BreakerInstrumentationConfig);
  /** @internal @param guard for tests */
  constructor(config?: BreakerInstrumentationConfig, guard?: Guard);
  constructor(config: BreakerInstrumentationConfig = {}, guard?: Guard) {
    super(IoredisAttachment, config, guard);
  }
}
