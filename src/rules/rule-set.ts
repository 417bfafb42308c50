import { resolveConfig, type BreakerConfig } from '../breaker/config.js';
import type { BreakerOptions, Mode, OptionKey, PresetName } from '../breaker/options.js';
import { ownNumbers, presets } from '../breaker/presets.js';
import { MODE_VARIABLE } from '../environment.js';
import {
  ownOptionsOf,
  presetOf,
  takesAnswers,
  targetLabels,
  targetName,
  throughProxy,
  type System,
  type Target,
} from '../target.js';
import { firstForCall, Matcher, MatchIndex, normalizeHost, type Endpoint, type Found } from './match.js';
import { isTelemetryEndpoint } from './telemetry-endpoints.js';
import {
  DEFAULT_MAX_BREAKERS,
  DEFAULT_PANIC_THRESHOLD,
  type FleetConfig,
  type Rule,
  type RulesConfig,
} from './rule.js';

/** What the rules say of one target. */
export interface Resolution {
  /** The name of its breaker. */
  readonly name: string;
  readonly config: BreakerConfig;
  /** Whether targets at other addresses have the same breaker, so that its metrics can name none. */
  readonly shared: boolean;
  /** What is true of all targets of its breaker. */
  readonly labels: Readonly<Record<string, string | number>>;
  /** Agents send telemetry there, and no rule is about it: no part of health and panic. */
  readonly isTelemetry?: boolean;
  /** What decides for these calls in the place of `config`, which is for all calls of the breaker. */
  readonly ofCalls?: BreakerConfig;
}

/** A rule for some calls to its targets only, by their path or method. */
export type PartialRule = Found<CompiledRule>;

/** One source of rules: a file, or a call of `configure()`. */
export interface RulesSection {
  /** What people call it: the file's path, `configure()`. */
  readonly origin: string;
  readonly config: RulesConfig;
  /** Of a file: the one that it extends. */
  readonly base?: RulesSection;
}

/** Sections, each followed by what it extends. */
export function withBases(sections: readonly RulesSection[]): RulesSection[] {
  return sections.flatMap((section) => [section, ...(section.base ? withBases([section.base]) : [])]);
}

/** Where the value of an option came from. */
export interface ExplainedOption {
  readonly key: OptionKey;
  readonly value: unknown;
  readonly source: string;
}

export interface Explanation extends Resolution {
  /** The rule that matched: `rules[1] of otel-breaker.yaml`; `undefined` where none did. */
  readonly rule: string | undefined;
  /** Where that is for some calls only and has no circuit of its own: the rule that its circuit has, where there is one. */
  readonly base?: string | undefined;
  readonly options: readonly ExplainedOption[];
  /** What holds for all targets together, and where it came from. */
  readonly panicThreshold: { readonly value: number; readonly source: string };
  /** The fleet that shares its breaker, or does not; `undefined` where the rules have none. */
  readonly fleet?: FleetConfig | undefined;
}

/** Options and where they stand. */
interface Layer {
  readonly source: string;
  readonly options: Omit<BreakerOptions, 'preset'>;
}

interface CompiledRule {
  readonly index: number;
  readonly rule: Rule;
  readonly source: string;
  readonly matcher: Matcher;
  readonly configs: Partial<Record<System, BreakerConfig>>;
  /** Of a rule that has no circuit of its own: what its calls are judged by, by the options of the circuit that they use. */
  readonly configsOfCalls: Map<BreakerConfig, BreakerConfig>;
}

/** Which options for which target. */
export class RuleSet {
  readonly maxBreakers: number;
  readonly panicThreshold: number;
  /** How it shares with other processes; `undefined` where nothing says that it does. */
  readonly fleet: FleetConfig | undefined;
  readonly #sections: readonly RulesSection[];
  readonly #mode: Mode | undefined;
  /** Rules for all calls to their targets. */
  readonly #index: MatchIndex<CompiledRule>;
  private readonly partial: readonly CompiledRule[];
  readonly #unmatched: Partial<Record<System, BreakerConfig>> = {};
  readonly #telemetry: Partial<Record<System, BreakerConfig>> = {};

  /**
   * @param given checked ones; what an earlier one says comes before what a later one does
   * @param mode that of the environment
   */
  constructor(given: readonly RulesSection[] = [], mode?: Mode) {
    const sections = withBases(given);
    this.#sections = sections;
    this.#mode = mode;
    this.maxBreakers = firstOf(sections, 'maxBreakers') ?? DEFAULT_MAX_BREAKERS;
    this.panicThreshold = firstOf(sections, 'panicThreshold') ?? DEFAULT_PANIC_THRESHOLD;
    this.fleet = firstOf(sections, 'fleet');
    let index = 0;
    const rules: CompiledRule[] = sections.flatMap(({ origin, config }) =>
      (config.rules ?? []).map((rule, position) => ({
        index: index++,
        rule,
        source: `rules[${position}] of ${origin}`,
        matcher: new Matcher(rule.match),
        configs: {},
        configsOfCalls: new Map(),
      })),
    );
    this.#index = new MatchIndex(rules.filter(({ matcher }) => !matcher.isForSomeCalls));
    this.partial = rules.filter(({ matcher }) => matcher.isForSomeCalls);
  }

  /** Whether there are rules for some calls to their targets only. */
  get tellsCallsApart(): boolean {
    return this.partial.length > 0;
  }

  /** The rules for some calls to a target only, in the order in which they are tried; `undefined` where there are none. */
  partsOf(target: Target): readonly PartialRule[] | undefined {
    if (this.partial.length === 0) return undefined;
    const host = normalizeHost(target.host);
    // What comes after a rule for all calls is never tried.
    const end = this.#index.first(target)?.rule.index ?? Infinity;
    const parts = this.partial.flatMap((rule) => {
      const captures = rule.index < end ? rule.matcher.match(target, host) : undefined;
      return captures === undefined ? [] : [{ rule, captures }];
    });
    return parts.length === 0 ? undefined : parts;
  }

  /** The rule for some calls to a target only that a call has; `undefined` where the rules for all calls hold. */
  partOf(target: Target, endpoint: Endpoint | undefined): PartialRule | undefined {
    const parts = endpoint && this.partsOf(target);
    return parts && firstForCall(parts, endpoint);
  }

  /**
   * @param isTelemetry whether its calls are those of an agent, where more is known of them than the target says
   * @param part the rule that its calls have, where it is for some of them only
   */
  resolve(target: Target, isTelemetry = isTelemetryEndpoint(target), part?: PartialRule): Resolution {
    const { system } = target;
    if (part !== undefined && part.rule.rule.name === undefined) {
      const whole = this.resolve(target, isTelemetry);
      return { ...whole, ofCalls: this.#configOfCalls(system, whole.config, part.rule) };
    }
    const found = part ?? this.#index.first(target);
    if (found === undefined) {
      const configs = isTelemetry ? this.#telemetry : this.#unmatched;
      const config = (configs[system] ??= automaticConfig(system, this.#layers(system, undefined, isTelemetry)));
      return { name: targetName(target), config, shared: false, labels: targetLabels(target), isTelemetry };
    }
    const { rule, captures } = found;
    const config = (rule.configs[system] ??= automaticConfig(system, this.#layers(system, rule)));
    const name = rule.rule.name?.replace(/\$([1-9])/g, (_, number: string) => captures[Number(number) - 1] ?? '');
    if (name === undefined) return { name: targetName(target), config, shared: false, labels: targetLabels(target) };
    return { name: throughProxy(name, target), config, ...commonLabels(target, rule.matcher) };
  }

  /** As `resolve`, with where everything comes from. @param endpoint which of its calls are meant */
  explain(target: Target, isTelemetry = isTelemetryEndpoint(target), endpoint?: Endpoint): Explanation {
    const part = this.partOf(target, endpoint);
    const isOwn = part?.rule.rule.name !== undefined;
    const rule = isOwn ? part.rule : this.#index.first(target)?.rule;
    const resolution = this.resolve(target, isTelemetry, part);
    const sources = new Map<string, string>();
    const layers = this.#layers(target.system, rule, isTelemetry);
    if (part !== undefined && !isOwn) layers.push(...this.#layersOfCalls(part.rule));
    for (const { source, options } of layers) {
      for (const [key, value] of Object.entries(options)) if (value !== undefined) sources.set(key, source);
    }
    if (!sources.has('initialOpenDuration')) sources.set('initialOpenDuration', 'default of automatic breakers');
    const options = Object.entries(resolution.ofCalls ?? resolution.config).map(([key, value]) => ({
      key: key as OptionKey,
      value: value as unknown,
      source: sources.get(key) ?? 'follows from openDuration',
    }));
    const section = this.#sections.find(({ config }) => config.panicThreshold !== undefined);
    const source = section === undefined ? 'default' : `panicThreshold of ${section.origin}`;
    const panicThreshold = { value: this.panicThreshold, source };
    const base = resolution.ofCalls && { base: rule?.source };
    return { ...resolution, rule: (part?.rule ?? rule)?.source, ...base, options, panicThreshold, fleet: this.fleet };
  }

  #configOfCalls(system: System, whole: BreakerConfig, rule: CompiledRule): BreakerConfig {
    let config = rule.configsOfCalls.get(whole);
    if (config === undefined) {
      config = resolveConfig(merge(system, [{ source: '', options: whole }, ...this.#layersOfCalls(rule)]));
      rule.configsOfCalls.set(whole, config);
    }
    return config;
  }

  /** What a rule without a circuit of its own says of its calls. */
  #layersOfCalls({ rule, source }: CompiledRule): Layer[] {
    return [{ source, options: without(rule, 'match') }, ...modeLayers(this.#mode)];
  }

  #layers(system: System, rule: CompiledRule | undefined, isTelemetry = false): Layer[] {
    const layers = layersOf(this.#sections, system, rule, this.#mode);
    if (rule !== undefined || !isTelemetry || merge(system, layers).mode === 'off') return layers;
    return [...layers, { source: 'known telemetry endpoint', options: { mode: 'observe' } }];
  }
}

/** What options are made of, from the weakest layer to the strongest. */
function layersOf(
  sections: readonly RulesSection[],
  system: System,
  rule?: Pick<CompiledRule, 'rule' | 'source'>,
  mode?: Mode,
): Layer[] {
  const weakestFirst = sections.toReversed();
  const named = rule?.rule.preset;
  const byDefault = sections.find(({ config }) => config.defaults?.preset !== undefined)?.config.defaults?.preset;
  const asked = builtInOf(sections, named ?? byDefault);
  const preset = asked ?? presetOf(system);
  const layers: Layer[] = [{ source: `preset ${preset}`, options: presets[preset] }];
  if (asked === undefined) layers.push({ source: `system ${system}`, options: ownOptionsOf(system) });
  if (named === undefined) layers.push(...ownPreset(sections, byDefault));
  for (const { origin, config } of weakestFirst) {
    if (config.mode !== undefined) layers.push({ source: `mode of ${origin}`, options: { mode: config.mode } });
  }
  for (const { origin, config } of weakestFirst) {
    layers.push({ source: `defaults of ${origin}`, options: without(config.defaults ?? {}, 'preset') });
  }
  // Naming a preset asks for its numbers; what all presets share, such as the mode, is left to the defaults.
  if (named !== undefined) {
    const builtIn = builtInOf(sections, named);
    if (builtIn !== undefined) layers.push({ source: `preset ${builtIn}`, options: ownNumbers(builtIn) });
    layers.push(...ownPreset(sections, named));
  }
  if (rule !== undefined) {
    layers.push({ source: rule.source, options: without(rule.rule, 'match', 'name', 'preset') });
  }
  layers.push(...modeLayers(mode));
  return layers;
}

/** What the rules themselves have under the name of a preset, the weakest first. */
function ownPreset(sections: readonly RulesSection[], name: string | undefined): Layer[] {
  return sections.toReversed().flatMap(({ origin, config: { presets: own } }) => {
    if (name === undefined || own === undefined || !Object.hasOwn(own, name)) return [];
    return [{ source: `preset ${name} of ${origin}`, options: without(own[name]!, 'preset') }];
  });
}

/** The built-in preset that a name stands for: its own, or that which a preset of the rules starts from. */
function builtInOf(sections: readonly RulesSection[], name: string | undefined): PresetName | undefined {
  if (name === undefined) return undefined;
  if (Object.hasOwn(presets, name)) return name as PresetName;
  const own = sections.find(({ config }) => Object.hasOwn(config.presets ?? {}, name) && config.presets![name]!.preset);
  return own?.config.presets![name]!.preset;
}

function modeLayers(mode: Mode | undefined): Layer[] {
  return mode === undefined ? [] : [{ source: MODE_VARIABLE, options: { mode } }];
}

// A blip of a target must not become an outage through us: what is back soon is found to be back soon.
const INITIAL_OPEN_DURATION = 200;

/** The configuration of a breaker that the guard makes. */
function automaticConfig(system: System, layers: readonly Layer[]): BreakerConfig {
  const options = merge(system, layers);
  if (options.initialOpenDuration !== undefined) return resolveConfig(options);
  const { openDuration } = resolveConfig(options);
  return resolveConfig({ ...options, initialOpenDuration: Math.min(INITIAL_OPEN_DURATION, openDuration) });
}

/** The options that targets of a system get by a rule, or where none matches; not checked together. */
export function optionsOf(sections: readonly RulesSection[], system: System, rule?: Rule): BreakerOptions {
  return merge(system, layersOf(sections, system, rule && { rule, source: '' }));
}

function firstOf<Key extends keyof RulesConfig>(sections: readonly RulesSection[], key: Key): RulesConfig[Key] {
  return sections.find(({ config }) => config[key] !== undefined)?.config[key];
}

function without<T extends object>(object: T, ...keys: string[]): T {
  return Object.fromEntries(Object.entries(object).filter(([key]) => !keys.includes(key))) as T;
}

function merge(system: System, layers: readonly Layer[]): BreakerOptions {
  const merged: Record<string, unknown> = {};
  for (const { options } of layers) {
    const { respondWith, whenOpen, ...others } = options;
    for (const [key, value] of Object.entries(others)) if (value !== undefined) merged[key] = value;
    // Each of the two takes the place of what a weaker layer says with the other.
    if (whenOpen !== undefined) {
      merged.whenOpen = whenOpen;
      if (whenOpen !== 'respond') delete merged.respondWith;
    }
    if (respondWith !== undefined && takesAnswers(system)) Object.assign(merged, { respondWith, whenOpen: 'respond' });
  }
  return merged;
}

/** What a rule with a name lets one say of all its targets. */
function commonLabels(target: Target, { host, port }: Matcher): Pick<Resolution, 'shared' | 'labels'> {
  const all = targetLabels(target);
  const shared = host === undefined || port === undefined;
  if (!shared) return { shared, labels: all };
  return { shared, labels: host === undefined ? { system: target.system } : without(all, 'server_port') };
}
