import { checkOptions } from '../breaker/config.js';
import type { BreakerOptions } from '../breaker/options.js';
import type { Finding } from './problem.js';
import { countCaptures, listOf, normalizeHost } from './match.js';
import { SYSTEMS } from '../target.js';
import { optionsOf, type RulesSection } from './rule-set.js';
import type { Rule, RuleMatch, RulesConfig } from './rule.js';

/** What is wrong with rules although each value by itself is as it should be. */
export function checkMeaning(config: RulesConfig): Finding[] {
  const findings = findConflicts([{ origin: '', config }]);
  const rules = config.rules ?? [];
  const matches = new Map<string, number>();
  const names = new Map<string, { index: number; options: string }>();
  rules.forEach((rule, index) => {
    const { match, name, ...options } = rule;
    findings.push(...checkReach(match, index, rules.length, matches));
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

/** Options that do not go together once everything is merged, by the section they stand in. */
export function findConflicts(sections: readonly RulesSection[]): Finding[] {
  const findings: Finding[] = [];
  const byDefault = conflictOf(sections);
  const defaults = sections.flatMap(({ config }) => (config.defaults === undefined ? [] : [config.defaults]));
  if (byDefault !== undefined) {
    const key = defaults.some((options) => options[byDefault.option] !== undefined) ? byDefault.option : 'openDuration';
    findings.push({ ...byDefault.finding, path: ['defaults', key] });
  }
  for (const { config } of sections) {
    config.rules?.forEach((rule, index) => {
      const conflict = conflictOf(sections, rule);
      // Inherited from the defaults as it is, it has been told already.
      if (conflict === undefined) return;
      const key = ([conflict.option, 'openDuration', 'preset'] as const).find((option) => rule[option] !== undefined);
      if (key !== undefined) findings.push({ ...conflict.finding, path: ['rules', index, key] });
    });
  }
  return findings;
}

// What has to fit to openDuration.
const FITTING = ['initialOpenDuration', 'maxOpenDuration'] as const;

interface Conflict {
  readonly option: (typeof FITTING)[number];
  readonly finding: Omit<Finding, 'path'>;
}

function conflictOf(sections: readonly RulesSection[], rule?: Rule): Conflict | undefined {
  // Nothing else can conflict, and most rules have none.
  const given = [rule, ...sections.map(({ config }) => config.defaults)];
  if (given.every((options) => FITTING.every((option) => options?.[option] === undefined))) return undefined;
  for (const system of listOf(rule?.match.system) ?? SYSTEMS) {
    const options: BreakerOptions = optionsOf(sections, system, rule);
    for (const { path, ...finding } of checkOptions(options)) {
      const option = FITTING.find((fitting) => fitting === path);
      if (option !== undefined) return { option, finding };
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
  if (first === undefined) {
    seen.set(text, index);
    return [];
  }
  const consequence = `rules[${first}] matches the same targets and comes first, so this rule would never be used`;
  return [{ path, value: match, consequence, allowed: 'Make one rule of the two.' }];
}

function canonical({ host, ...others }: RuleMatch): string {
  const lists = Object.entries({ ...others, host: listOf(host)?.map(normalizeHost) })
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
