// Every option of a breaker: its type, its bounds, its default and its meaning.
import type { Mode } from './mode.js';
import { checkRespondWith, type RespondWith } from './respond-with.js';
import { isNonCallable } from './values.js';

export type { Mode } from './mode.js';

/** A duration: milliseconds, or a number with a unit: `500ms`, `1.5s`, `2m`, `1h`. */
export type Duration = number | string;

/** A number of calls, where rates are those of the last calls. */
export interface CallCount {
  readonly calls: number;
}

/**
 * What becomes of a call that an open circuit rejects: an error (`throw`), or a `503` answer of our own (`respond`, http and
 * undici; `FAILED_PRECONDITION` of gRPC). `wait` is for clients that keep calls in a queue of their own, such as ioredis: a
 * call that the client would still make by itself is not rejected.
 */
export type WhenOpen = 'throw' | 'respond' | 'wait';

/** What one failed call says of its target: a failure (`true`), a success (`false`: the target did answer), or nothing. */
export type FailureVerdict = boolean | 'ignored';

/** A call that failed, as far as its client says what it was; breakers made in code know no more than their name. */
export interface FailedCall {
  /** The name of its breaker. */
  readonly name: string;
  /** What was called: `http`, `redis`, `postgresql`. */
  readonly system?: string | undefined;
  readonly host?: string | undefined;
  readonly port?: number | undefined;
  readonly database?: string | undefined;
  /** Of an HTTP request, in capital letters. */
  readonly method?: string | undefined;
  /** Of an HTTP request or a gRPC method, as rules compare it: without query. */
  readonly path?: string | undefined;
  /** The name alone: `get` of Redis, `SELECT` of PostgreSQL. */
  readonly command?: string | undefined;
}

/** The names of `presets`. */
export type PresetName = 'default' | 'httpApi' | 'llmService' | 'database' | 'notifications' | 'cache';

/**
 * Everything that can be set on a breaker. The same keys in code and in the rules file.
 *
 * Defaults are those of the preset: see the table of `presets`.
 */
export interface BreakerOptions {
  /** The set of defaults to start from. */
  preset?: PresetName | undefined;
  /** Default `enforce`. */
  mode?: Mode | undefined;
  /** Number of consecutive failures that opens the circuit. Whole number of 1 or more; default 5. */
  failureThreshold?: number | undefined;
  /** This share of failures within `window` opens the circuit, once `minimumCalls` were made in it. Above 0, at most 1; default 0.5. */
  failureRateThreshold?: number | undefined;
  /** Number of calls within `window` from which on rates are looked at. Whole number of 1 or more; default 10. */
  minimumCalls?: number | undefined;
  /** Rates are those of the calls within this time, or of the last calls: `'100 calls'`. Duration of 100 ms or more; default 30 s. */
  window?: Duration | CallCount | undefined;
  /** A call that takes this long is slow. Duration; not set: no call is slow. */
  slowCallDuration?: Duration | undefined;
  /** This share of slow calls within `window` opens the circuit. Above 0, at most 1; default 0.5; without effect unless `slowCallDuration` is set. */
  slowCallRateThreshold?: number | undefined;
  /**
   * How long the circuit stays open at first. An opening lasts a quarter of the time for which the circuit has not been
   * closed, at least this, at most `openDuration`; that time goes on where the circuit opens again within `window` of
   * closing. Duration, not above `openDuration`; default `openDuration`, and 200 ms for automatic breakers.
   */
  initialOpenDuration?: Duration | undefined;
  /** How long the circuit stays open before it lets a probe through, once the target has been away for a while. Duration; default 60 s. */
  openDuration?: Duration | undefined;
  /**
   * The longest that backoff or a `Retry-After` may keep it open; jitter adds to a `Retry-After` only. Duration, not below
   * `openDuration`; default the larger of `openDuration` and 5 min.
   */
  maxOpenDuration?: Duration | undefined;
  /** Once openings last for `openDuration`, each reopening multiplies the open time by this. 1 or more; default 1 (none). */
  openBackoff?: number | undefined;
  /**
   * Spreads the open time at random by up to this share to either side, so that a fleet does not probe in step; downwards
   * only at `maxOpenDuration`, upwards only after a `Retry-After`. 0 to 1; default 0.
   */
  openJitter?: number | undefined;
  /** Number of probes that may run at the same time while half-open. Whole number of 1 or more; default 3. */
  halfOpenMaxCalls?: number | undefined;
  /**
   * Number of consecutive successful probes that closes the circuit; or `'3 of 5'`: three of five close it, and the circuit opens
   * again once that is out of reach. Whole number of 1 or more; default 2.
   */
  successThreshold?: number | string | undefined;
  /** A probe without an answer gives its slot back after this time; its outcome still counts. Duration; default the larger of `openDuration` and 30 s. */
  halfOpenTimeout?: Duration | undefined;
  /**
   * Once the probes have succeeded, the share of calls that are let through grows for this time, from a tenth to all, before the
   * circuit closes. `failureThreshold` and the rates hold for those calls. Duration; default 0 (off).
   */
  recoveryDuration?: Duration | undefined;
  /** Whether a call that timed out is a failure; otherwise it is ignored. Default true. */
  countTimeouts?: boolean | undefined;
  /**
   * From this time on, a call that its caller gives up without an answer can be a timeout, also where the caller gives no
   * reason.
   * Duration, or `off`; default 1 s, in `llmService` 10 s.
   */
  abandonedAfter?: Duration | undefined;
  /** HTTP statuses that are failures: numbers, classes (`5xx`), each with `!` in front to exclude it. Default `[5xx, !501, !505]`. */
  failureStatuses?: readonly (number | string)[] | number | string | undefined;
  /** Whether a `Retry-After` on a 429 or 503 opens the circuit for that long, at most `maxOpenDuration`. Default false; true in `llmService`. */
  honorRetryAfter?: boolean | undefined;
  /** What becomes of a rejected call. Default `throw`, `respond` for undici in `llmService`, `wait` for redis, mongodb, and calls of gRPC that ask to. */
  whenOpen?: WhenOpen | undefined;
  /**
   * What `whenOpen: respond` answers, for http, http2, undici and fetch: a fallback without code. Implies `whenOpen: respond`. Default: a
   * `503` with `Retry-After` and `x-should-retry: false`, which answers from 400 on get too.
   */
  respondWith?: RespondWith | undefined;
  /**
   * Whether a fleet shares the breaker, where there is one. Default true for automatic breakers of targets on other machines,
   * else false.
   */
  fleet?: boolean | undefined;
  /** The verdict on a failed call's cause, in code only. Takes precedence over every built-in classification. */
  isFailure?: ((cause: unknown, call: FailedCall) => FailureVerdict) | undefined;
}

/** A breaker's options, complete and checked; durations in milliseconds. Can be given as options again. */
export interface BreakerConfig {
  readonly preset: PresetName;
  readonly mode: Mode;
  readonly failureThreshold: number;
  readonly failureRateThreshold: number;
  readonly minimumCalls: number;
  readonly window: number | CallCount;
  readonly slowCallDuration?: number;
  readonly slowCallRateThreshold: number;
  readonly initialOpenDuration: number;
  readonly openDuration: number;
  readonly maxOpenDuration: number;
  readonly openBackoff: number;
  readonly openJitter: number;
  readonly halfOpenMaxCalls: number;
  readonly successThreshold: number | string;
  readonly halfOpenTimeout: number;
  readonly recoveryDuration: number;
  readonly countTimeouts: boolean;
  readonly abandonedAfter: number | 'off';
  readonly failureStatuses: readonly (number | string)[];
  readonly honorRetryAfter: boolean;
  readonly whenOpen?: WhenOpen;
  readonly respondWith?: RespondWith;
  readonly fleet?: boolean;
  readonly isFailure?: (cause: unknown, call: FailedCall) => FailureVerdict;
}

export type OptionKey = keyof BreakerOptions;

/** One thing wrong with a configuration. */
export interface ConfigProblem {
  /** Where: the option's key, or its path in the rules file. */
  readonly path: string;
  readonly value: unknown;
  /** What would go wrong if the value were taken. */
  readonly consequence: string;
  /** What may stand there instead: a sentence. */
  readonly allowed: string;
  /** Where in a file, where it came from one. */
  readonly at?: SourcePosition | undefined;
}

/** A place in a file. */
export interface SourcePosition {
  readonly file: string;
  /** From 1; 0 where the file as a whole is meant. */
  readonly line: number;
  /** From 1. */
  readonly column: number;
  /** How many characters of the line are meant. */
  readonly length: number;
  /** The line itself. */
  readonly text: string;
}

/** How an option's value is checked. The rules file's schema is made from the same table. */
export type OptionSpec = { readonly describe: string } & (
  | { readonly kind: 'count'; readonly below: string }
  | { readonly kind: 'share'; readonly zero: string | undefined }
  | { readonly kind: 'factor'; readonly below: string }
  | { readonly kind: 'duration'; readonly min: number; readonly below: string; readonly off?: true }
  | { readonly kind: 'window'; readonly min: number; readonly below: string }
  | { readonly kind: 'quorum'; readonly below: string }
  | { readonly kind: 'flag' }
  | { readonly kind: 'choice'; readonly values: readonly string[]; readonly other: string }
  | { readonly kind: 'statuses' }
  | { readonly kind: 'answer' }
  | { readonly kind: 'function' }
);

export const PRESET_NAMES: readonly PresetName[] = [
  'default',
  'httpApi',
  'llmService',
  'database',
  'notifications',
  'cache',
];
export const MODES: readonly Mode[] = ['enforce', 'observe', 'off'];

export const OPTIONS: Readonly<Record<OptionKey, OptionSpec>> = {
  preset: {
    kind: 'choice',
    values: PRESET_NAMES,
    other: 'there are no numbers to start from',
    describe: 'The set of defaults to start from.',
  },
  mode: {
    kind: 'choice',
    values: MODES,
    other: 'it would not be known whether to reject calls',
    describe:
      'enforce: reject calls while the circuit is open; observe: run the whole machine and reject nothing; off: do nothing.',
  },
  failureThreshold: {
    kind: 'count',
    below: 'the circuit would open before any call has failed',
    describe: 'Number of consecutive failures that opens the circuit.',
  },
  failureRateThreshold: {
    kind: 'share',
    zero: 'the circuit would open although every call succeeds',
    describe: 'This share of failures within the window opens the circuit, once minimumCalls were made in it.',
  },
  minimumCalls: {
    kind: 'count',
    below: 'the circuit would open on its first failure',
    describe: 'Number of calls within the window from which on rates are looked at.',
  },
  window: {
    kind: 'window',
    min: 100,
    below: 'calls would be forgotten before a rate can be seen',
    describe: 'Rates are those of the calls within this time, or of the last calls: 100 calls.',
  },
  slowCallDuration: {
    kind: 'duration',
    min: 1,
    below: 'every call would be slow',
    describe: 'A call that takes this long is slow. Not set: no call is slow.',
  },
  slowCallRateThreshold: {
    kind: 'share',
    zero: 'the circuit would open although no call is slow',
    describe:
      'This share of slow calls within the window opens the circuit. Without effect unless slowCallDuration is set.',
  },
  initialOpenDuration: {
    kind: 'duration',
    min: 1,
    below: 'an open circuit would reject nothing',
    describe:
      'How long the circuit stays open at first. An opening lasts a quarter of the time for which the circuit has not been closed, at least this, at most openDuration. Automatic breakers: 200ms.',
  },
  openDuration: {
    kind: 'duration',
    min: 1,
    below: 'an open circuit would reject nothing',
    describe:
      'How long the circuit stays open before it lets a probe through, once the target has been away for a while.',
  },
  maxOpenDuration: {
    kind: 'duration',
    min: 1,
    below: 'an open circuit would reject nothing',
    describe: 'The longest that backoff or a Retry-After may keep the circuit open; jitter adds to a Retry-After only.',
  },
  openBackoff: {
    kind: 'factor',
    below: 'each failed probe would shorten the wait, and a dead target would be probed ever more often',
    describe: 'Once openings last for openDuration, each reopening multiplies the open time by this; 1 turns it off.',
  },
  openJitter: {
    kind: 'share',
    zero: undefined,
    describe:
      'Spreads the open time at random by up to this share to either side, so that a fleet does not probe in step.',
  },
  halfOpenMaxCalls: {
    kind: 'count',
    below: 'no probe could ever run: this would never close the circuit',
    describe: 'Number of probes that may run at the same time while the circuit is half-open.',
  },
  successThreshold: {
    kind: 'quorum',
    below: 'the circuit would close before any probe has succeeded',
    describe:
      'Number of consecutive successful probes that closes the circuit; or 3 of 5: three of five close it, and it opens again once that is out of reach.',
  },
  halfOpenTimeout: {
    kind: 'duration',
    min: 1,
    below: 'every probe would lose its slot at once',
    describe: 'A probe without an answer gives its slot back after this time; its outcome still counts.',
  },
  recoveryDuration: {
    kind: 'duration',
    min: 0,
    below: 'no time is shorter than none',
    describe:
      'Once the probes have succeeded, the share of calls that are let through grows for this time, from a tenth to all, before the circuit closes. 0 turns it off.',
  },
  countTimeouts: { kind: 'flag', describe: 'Whether a call that timed out is a failure; otherwise it is ignored.' },
  abandonedAfter: {
    kind: 'duration',
    min: 1,
    below: 'every call that a caller gives up could be a timeout',
    off: true,
    describe:
      'From this time on, a call that its caller gives up without an answer can be a timeout, also where the caller gives no reason; or off.',
  },
  failureStatuses: {
    kind: 'statuses',
    describe: 'HTTP statuses that are failures: numbers, classes like 5xx, each with ! in front to exclude it.',
  },
  honorRetryAfter: {
    kind: 'flag',
    describe: 'Whether a Retry-After on a 429 or 503 opens the circuit for that long, at most maxOpenDuration.',
  },
  whenOpen: {
    kind: 'choice',
    values: ['throw', 'respond', 'wait'],
    other: 'it would not be known how to refuse a call',
    describe:
      'What becomes of a rejected call: throw an error, respond with a 503 answer (http, http2, undici) or FAILED_PRECONDITION (grpc), or wait for what the client does by itself (redis, mongodb).',
  },
  respondWith: {
    kind: 'answer',
    describe:
      'What whenOpen: respond answers, for http, http2, undici and fetch: status (default 200), headers, and a body (a text, or a value sent as JSON) or the file that holds it. At most 64 KB; implies whenOpen: respond.',
  },
  fleet: {
    kind: 'flag',
    describe:
      'Whether a fleet shares the breaker, where there is one. Default true for automatic breakers of targets on other machines.',
  },
  isFailure: { kind: 'function', describe: 'The verdict on the cause of a failed call.' },
};

/** What is decided for each call: all that a rule may set which has no circuit of its own. */
export const OPTIONS_OF_CALLS: readonly OptionKey[] = [
  'mode',
  'failureStatuses',
  'countTimeouts',
  'honorRetryAfter',
  'slowCallDuration',
  'abandonedAfter',
  'whenOpen',
  'respondWith',
  'isFailure',
];

/** A duration with a unit. No flags: it is also a pattern of the JSON schema. */
export const DURATION_PATTERN = /^\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h)\s*$/;

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/** Milliseconds of a duration, or `undefined` where the value is not one. */
export function parseDuration(value: unknown): number | undefined {
  if (typeof value === 'number') return Number.isFinite(value) && value >= 0 ? value : undefined;
  if (typeof value !== 'string') return undefined;
  const match = DURATION_PATTERN.exec(value);
  return match ? Number(match[1]) * UNITS[match[2]!]! : undefined;
}

/** A number of calls. No flags: it is also a pattern of the JSON schema. */
export const CALLS_PATTERN = /^\s*([1-9]\d*) *calls?\s*$/;
// Each takes a byte of its breaker.
const MAX_CALLS = 10_000;

/** The length of a window: milliseconds, or a number of calls; `undefined` where the value is neither. */
export function parseWindow(value: unknown): number | CallCount | undefined {
  const isCount = value !== null && typeof value === 'object';
  const written = typeof value === 'string' ? CALLS_PATTERN.exec(value)?.[1] : undefined;
  const calls = isCount ? (value as Partial<CallCount>).calls : written && Number(written);
  if (calls === undefined) return isCount ? undefined : parseDuration(value);
  return Number.isInteger(calls) && (calls as number) > 0 && (calls as number) <= MAX_CALLS
    ? Object.freeze({ calls: calls as number })
    : undefined;
}

/** `3 of 5`. No flags: it is also a pattern of the JSON schema. */
export const QUORUM_PATTERN = /^\s*([1-9]\d*) +of +([1-9]\d*)\s*$/;

/** How many probes must succeed, of how many; a number alone is of as many. `undefined` where the value is neither. */
export function parseQuorum(value: unknown): { readonly needed: number; readonly of: number } | undefined {
  if (typeof value === 'number') return { needed: value, of: value };
  const [, needed, of] = (typeof value === 'string' && QUORUM_PATTERN.exec(value)) || [];
  return of === undefined || Number(needed) > Number(of) ? undefined : { needed: Number(needed), of: Number(of) };
}

/** A status, a class of them, or an exception. No flags: it is also a pattern of the JSON schema. */
export const STATUS_PATTERN = /^!?[1-5](\d\d|[xX]{2})$/;

function isStatus(value: unknown): boolean {
  return (typeof value === 'number' || typeof value === 'string') && STATUS_PATTERN.test(String(value));
}

/** What is wrong with the value of an option, or `undefined` where nothing is. */
export function checkOption(key: OptionKey, value: unknown): Omit<ConfigProblem, 'path' | 'value'> | undefined {
  const spec = OPTIONS[key];
  switch (spec.kind) {
    case 'count':
      if (Number.isSafeInteger(value) && (value as number) >= 1) return undefined;
      return {
        consequence: typeof value === 'number' && value < 1 ? spec.below : 'calls are counted in whole numbers',
        allowed: 'Use a whole number of 1 or more.',
      };
    case 'share': {
      const above = spec.zero === undefined ? 'from 0 to 1' : 'above 0 and at most 1';
      if (typeof value === 'number' && value >= 0 && value <= 1 && !(value === 0 && spec.zero !== undefined)) {
        return undefined;
      }
      if (typeof value === 'number' && value > 1 && value <= 100) {
        return {
          consequence: 'no share is ever above 1',
          allowed: `Use a number ${above}: write ${value} % as ${value / 100}.`,
        };
      }
      return {
        consequence: value === 0 && spec.zero !== undefined ? spec.zero : 'a share is a part of 1',
        allowed: `Use a number ${above}.`,
      };
    }
    case 'factor':
      if (typeof value === 'number' && Number.isFinite(value) && value >= 1) return undefined;
      return {
        consequence: typeof value === 'number' ? spec.below : 'the open time cannot be multiplied by it',
        allowed: 'Use a number of 1 or more (1 = none).',
      };
    case 'duration': {
      if (spec.off && value === 'off') return undefined;
      const duration = parseDuration(value);
      if (duration !== undefined && duration >= spec.min) return undefined;
      return {
        consequence: duration === undefined ? 'it is not a duration' : spec.below,
        allowed: `Use milliseconds, or a number with a unit like "500ms", "30s" or "2m", of ${spec.min} ms or more${spec.off ? ', or "off"' : ''}.`,
      };
    }
    case 'window': {
      const length = parseWindow(value);
      if (length !== undefined && (typeof length === 'object' || length >= spec.min)) return undefined;
      if (isNonCallable(value) || (typeof value === 'string' && value.includes('call'))) {
        return {
          consequence: 'it is no number of calls',
          allowed: `Use a number from 1 to ${MAX_CALLS}: "100 calls".`,
        };
      }
      return {
        consequence: length === undefined ? 'it is not a duration' : spec.below,
        allowed: `Use milliseconds, or a number with a unit like "500ms", "30s" or "2m", of ${spec.min} ms or more.`,
      };
    }
    case 'quorum': {
      const isCount = typeof value === 'number' && Number.isSafeInteger(value) && value >= 1;
      if (isCount || (typeof value === 'string' && parseQuorum(value) !== undefined)) return undefined;
      if (typeof value === 'string' && value.includes('of')) {
        return {
          consequence: 'it does not say how many of how many probes must succeed',
          allowed: 'Use two whole numbers, the second as large as the first or larger: "3 of 5".',
        };
      }
      return {
        consequence: typeof value === 'number' && value < 1 ? spec.below : 'calls are counted in whole numbers',
        allowed: 'Use a whole number of 1 or more.',
      };
    }
    case 'flag':
      if (typeof value === 'boolean') return undefined;
      return { consequence: 'it would be taken for true or false by accident', allowed: 'Use true or false.' };
    case 'choice':
      if (spec.values.includes(value as string)) return undefined;
      return { consequence: spec.other, allowed: `Use ${oneOf(spec.values)}.` };
    case 'statuses': {
      const list: readonly unknown[] = Array.isArray(value) ? value : [value];
      if (list.length > 0 && list.every(isStatus)) return undefined;
      return {
        consequence: 'it could not judge an answer',
        allowed: 'Use a list of statuses (429), classes ("5xx") and exceptions ("!501").',
      };
    }
    case 'answer':
      return checkRespondWith(value);
    case 'function':
      if (typeof value === 'function') return undefined;
      return {
        consequence: 'it could not judge a failure',
        allowed: 'Use a function; it can be given in code only.',
      };
  }
}

export function isOptionKey(key: string): key is OptionKey {
  return Object.hasOwn(OPTIONS, key);
}

/** "a, b or c", each in quotes. */
export function oneOf(values: readonly string[]): string {
  const quoted = values.map((value) => `"${value}"`);
  return quoted.length < 2 ? quoted.join('') : `${quoted.slice(0, -1).join(', ')} or ${quoted.at(-1)!}`;
}

/** The known key that was probably meant, or `undefined` where no key is near. */
export function nearestKey(key: string, known: readonly string[]): string | undefined {
  let nearest: string | undefined;
  let best = Math.max(2, Math.floor(key.length / 3)) + 1;
  for (const candidate of known) {
    const distance = distanceBetween(key.toLowerCase(), candidate.toLowerCase());
    if (distance < best) {
      best = distance;
      nearest = candidate;
    }
  }
  return nearest;
}

function distanceBetween(key: string, candidate: string): number {
  // "hostname" for "host": many letters apart, and still what was meant.
  const related = key.length > 3 && (key.startsWith(candidate) || candidate.startsWith(key));
  return related ? 1 : editDistance(key, candidate);
}

/** Levenshtein distance: insertions, deletions and substitutions that turn one word into the other. */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const substitution = previous[column - 1]! + (a[row - 1] === b[column - 1] ? 0 : 1);
      current.push(Math.min(previous[column]! + 1, current[column - 1]! + 1, substitution));
    }
    previous = current;
  }
  return previous[b.length]!;
}
