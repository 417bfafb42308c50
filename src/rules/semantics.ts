import { checkAnswering, checkOptions } from '../breaker/config.js';
import { ConfigError } from '../breaker/errors.js';
import { isOptionKey, oneOf, OPTIONS_OF_CALLS, type BreakerOptions, type OptionKey } from '../breaker/options.js';
import { problemOf, type Finding, type Path } from './problem.js';
import { countCaptures, listOf, normalizeHost } from './match.js';
import { type CallPart, normalizePath, SYSTEMS, systemsWith } from '../target.js';
import { optionsOf, withBases, type RulesSection } from './rule-set.js';
import type { Rule, RuleMatch, RuleOptions, RulesConfig } from './rule.js';

/** What is wrong with rules although each value by itself is as it should be. */
export function checkMeaning(config: RulesConfig): Finding[] {
  const findings = findConflicts([{ origin: '', config }]);
  findings.push(...checkAnswers(config.defaults, ['defaults']));
  for (const [name, preset] of Object.entries(config.presets ?? {})) {
    findings.push(...checkOptions(preset).map((problem) => ({ ...problem, path: ['presets', name, problem.path] })));
  }
  const rules = config.rules ?? [];
  const matches = new Map<string, number>();
  const names = new Map<string, { index: number; options: string }>();
  rules.forEach((rule, index) => {
    const { match, name, ...options } = rule;
    findings.push(...checkReach(match, index, rules.length, matches), ...checkCalls(rule, index));
    findings.push(...checkAnswers(options, ['rules', index]));
    if (name === undefined) return;
    findings.push(...checkName(name, match, index));
    const text = JSON.stringify(Object.entries(options).sort());
    const first = names.get(name);
    if (first === undefined) names.set(name, { index, options: text });
    else if (first.options !== text) {
      findings.push({
        path: ['rules', index, 'name'],
        value: name,
        consequence: `rules[${first.index}] has it with other options, and the breaker would have those of whichever is called first`,
        allowed: 'Use another name, or the same options.',
      });
    }
  });
  return findings;
}

/**
 * Sections that are right by themselves can still not go together.
 *
 * @throws ConfigError with every problem that they have then
 */
export function assertTogether(given: readonly RulesSection[]): void {
  const sections = withBases(given);
  const conflicts = sections.length > 1 ? findConflicts(sections) : [];
  if (conflicts.length > 0) {
    throw new ConfigError(sections.map(({ origin }) => origin).join(' with '), conflicts.map(problemOf));
  }
}

function checkAnswers(options: RuleOptions | undefined, path: Path): Finding[] {
  const problem = options && checkAnswering(options);
  return problem === undefined ? [] : [{ ...problem, path: [...path, problem.path] }];
}

/** Options that do not go together once everything is merged, by the section they stand in. */
export function findConflicts(sections: readonly RulesSection[]): Finding[] {
  const findings: Finding[] = [];
  const byDefault = conflictOf(sections);
  const defaults = sections.flatMap(({ config }) => (config.defaults === undefined ? [] : [config.defaults]));
  if (byDefault !== undefined) {
    const { option } = byDefault;
    const key = defaults.some((options) => options[option] !== undefined) ? option : FITTING[option];
    findings.push({ ...byDefault.finding, path: ['defaults', key] });
  }
  for (const { config } of sections) {
    config.rules?.forEach((rule, index) => {
      const conflict = conflictOf(sections, rule);
      // Inherited from the defaults as it is, it has been told already.
      if (conflict === undefined) return;
      const { option: own } = conflict;
      const key = ([own, FITTING[own], 'preset'] as const).find((option) => rule[option] !== undefined);
      if (key !== undefined) findings.push({ ...conflict.finding, path: ['rules', index, key] });
    });
  }
  return findings;
}

// What has to fit to another option.
const FITTING = {
  initialOpenDuration: 'openDuration',
  maxOpenDuration: 'openDuration',
  minimumCalls: 'window',
} as const satisfies Partial<Record<OptionKey, OptionKey>>;
type Fitting = keyof typeof FITTING;
// Where none of these is set, nothing can conflict.
const CONFLICTING: readonly OptionKey[] = ['initialOpenDuration', 'maxOpenDuration', 'window'];

interface Conflict {
  readonly option: Fitting;
  readonly finding: Omit<Finding, 'path'>;
}

function conflictOf(sections: readonly RulesSection[], rule?: Rule): Conflict | undefined {
  // Most rules have none of them.
  const given = [rule, ...sections.map(({ config }) => config.defaults)];
  if (given.every((options) => CONFLICTING.every((option) => options?.[option] === undefined))) return undefined;
  for (const system of listOf(rule?.match.system) ?? SYSTEMS) {
    const options: BreakerOptions = optionsOf(sections, system, rule);
    for (const { path, ...finding } of checkOptions(options)) {
      if (Object.hasOwn(FITTING, path)) return { option: path as Fitting, finding };
    }
  }
  return undefined;
}

/** Whether a call can ever come as far as this rule. */
function checkReach(match: RuleMatch, index: number, count: number, seen: Map<string, number>): Finding[] {
  const path = ['rules', index, 'match'];
  if (Object.values(match).every((value) => value === undefined)) {
    if (index === count - 1) return [];
    const consequence = 'it matches every target, and the rules after it would never be used';
    return [{ path, value: match, consequence, allowed: 'Put it last, or say which targets it is for.' }];
  }
  const text = canonical(match);
  const first = seen.get(text);
  if (first !== undefined) {
    const consequence = `rules[${first}] matches the same targets and comes first, so this rule would never be used`;
    return [{ path, value: match, consequence, allowed: 'Make one rule of the two.' }];
  }
  seen.set(text, index);
  const ofAllCalls =
    partsOf(match).length === 0 ? undefined : seen.get(canonical({ ...match, method: undefined, path: undefined }));
  if (ofAllCalls === undefined) return [];
  const consequence = `rules[${ofAllCalls}] matches all calls to the same targets and comes first, so this rule would never be used`;
  return [{ path, value: match, consequence, allowed: `Put it before rules[${ofAllCalls}].` }];
}

/** What of calls a rule looks at. */
function partsOf(match: RuleMatch): CallPart[] {
  return (['path', 'method'] as const).filter((part) => match[part] !== undefined);
}

/** Whether a rule for some calls to its targets says only what can be said of them. */
function checkCalls({ match, name, ...options }: Rule, index: number): Finding[] {
  const parts = partsOf(match);
  if (parts.length === 0) return [];
  const findings: Finding[] = [];
  for (const part of parts) {
    const known = systemsWith(part);
    const other = listOf(match.system)?.find((system) => !known.includes(system));
    if (other === undefined) continue;
    findings.push({
      path: ['rules', index, 'match', part],
      value: match[part],
      consequence: `calls to ${other} have no ${part}`,
      allowed: `Leave it out, or use system: ${oneOf(known)}.`,
    });
  }
  if (name !== undefined) return findings;
  const what = `rules[${index}] has a ${parts[0]!} but no name`;
  if (match.host === undefined) {
    findings.push({
      path: ['rules', index, 'match'],
      value: match,
      consequence: `${what}, and without a host it would change how calls to all hosts are judged`,
      allowed: 'Say which host, or give it a name.',
    });
  }
  for (const [key, value] of Object.entries(options)) {
    if (value === undefined || !isOptionKey(key) || OPTIONS_OF_CALLS.includes(key)) continue;
    findings.push({
      path: ['rules', index, key],
      value,
      consequence: `${what}; \`${key}\` needs a circuit of its own`,
      allowed: 'Give it a name.',
    });
  }
  return findings;
}

function canonical({ host, method, path, ...others }: RuleMatch): string {
  const compared = {
    ...others,
    host: listOf(host)?.map(normalizeHost),
    method: listOf(method)?.map((one) => one.toUpperCase()),
    path: listOf(path)?.map(normalizePath),
  };
  const lists = Object.entries(compared)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => [key, [...listOf<unknown>(value)!].sort()]);
  return JSON.stringify(lists.sort());
}

function checkName(name: string, match: RuleMatch, index: number): Finding[] {
  const used = Math.max(0, ...Array.from(name.matchAll(/\$([1-9])/g), ([, number]) => Number(number)));
  const given = Math.min(...(listOf(match.host) ?? ['']).map(countCaptures));
  if (used <= given) return [];
  return [
    {
      path: ['rules', index, 'name'],
      value: name,
      consequence:
        given === 0
          ? `match.host has no wildcard that $${used} could stand for`
          : `$${used} stands for nothing, since match.host has ${given} wildcard${given === 1 ? '' : 's'}`,
      allowed:
        given === 0
          ? 'Use a host like "*.example.com", or a name without $.'
          : `Use ${given === 1 ? '$1 alone' : `$1 to $${given}`}.`,
    },
  ];
}
