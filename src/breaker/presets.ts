import type { BreakerConfig, BreakerOptions, PresetName } from './options.js';

const SECOND = 1_000;

/** The numbers that make a preset what it is. */
const numbers = {
  failureThreshold: 5,
  successThreshold: 2,
  openDuration: 60 * SECOND,
  halfOpenMaxCalls: 3,
  minimumCalls: 10,
  countTimeouts: true,
} as const satisfies BreakerOptions;

/** What every preset shares unless it says otherwise. */
const base = {
  mode: 'enforce',
  ...numbers,
  failureRateThreshold: 0.5,
  window: 30 * SECOND,
  slowCallRateThreshold: 0.5,
  openBackoff: 1,
  openJitter: 0,
  recoveryDuration: 0,
  abandonedAfter: 1 * SECOND,
  // RFC 9110: 501 and 505 say that the request was not one the server can serve, not that the server is in trouble.
  failureStatuses: ['5xx', '!501', '!505'],
  honorRetryAfter: false,
} as const satisfies BreakerOptions;

/** A named set of defaults; durations in milliseconds. What is left out follows from `openDuration`, or is off. */
export type Preset = Omit<
  BreakerConfig,
  | 'initialOpenDuration'
  | 'maxOpenDuration'
  | 'halfOpenTimeout'
  | 'slowCallDuration'
  | 'whenOpen'
  | 'respondWith'
  | 'fleet'
  | 'isFailure'
>;

function preset(name: PresetName, own: Partial<Preset>): Preset {
  return Object.freeze({ preset: name, ...base, ...own });
}

/** The named sets of defaults. Each can be given as options: `new CircuitBreaker('mail', presets.notifications)`. */
export const presets: Readonly<Record<PresetName, Preset>> = Object.freeze({
  default: preset('default', {}),
  httpApi: preset('httpApi', { openDuration: 30 * SECOND }),
  llmService: preset('llmService', {
    failureThreshold: 3,
    openDuration: 120 * SECOND,
    halfOpenMaxCalls: 2,
    minimumCalls: 5,
    abandonedAfter: 10 * SECOND,
    honorRetryAfter: true,
  }),
  database: preset('database', {
    failureThreshold: 10,
    successThreshold: 3,
    openDuration: 10 * SECOND,
    halfOpenMaxCalls: 5,
    minimumCalls: 20,
  }),
  notifications: preset('notifications', { failureThreshold: 10, minimumCalls: 15, countTimeouts: false }),
  cache: preset('cache', {
    failureThreshold: 8,
    successThreshold: 3,
    openDuration: 20 * SECOND,
    halfOpenMaxCalls: 4,
    minimumCalls: 15,
  }),
});

/** What a preset itself says, without what all of them share: this much it means where it is named in a rule. */
export function ownNumbers(name: PresetName): BreakerOptions {
  const options = presets[name];
  const own = Object.entries(options).filter(
    ([key, value]) => key in numbers || value !== base[key as keyof typeof base],
  );
  return Object.fromEntries(own);
}
