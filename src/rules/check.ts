import { unknownKey } from '../breaker/config.js';
import { checkOption, isOptionKey, nearestKey, oneOf, OPTIONS, PRESET_NAMES } from '../breaker/options.js';
import { checkAnswerPart, RESPOND_WITH_KEYS, type RespondWith } from '../breaker/respond-with.js';
import { checkFleet, FLEET_DURATIONS, fleetKeys, type FleetKey } from './fleet.js';
import { formatPath, type Finding, type Path, type PatternProblem } from './problem.js';
import { checkGlob, checkHostPattern } from './match.js';
import { checkPathPattern } from './path.js';
import { checkMeaning } from './semantics.js';
import { SYSTEMS } from '../target.js';
import type * as Schema from './schema.js';
import { RULES_KEYS, type RuleMatch, type RulesConfig } from './rule.js';

type Dictionary = Readonly<Record<string, unknown>>;

const MATCH_KEYS: readonly (keyof RuleMatch)[] = ['system', 'host', 'port', 'database', 'name', 'method', 'path'];

/**
 * Everything that is wrong with a set of rules; empty where nothing is.
 *
 * @param code whether they were given in code, where functions may be
 * @param written by path, what stands in the file where a variable was put in: that is what words are about
 * @param inherited names of presets of the file that it extends; `null` where nobody knows them
 */
export function checkRules(
  config: unknown,
  code: boolean,
  written: ReadonlyMap<string, string> = NOTHING_WRITTEN,
  inherited: readonly string[] | null = [],
): Finding[] {
  // Loaded here: most processes have no rules, and should not wait for a validator.
  const { findMisfits } = require('./schema.js') as typeof Schema;
  const findings: Finding[] = findUnknownKeys(config, code);
  const reported = new Set(findings.map(({ path }) => formatPath(path)));
  const isReported = (path: Path) => path.some((_, depth) => reported.has(formatPath(path.slice(0, depth + 1))));
  const presetNames = inherited === null ? undefined : [...presetNamesOf(config), ...inherited];
  const misfits = findMisfits(config, code, presetNames);
  for (const { path, value } of misfits) {
    // A list misfits because its items do, and what is missing from a list was never meant to be in one.
    if (isReported(path) || reported.has('') || misfits.some((other) => isWithin(other.path, path))) continue;
    const given = written.get(formatPath(path)) ?? value;
    // Messages end up in logs.
    const shown = path[0] === 'fleet' && typeof given === 'string' ? given.replace(/\/\/[^/]*@/, '//***@') : given;
    findings.push({ path, value: shown, ...wordsFor(path, shown, presetNames) });
    reported.add(formatPath(path));
  }
  if (!code) findings.push(...findBareNumbers(config));
  // Only what is well-formed can be understood.
  return findings.length > 0 ? findings : checkMeaning(config as RulesConfig);
}

const NOTHING_WRITTEN: ReadonlyMap<string, string> = new Map();

// In code a number of milliseconds is clear; in a file `openDuration: 30` was meant as seconds.
const WITH_UNITS: readonly string[] = [
  'openDuration',
  'initialOpenDuration',
  'maxOpenDuration',
  'halfOpenTimeout',
  'recoveryDuration',
];
const SMALLEST_BARE_MS = 100;

/** Durations of a file that are too short to be meant in milliseconds. */
function findBareNumbers(config: unknown): Finding[] {
  if (!isDictionary(config)) return [];
  const findings: Finding[] = [];
  const look = (options: unknown, path: Path, keys = WITH_UNITS) => {
    if (!isDictionary(options)) return;
    for (const key of keys) {
      const value = options[key];
      if (typeof value !== 'number' || !(value > 0 && value < SMALLEST_BARE_MS)) continue;
      const consequence = `a number without a unit is milliseconds, and ${value} of them are hardly meant`;
      const allowed = `Write the unit: ${value}s, or ${value}ms where that is meant.`;
      findings.push({ path: [...path, key], value, consequence, allowed });
    }
  };
  look(config.defaults, ['defaults']);
  look(config.fleet, ['fleet'], FLEET_DURATIONS);
  if (Array.isArray(config.rules)) config.rules.forEach((rule, index) => look(rule, ['rules', index]));
  if (isDictionary(config.presets)) {
    for (const [name, preset] of Object.entries(config.presets)) look(preset, ['presets', name]);
  }
  return findings;
}

function findUnknownKeys(config: unknown, code: boolean): Finding[] {
  const options = Object.keys(OPTIONS).filter(
    (key) => code || OPTIONS[key as keyof typeof OPTIONS].kind !== 'function',
  );
  const findings: Finding[] = [];

  function look(value: unknown, path: Path, known: readonly string[]): void {
    // For the validator, a list is an object too.
    if (Array.isArray(value)) findings.push({ path, value, ...wordsFor(path, value) });
    if (!isDictionary(value)) return;
    for (const key of Object.keys(value)) {
      if (known.includes(key)) continue;
      const words =
        path.includes('match') || path.includes('respondWith') ? undefined : misplaced(key, path, value[key]);
      findings.push({ path: [...path, key], value: value[key], ...(words ?? unknownKey(key, known)), key: true });
    }
  }

  const lookAtOptions = (value: unknown, path: Path, known = options) => {
    look(value, path, known);
    const answer = isDictionary(value) ? value.respondWith : undefined;
    look(answer, [...path, 'respondWith'], RESPOND_WITH_KEYS);
    // Of the names of headers none is unknown.
    if (isDictionary(answer) && Array.isArray(answer.headers))
      look(answer.headers, [...path, 'respondWith', 'headers'], []);
  };

  look(config, [], RULES_KEYS);
  if (!isDictionary(config)) return findings;
  lookAtOptions(config.defaults, ['defaults']);
  look(config.fleet, ['fleet'], fleetKeys(code));
  if (code && config.extends !== undefined) {
    const allowed = 'Put it into a rules file, or join the rules yourself.';
    findings.push({
      path: ['extends'],
      value: config.extends,
      consequence: 'code has no place that a path starts from',
      allowed,
    });
  }
  if (isDictionary(config.presets)) {
    for (const [name, preset] of Object.entries(config.presets)) {
      const path = ['presets', name];
      lookAtOptions(preset, path);
      if (!(PRESET_NAMES as readonly string[]).includes(name)) continue;
      const consequence = 'a built-in preset has this name, and nobody could tell which one is meant';
      findings.push({ path, value: undefined, consequence, allowed: 'Use another name.', key: true });
    }
  }
  const { rules } = config;
  if (!Array.isArray(rules)) return findings;
  rules.forEach((rule: unknown, index) => {
    const path = ['rules', index];
    lookAtOptions(rule, path, ['match', 'name', ...options]);
    if (isDictionary(rule)) look(rule.match, [...path, 'match'], MATCH_KEYS);
  });
  return findings;
}

/** What exists, but not here. */
function misplaced(key: string, path: Path, value: unknown): PatternProblem | undefined {
  if (!isOptionKey(key)) {
    if (!(RULES_KEYS as readonly string[]).includes(key)) return undefined;
    return { consequence: 'it would have no effect here', allowed: 'It stands at the top level: take it out of here.' };
  }
  if (OPTIONS[key].kind === 'function') return checkOption(key, typeof value === 'function' ? undefined : value);
  if (path.length > 0) return undefined;
  return {
    consequence: 'no option stands here, and it would have no effect',
    allowed: 'Put it under "defaults:", or into a rule.',
  };
}

function wordsFor(path: Path, value: unknown, presetNames: readonly string[] = []): PatternProblem {
  const [section, , part, field] = path;
  const key = path.findLast((step): step is string => typeof step === 'string');
  if (section === 'fleet') return fleetWords(path[1] as FleetKey | undefined, value);
  if (section === 'rules' && path.length > 3 && part === 'match') return matchWords(field as keyof RuleMatch, value);
  if (section === 'rules' && path.length === 3 && part === 'match') {
    return {
      consequence:
        value === undefined ? 'the rule does not say which targets it is for' : 'no target could be compared with it',
      allowed: `Use "match:" with one or more of ${MATCH_KEYS.join(', ')}.`,
    };
  }
  if (section === 'rules' && part === 'name') {
    return {
      consequence: 'no breaker can have it for a name',
      allowed: 'Use a text, in quotes where it looks like a number.',
    };
  }
  if (key === 'preset' && section !== 'presets' && typeof value === 'string') {
    const nearest = nearestKey(value, presetNames);
    const allowed =
      nearest === undefined ? `Use ${oneOf([...PRESET_NAMES, ...presetNames])}.` : `Did you mean "${nearest}"?`;
    return { consequence: 'there are no numbers to start from', allowed };
  }
  const inAnswer = path.indexOf('respondWith') + 1;
  if (inAnswer > 0 && inAnswer < path.length) {
    const words = checkAnswerPart(path[inAnswer] as keyof RespondWith, value);
    if (words !== undefined) return words;
  }
  if (key !== undefined && isOptionKey(key)) {
    const words = checkOption(key, value);
    if (words !== undefined) return words;
  }
  switch (key) {
    case undefined:
      return { consequence: 'there is nothing to read rules from', allowed: `Use the keys ${RULES_KEYS.join(', ')}.` };
    case 'defaults':
      return {
        consequence: 'there is nothing to read options from',
        allowed: 'Use options, such as "openDuration: 30s".',
      };
    case 'rules':
      return path.length === 1
        ? { consequence: 'there are no rules to go through', allowed: 'Use a list: each rule starts with "- match:".' }
        : { consequence: 'it is no rule', allowed: 'Use "match:" and options.' };
    case 'presets':
      return { consequence: 'there are no presets to read', allowed: 'Use names, each with options.' };
    case 'extends':
      return { consequence: 'no file can have it for a name', allowed: 'Use the path of a rules file.' };
    case 'maxBreakers':
      return {
        consequence: 'no automatic breaker could be made, or no limit be kept',
        allowed: 'Use a whole number of 1 or more.',
      };
    case 'panicThreshold':
      return panicWords(value);
    default:
      return { consequence: 'it cannot be read', allowed: 'Look at otel-breaker/schema.json for what may stand here.' };
  }
}

function fleetWords(key: FleetKey | undefined, value: unknown): PatternProblem {
  const words = key === undefined ? undefined : checkFleet(key, value);
  return words ?? { consequence: 'there is nothing to read a fleet from', allowed: 'Use keys such as "url:".' };
}

function panicWords(value: unknown): PatternProblem {
  const percent = typeof value === 'number' && value > 1 && value <= 100 ? `: write ${value} % as ${value / 100}` : '';
  const allowed = `Use a number above 0 and at most 1${percent} (1 turns panic off).`;
  if (value === 0) return { consequence: 'the first circuits to open would end all rejecting', allowed };
  return { consequence: percent === '' ? 'a share is a part of 1' : 'no share is ever above 1', allowed };
}

function matchWords(field: keyof RuleMatch, value: unknown): PatternProblem {
  if (Array.isArray(value) && value.length === 0) {
    return { consequence: 'an empty list fits no target', allowed: 'List at least one, or leave the key out.' };
  }
  switch (field) {
    case 'system':
      return { consequence: 'no target is of such a system', allowed: `Use ${oneOf(SYSTEMS)}.` };
    case 'port':
      return {
        consequence: 'no target has such a port',
        allowed: 'Use a whole number from 1 to 65535, without quotes.',
      };
    case 'host': {
      const problem = typeof value === 'string' ? checkHostPattern(value) : undefined;
      return (
        problem ?? {
          consequence: 'no host could be compared with it',
          allowed: 'Use a text, such as "api.example.com", or a list of them.',
        }
      );
    }
    case 'method':
      return {
        consequence: 'no request has such a method',
        allowed: 'Use a method such as "POST", or a list of them.',
      };
    case 'path': {
      const problem = typeof value === 'string' ? checkPathPattern(value) : undefined;
      return (
        problem ?? {
          consequence: 'no path could be compared with it',
          allowed: 'Use a path such as "/v1/reports/**", or a list of them.',
        }
      );
    }
    default: {
      const problem = typeof value === 'string' ? checkGlob(value) : undefined;
      return problem ?? { consequence: 'no name could be compared with it', allowed: 'Use a text, or a list of them.' };
    }
  }
}

/** The names of the presets of its own that a configuration has. */
export function presetNamesOf(config: unknown): string[] {
  return isDictionary(config) && isDictionary(config.presets) ? Object.keys(config.presets) : [];
}

function isWithin(path: Path, other: Path): boolean {
  return path.length > other.length && other.every((step, depth) => path[depth] === step);
}

function isDictionary(value: unknown): value is Dictionary {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}
