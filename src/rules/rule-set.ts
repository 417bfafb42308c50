import { resolveConfig, type BreakerConfig } from '../breaker/config.js';
import type { PresetName } from '../breaker/options.js';
import { targetName, type System, type Target } from '../target.js';

/** What the rules say of one target. */
export interface Resolution {
  /** The name of its breaker. */
  readonly name: string;
  readonly config: BreakerConfig;
  /** Whether targets at other addresses have the same breaker, so that its metrics can name none. */
  readonly shared: boolean;
}

const PRESETS: Readonly<Record<System, PresetName>> = { http: 'httpApi', redis: 'cache', postgresql: 'database' };

/** Which options for which target. */
export class RuleSet {
  resolve(target: Target): Resolution {
    return { name: targetName(target), config: resolveConfig({ preset: PRESETS[target.system] }), shared: false };
  }
}
