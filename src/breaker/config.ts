import { ConfigError } from './errors.js';
import { formatSeconds } from './format.js';
import {
  checkOption,
  isOptionKey,
  nearestKey,
  OPTIONS,
  parseDuration,
  parseWindow,
  type BreakerConfig,
  type BreakerOptions,
  type ConfigProblem,
  type Duration,
} from './options.js';
import { presets } from './presets.js';

export type { BreakerConfig } from './options.js';

const DEFAULT_MAX_OPEN_DURATION = 5 * 60_000;
const DEFAULT_HALF_OPEN_TIMEOUT = 30_000;

// A configuration takes twice the memory of its breaker, and a service has thousands of breakers under few rules: what is
// complete already is not completed again, and whoever gives no options shares the defaults.
const complete = new WeakSet<object>();
let defaults: BreakerConfig | undefined;

/**
 * Completes options from their preset and checks them.
 *
 * @param where what is being configured, for the error: `CircuitBreaker "payments"`
 * @throws ConfigError naming every key that is unknown or has a bad value
 */
export function resolveConfig(options?: BreakerOptions, where = 'options'): BreakerConfig {
  if (options === undefined) return (defaults ??= resolveConfig({}));
  if (complete.has(options)) return options as BreakerConfig;
  const problems = checkOptions(options);
  if (problems.length > 0) throw new ConfigError(where, problems);
  const config = completed(options);
  complete.add(config);
  return config;
}

function completed(options: BreakerOptions): BreakerConfig {
  const given = withoutUndefined(options);
  const merged: MergedOptions = { ...presets[given.preset ?? 'default'], ...given };
  const openDuration = milliseconds(merged.openDuration);
  return Object.freeze({
    ...merged,
    preset: merged.preset,
    window: parseWindow(merged.window)!,
    recoveryDuration: milliseconds(merged.recoveryDuration),
    initialOpenDuration:
      merged.initialOpenDuration === undefined ? openDuration : milliseconds(merged.initialOpenDuration),
    openDuration,
    abandonedAfter: merged.abandonedAfter === 'off' ? 'off' : milliseconds(merged.abandonedAfter),
    maxOpenDuration:
      merged.maxOpenDuration === undefined
        ? Math.max(openDuration, DEFAULT_MAX_OPEN_DURATION)
        : milliseconds(merged.maxOpenDuration),
    halfOpenTimeout:
      merged.halfOpenTimeout === undefined
        ? Math.max(openDuration, DEFAULT_HALF_OPEN_TIMEOUT)
        : milliseconds(merged.halfOpenTimeout),
    ...(merged.slowCallDuration !== undefined && { slowCallDuration: milliseconds(merged.slowCallDuration) }),
    failureStatuses: Object.freeze([merged.failureStatuses].flat()),
    ...(merged.respondWith !== undefined && { whenOpen: 'respond' }),
  }) as BreakerConfig;
}

/** @throws ConfigError where nobody could tell the breaker from others */
export function checkName(name: unknown): void {
  if (typeof name === 'string' && name !== '') return;
  const consequence = 'nobody could tell its metrics and errors from those of other breakers';
  throw new ConfigError('CircuitBreaker', [
    { path: 'name', value: name, consequence, allowed: 'Use a string that is not empty.' },
  ]);
}

/** Everything that is wrong with a set of options; empty where nothing is. */
export function checkOptions(options: unknown): ConfigProblem[] {
  if (options === null || typeof options !== 'object' || Array.isArray(options)) {
    const consequence = 'there is nothing to read options from';
    return [{ path: 'options', value: options, consequence, allowed: 'Use an object, or leave it out.' }];
  }
  const problems: ConfigProblem[] = [];
  for (const [path, value] of Object.entries(options)) {
    if (!isOptionKey(path)) problems.push({ path, value, ...unknownKey(path, Object.keys(OPTIONS)) });
    else if (value !== undefined) {
      const problem = checkOption(path, value);
      if (problem !== undefined) problems.push({ path, value, ...problem });
    }
  }
  return problems.length > 0 ? problems : checkTogether(options);
}

/** What to say of a key that nobody reads. */
export function unknownKey(key: string, known: readonly string[]): Pick<ConfigProblem, 'consequence' | 'allowed'> {
  const nearest = nearestKey(key, known);
  return {
    consequence: 'this key is unknown and would have no effect',
    allowed: nearest === undefined ? `Known keys are ${known.join(', ')}.` : `Did you mean "${nearest}"?`,
  };
}

function checkTogether(options: BreakerOptions): ConfigProblem[] {
  const { initialOpenDuration, maxOpenDuration } = options;
  const openDuration = milliseconds(options.openDuration ?? presets[options.preset ?? 'default'].openDuration);
  const problems: ConfigProblem[] = [];
  if (initialOpenDuration !== undefined && milliseconds(initialOpenDuration) > openDuration) {
    problems.push({
      path: 'initialOpenDuration',
      value: initialOpenDuration,
      consequence: `it is longer than openDuration (${formatSeconds(openDuration)}), and openings would have to grow to less`,
      allowed: 'Use at most openDuration.',
    });
  }
  if (maxOpenDuration !== undefined && milliseconds(maxOpenDuration) < openDuration) {
    problems.push({
      path: 'maxOpenDuration',
      value: maxOpenDuration,
      consequence: `it is shorter than openDuration (${formatSeconds(openDuration)}), and one of the two would have no effect`,
      allowed: 'Use at least openDuration.',
    });
  }
  const minimumCalls = options.minimumCalls ?? presets[options.preset ?? 'default'].minimumCalls;
  const window = parseWindow(options.window);
  if (typeof window === 'object' && minimumCalls > window.calls) {
    problems.push({
      path: 'minimumCalls',
      value: minimumCalls,
      consequence: `the window has ${window.calls} calls, and no rate would ever be looked at`,
      allowed: 'Use at most the calls of the window.',
    });
  }
  const unanswered = checkAnswering(options);
  if (unanswered !== undefined) problems.push(unanswered);
  return problems;
}

/** Whether an answer is written for rejected calls that would get an error. */
export function checkAnswering({
  respondWith,
  whenOpen,
}: Pick<BreakerOptions, 'respondWith' | 'whenOpen'>): ConfigProblem | undefined {
  if (respondWith === undefined || whenOpen === undefined || whenOpen === 'respond') return undefined;
  const consequence = 'respondWith has the answer of a rejected call, which would never be given';
  return { path: 'whenOpen', value: whenOpen, consequence, allowed: 'Use "respond", or leave one of the two out.' };
}

function milliseconds(duration: Duration): number {
  return parseDuration(duration)!;
}

/** `{ window: undefined }` means the default, as leaving the key out does. */
function withoutUndefined(options: BreakerOptions): GivenOptions {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

type MergedOptions = GivenOptions & Required<Pick<GivenOptions, keyof typeof presets.default>>;
type GivenOptions = { [Key in keyof BreakerOptions]?: NonNullable<BreakerOptions[Key]> };
