// What a fleet goes by: the rules and the environment, put together.
import { hostname } from 'node:os';
import { ConfigError } from '../breaker/errors.js';
import { parseDuration, type ConfigProblem, type Duration, type Mode } from '../breaker/options.js';
import type { FleetConfig, FleetConnect } from '../rules/rule.js';

/** What a fleet goes by, complete; durations in milliseconds. */
export interface FleetSettings {
  readonly mode: Mode;
  /** `local`: among the processes and threads of this machine, without a server. */
  readonly url: string | undefined;
  readonly connect: FleetConnect | undefined;
  readonly namespace: string;
  readonly domain: string;
  readonly quorum: number;
  readonly quorumShare: number;
  readonly agreement: number;
  readonly hearing: number;
  readonly lease: number;
  /** `undefined`: a tenth of the opening, at most `MAX_RAMP_UP_MS`. */
  readonly rampUp: number | undefined;
  readonly heartbeat: number;
}

/** What of the environment is about a fleet. */
export interface FleetEnvironment {
  readonly fleetMode: Mode | undefined;
  readonly fleetUrl: string | undefined;
  readonly fleetDomain: string | undefined;
}

export const LOCAL = 'local';
export const DEFAULTS = {
  mode: 'observe',
  quorum: 3,
  quorumShare: 0.1,
  agreement: 0.6,
  hearing: 50,
  lease: 5_000,
  heartbeat: 5_000,
} as const;
export const MAX_RAMP_UP_MS = 3_000;
export const SHARE_OF_RAMP_UP = 0.1;

/**
 * What the rules and the environment say of a fleet, together.
 *
 * @returns `undefined` where there is to be none
 * @throws ConfigError where it cannot be one
 */
export function resolveFleet(
  config: FleetConfig | undefined,
  environment: FleetEnvironment,
  service: string | undefined,
): FleetSettings | undefined {
  const url = config?.url ?? environment.fleetUrl;
  const connect = config?.connect;
  const mode = environment.fleetMode ?? config?.mode ?? DEFAULTS.mode;
  if (mode === 'off' || (config === undefined && url === undefined)) return undefined;
  const problems: ConfigProblem[] = [];
  if (url === undefined && connect === undefined) {
    problems.push({
      path: 'fleet.url',
      value: undefined,
      consequence: 'its replicas could not find each other',
      allowed: 'Use the URL of a Redis or Valkey server, "local", or in code connect.',
    });
  }
  const isLocal = connect === undefined && url === LOCAL;
  const namespace = config?.namespace ?? service ?? (isLocal ? LOCAL : undefined);
  if (namespace === undefined) {
    problems.push({
      path: 'fleet.namespace',
      value: undefined,
      consequence: 'services of other names would decide on each other’s circuits',
      allowed: 'Set it, or OTEL_SERVICE_NAME.',
    });
  }
  if (problems.length > 0) throw new ConfigError('fleet', problems);
  const ms = (value: Duration | undefined, otherwise: number) =>
    value === undefined ? otherwise : parseDuration(value)!;
  return {
    mode,
    url: connect === undefined ? url : undefined,
    connect,
    namespace: namespace!.replace(/[{}\s]/g, '_'),
    domain: environment.fleetDomain ?? hostname(),
    // On one machine there is one host: each process is a voter, and one is enough.
    quorum: config?.quorum ?? (isLocal ? 1 : DEFAULTS.quorum),
    quorumShare: config?.quorumShare ?? DEFAULTS.quorumShare,
    agreement: config?.agreement ?? DEFAULTS.agreement,
    hearing: ms(config?.hearing, DEFAULTS.hearing),
    lease: ms(config?.lease, DEFAULTS.lease),
    rampUp: config?.rampUp === undefined ? undefined : ms(config.rampUp, 0),
    heartbeat: ms(config?.heartbeat, DEFAULTS.heartbeat),
  };
}
