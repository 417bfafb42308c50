// What the rules can say of a fleet, and how each value is checked.
import { checkOption, parseDuration, type Duration, type Mode } from '../breaker/options.js';
import { isFleetUrl } from '../environment.js';
import type { Finding } from './problem.js';

/** Makes a client of `ioredis`, a `Redis` or a `Cluster`; a second one is made of it by its `duplicate()`. */
export type FleetConnect = () => object;

/** How processes that call the same targets share what they see of them. */
export interface FleetConfig {
  /** A Redis or Valkey server, or `local`: the processes and threads of this machine. Default `OTEL_BREAKER_FLEET_URL`. */
  url?: string | undefined;
  /** In code only, in place of `url`: for a cluster, sentinels, or credentials that change. */
  connect?: FleetConnect | undefined;
  /** Who belongs to it: default `OTEL_SERVICE_NAME`. One for each region. */
  namespace?: string | undefined;
  /** `observe` (default) says what the fleet would do, `enforce` does it, `off` has none. */
  mode?: Mode | undefined;
  /** The number of hosts that must see a target fail. Whole number of 1 or more; default 3, with `local` 1. */
  quorum?: number | undefined;
  /** And this share of those that live. 0 to 1; default 0.1. */
  quorumShare?: number | undefined;
  /** And this share of those that have seen anything. Above 0, at most 1; default 0.6. */
  agreement?: number | undefined;
  /** For so long whoever reaches the target may object. Duration; default 50 ms. */
  hearing?: Duration | undefined;
  /** A ticket to probe lasts for that long. Duration of 1 s or more; default 5 s. */
  lease?: Duration | undefined;
  /** Within that time after the target is back, replicas close at random moments. Default a tenth of the opening, at most 3 s. */
  rampUp?: Duration | undefined;
  /** How often a replica says that it lives. Duration of 1 s or more; default 5 s. */
  heartbeat?: Duration | undefined;
}

type Words = Pick<Finding, 'consequence' | 'allowed'>;
export type FleetKey = keyof FleetConfig;

/** The shortest of each duration, in milliseconds. */
export const SHORTEST = { hearing: 0, lease: 1_000, rampUp: 0, heartbeat: 1_000 } as const;

/** In a file, a number without a unit is hardly meant in milliseconds. */
export const FLEET_DURATIONS: readonly string[] = Object.keys(SHORTEST);

export function fleetKeys(code: boolean): readonly FleetKey[] {
  const keys: FleetKey[] = [
    'url',
    'namespace',
    'mode',
    'quorum',
    'quorumShare',
    'agreement',
    'hearing',
    'lease',
    'rampUp',
    'heartbeat',
  ];
  return code ? [...keys, 'connect'] : keys;
}

/** What is wrong with a value, or `undefined` where nothing is. */
export function checkFleet(key: FleetKey, value: unknown): Words | undefined {
  switch (key) {
    case 'url':
      if (isFleetUrl(value)) return undefined;
      return {
        consequence: 'the replicas of the fleet could not meet there',
        allowed: 'Use a URL such as "redis://cache.internal:6379", or "local" for the processes of one machine.',
      };
    case 'connect':
      if (typeof value === 'function') return undefined;
      return { consequence: 'it could make no client', allowed: 'Use a function that returns a client of ioredis.' };
    case 'namespace':
      if (typeof value === 'string' && /^[^\s{}]+$/.test(value)) return undefined;
      return { consequence: 'no keys could be named by it', allowed: 'Use a text without white space and braces.' };
    case 'mode':
      return checkOption('mode', value);
    case 'quorum':
      return (
        checkOption('failureThreshold', value) && {
          consequence: 'no number of hosts is like that',
          allowed: 'Use a whole number of 1 or more.',
        }
      );
    case 'quorumShare':
      return checkOption('openJitter', value);
    case 'agreement':
      return (
        checkOption('failureRateThreshold', value) && {
          consequence: 'no share of those who have seen anything is like that',
          allowed: 'Use a number above 0 and at most 1.',
        }
      );
    default: {
      const ms = parseDuration(value);
      const least = SHORTEST[key];
      if (ms !== undefined && ms >= least) return undefined;
      return {
        consequence:
          ms === undefined ? `${JSON.stringify(value)} is not a duration` : 'the engine would be asked all the time',
        allowed: `Use milliseconds or a unit: 500ms, 5s${least > 0 ? `; at least ${least / 1_000}s` : ''}.`,
      };
    }
  }
}

export const FLEET_DESCRIPTIONS: Readonly<Record<FleetKey, string>> = {
  url: 'A Redis or Valkey server, or local: the processes and threads of this machine. Default OTEL_BREAKER_FLEET_URL.',
  connect: 'Makes a client of ioredis.',
  namespace: 'Who belongs to the fleet; default OTEL_SERVICE_NAME. One for each region.',
  mode: 'observe (default): say what the fleet would do; enforce: do it; off: none.',
  quorum: 'The number of hosts that must see a target fail; default 3, with local 1.',
  quorumShare: 'And this share of those that live; default 0.1.',
  agreement: 'And this share of those that have seen anything; default 0.6.',
  hearing: 'For so long whoever reaches the target may object; default 50ms.',
  lease: 'A ticket to probe lasts for that long; default 5s.',
  rampUp:
    'Within that time after the target is back, replicas close at random moments; default a tenth of the opening, at most 3s.',
  heartbeat: 'How often a replica says that it lives; default 5s.',
};
