import type { BreakerOptions, Mode, PresetName } from '../breaker/options.js';
import type { System } from '../target.js';
import type { FleetConfig } from './fleet.js';

export type { FleetConfig, FleetConnect } from './fleet.js';

/** Which targets a rule is for: those that every key given here fits. A list fits where one of its items does. */
export interface RuleMatch {
  system?: System | readonly System[] | undefined;
  /** A host name or address, a glob (`*` stands for characters of one label, `**` for any), or addresses as `10.0.0.0/8`. */
  host?: string | readonly string[] | undefined;
  port?: number | readonly number[] | undefined;
  /** The database of a PostgreSQL target; may be a glob. */
  database?: string | readonly string[] | undefined;
  /** The name that the target's breaker has by default, such as `https://api.example.com`; may be a glob. */
  name?: string | readonly string[] | undefined;
  /** The method of an HTTP request. */
  method?: string | readonly string[] | undefined;
  /**
   * The path of an HTTP request, without its query, or of a gRPC method (`/package.Service/Method`). `*` stands for
   * characters between two slashes, `**` for any number of segments. The path never makes another target: with a `name` the
   * rule has a circuit of its own, without one it decides how calls are judged, and the circuit is that of the target.
   */
  path?: string | readonly string[] | undefined;
}

/** Options of a rule, and of `defaults`. */
export interface RuleOptions extends Omit<BreakerOptions, 'preset'> {
  /** The set of defaults to start from: a built-in one, or one of `presets`. */
  preset?: PresetName | (string & {}) | undefined;
}

/** Options for the targets that it matches. */
export interface Rule extends RuleOptions {
  match: RuleMatch;
  /** One breaker of this name for all of its targets. `$1` to `$4` are what the wildcards of `match.host` stand for. */
  name?: string | undefined;
}

/** What a rules file says, and `configure()`. */
export interface RulesConfig {
  /** For all targets whose rule says nothing else. */
  mode?: Mode | undefined;
  /** Options for all targets; those of a rule, and the numbers of a preset that a rule names, come before them. */
  defaults?: RuleOptions | undefined;
  /** The first that matches counts. */
  rules?: readonly Rule[] | undefined;
  /** Sets of defaults of one's own, by their names; each may start from a built-in one. */
  presets?: Readonly<Record<string, BreakerOptions>> | undefined;
  /**
   * In files only: another rules file that this one adds to. Own rules stand before those of that file; of everything else, own
   * values come first. A path that starts from this file.
   */
  extends?: string | undefined;
  /** The largest number of automatic breakers; default 1000. */
  maxBreakers?: number | undefined;
  /**
   * Where more than this share of at least four unrelated targets becomes unreachable within ten seconds, something nearer is
   * broken, and no call is rejected until it clears. Above 0, at most 1; default 0.5; 1 turns it off.
   */
  panicThreshold?: number | undefined;
  /** How processes that call the same targets share what they see of them; default not at all. */
  fleet?: FleetConfig | undefined;
}

export const DEFAULT_MAX_BREAKERS = 1_000;
export const DEFAULT_PANIC_THRESHOLD = 0.5;

export const RULES_KEYS: readonly (keyof RulesConfig)[] = [
  'mode',
  'defaults',
  'rules',
  'presets',
  'extends',
  'maxBreakers',
  'panicThreshold',
  'fleet',
];
