import type { Guard } from '../../src/guard/guard.js';
import { BreakerInstrumentation, type BreakerInstrumentationConfig } from '../instrumentation.js';
import { NodeRedisAttachment } from './node-redis-attachment.js';

/** Guards `redis` (node-redis) 5 and 6, with its pools and clusters. */
export class NodeRedisBreakerInstrumentation extends BreakerInstrumentation {
  /** @throws ConfigError naming everything that is wrong with the rules given, or with the rules file */
  constructor(config?: BreakerInstrumentationConfig);
  /** @internal @param guard for tests */
  constructor(config?: BreakerInstrumentationConfig, guard?: Guard);
  constructor(config: BreakerInstrumentationConfig = {}, guard?: Guard) {
    super(NodeRedisAttachment, config, guard);
  }
}
