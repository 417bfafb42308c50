import * as v from 'valibot';
import {
  CALLS_PATTERN,
  checkOption,
  DURATION_PATTERN,
  MODES,
  OPTIONS,
  PRESET_NAMES,
  QUORUM_PATTERN,
  STATUS_PATTERN,
  type OptionKey,
} from '../breaker/options.js';
import { MAX_BODY_BYTES, checkAnswerPart, checkAnswerTogether, type RespondWith } from '../breaker/respond-with.js';
import { checkFleet, FLEET_DESCRIPTIONS, fleetKeys, SHORTEST, type FleetKey } from './fleet.js';
import { checkGlob, checkHostPattern } from './match.js';
import { checkPathPattern, METHOD_PATTERN } from './path.js';
import { SYSTEMS } from '../target.js';
import type { Path } from './problem.js';

/** The structure of a rules file, made from the table of options: what checks a file also gives editors their schema. */

type Schema = v.GenericSchema;

function described(schema: Schema, description: string): Schema {
  return v.pipe(schema, v.description(description));
}

/** One or several. */
function oneOrList(item: Schema, description: string): Schema {
  return described(v.union([item, v.pipe(v.array(item), v.minLength(1))]), description);
}

function optionSchema(key: OptionKey): Schema {
  const spec = OPTIONS[key];
  // What a schema cannot say, such as that "50ms" is too short a window, is checked as code checks it.
  const checked = (schema: Schema) =>
    v.pipe(
      schema,
      v.check((value: unknown) => checkOption(key, value) === undefined),
    );
  switch (spec.kind) {
    case 'count':
      return v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(Number.MAX_SAFE_INTEGER));
    case 'share':
      return v.pipe(v.number(), spec.zero === undefined ? v.minValue(0) : v.gtValue(0), v.maxValue(1));
    case 'factor':
      return v.pipe(v.number(), v.finite(), v.minValue(1));
    case 'duration':
      return checked(
        v.union([
          v.pipe(v.number(), v.finite(), v.minValue(spec.min)),
          v.pipe(v.string(), v.regex(DURATION_PATTERN)),
          ...(spec.off ? [v.literal('off')] : []),
        ]),
      );
    case 'window':
      return checked(
        v.union([
          v.pipe(v.number(), v.finite(), v.minValue(spec.min)),
          v.pipe(v.string(), v.regex(DURATION_PATTERN)),
          v.pipe(v.string(), v.regex(CALLS_PATTERN)),
          v.object({ calls: v.number() }),
        ]),
      );
    case 'quorum':
      return checked(
        v.union([v.pipe(v.number(), v.integer(), v.minValue(1)), v.pipe(v.string(), v.regex(QUORUM_PATTERN))]),
      );
    case 'flag':
      return v.boolean();
    case 'choice':
      return v.picklist(spec.values);
    case 'statuses': {
      const status = v.union([
        v.pipe(v.number(), v.integer(), v.minValue(100), v.maxValue(599)),
        v.pipe(v.string(), v.regex(STATUS_PATTERN)),
      ]);
      return checked(v.union([status, v.pipe(v.array(status), v.minLength(1))]));
    }
    case 'answer':
      return respondWith;
    case 'function':
      return v.function();
  }
}

function answerPart(key: keyof RespondWith, schema: Schema): Schema {
  return v.optional(
    v.pipe(
      schema,
      v.check((value: unknown) => checkAnswerPart(key, value) === undefined),
    ),
  );
}

const answer = v.strictObject({
  status: answerPart('status', v.pipe(v.number(), v.integer(), v.minValue(200), v.maxValue(599))),
  headers: answerPart('headers', v.record(v.string(), v.union([v.string(), v.number()]))),
  body: answerPart(
    'body',
    v.pipe(v.any(), v.description(`A text, or a value that is sent as JSON; at most ${MAX_BODY_BYTES} bytes.`)),
  ),
  file: answerPart(
    'file',
    v.pipe(v.string(), v.minLength(1), v.description('A file in the place of a body, relative to this one.')),
  ),
});
const respondWith: Schema = v.pipe(
  answer,
  v.check((value) => checkAnswerTogether(value as RespondWith) === undefined),
);

function optionEntries(code: boolean): Record<string, Schema> {
  const entries: Record<string, Schema> = {};
  for (const key of Object.keys(OPTIONS) as OptionKey[]) {
    const { kind, describe } = OPTIONS[key];
    if (code || kind !== 'function') entries[key] = v.optional(described(optionSchema(key), describe));
  }
  return entries;
}

const text = v.pipe(v.string(), v.minLength(1));
const port = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65_535));
const glob = v.pipe(
  text,
  v.check((pattern) => checkGlob(pattern) === undefined),
);
const host = v.pipe(
  text,
  v.check((pattern) => checkHostPattern(pattern) === undefined),
);

const path = v.pipe(
  text,
  v.check((pattern) => checkPathPattern(pattern) === undefined),
);
const method = v.pipe(v.string(), v.regex(METHOD_PATTERN));

const match = v.strictObject({
  system: v.optional(oneOrList(v.picklist(SYSTEMS), 'What kind of thing is called.')),
  host: v.optional(
    oneOrList(
      host,
      'A host name or address, a glob (* stands for characters of one label, ** for any), or a range such as 10.0.0.0/8.',
    ),
  ),
  port: v.optional(oneOrList(port, 'The port that is called.')),
  database: v.optional(oneOrList(glob, 'The database of a PostgreSQL target; may be a glob.')),
  name: v.optional(
    oneOrList(glob, 'The name the breaker has by default, such as https://api.example.com; may be a glob.'),
  ),
  method: v.optional(oneOrList(method, 'The method of an HTTP request, such as POST.')),
  path: v.optional(
    oneOrList(
      path,
      'The path of an HTTP request or of a gRPC method; * stands for characters between two slashes, ** for any number of segments.',
    ),
  ),
});

/** The structure of `fleet`, for files and for code. */
function fleetSchema(code: boolean): Schema {
  const structure = (key: FleetKey): Schema => {
    if (key === 'quorum') return v.pipe(v.number(), v.integer(), v.minValue(1));
    if (key === 'quorumShare') return v.pipe(v.number(), v.minValue(0), v.maxValue(1));
    if (key === 'agreement') return v.pipe(v.number(), v.gtValue(0), v.maxValue(1));
    if (key === 'connect') return v.function();
    if (key === 'mode') return v.picklist(MODES);
    if (key === 'url' || key === 'namespace') return v.pipe(v.string(), v.minLength(1));
    return v.union([v.pipe(v.number(), v.minValue(SHORTEST[key])), v.pipe(v.string(), v.regex(DURATION_PATTERN))]);
  };
  const entries = fleetKeys(code).map((key): [string, Schema] => [
    key,
    v.optional(
      v.pipe(
        structure(key),
        v.check((value: unknown) => checkFleet(key, value) === undefined),
        v.description(FLEET_DESCRIPTIONS[key]),
      ),
    ),
  ]);
  return v.pipe(
    v.strictObject(Object.fromEntries(entries)),
    v.description('How processes that call the same targets share what they see of them.'),
  );
}

/**
 * @param code whether it is for rules in code, which may have functions
 * @param presetNames those that may be named besides the built-in ones; not given: any
 */
export function rulesSchema(code: boolean, presetNames?: readonly string[]) {
  const entries = optionEntries(code);
  const preset = presetNames === undefined ? text : v.picklist([...PRESET_NAMES, ...presetNames]);
  const options = { ...entries, preset: v.optional(described(preset, OPTIONS.preset.describe)) };
  return v.strictObject({
    mode: v.optional(described(optionSchema('mode'), OPTIONS.mode.describe)),
    defaults: v.optional(v.pipe(v.strictObject(options), v.description('Options for all targets.'))),
    rules: v.optional(
      v.pipe(
        v.array(
          v.strictObject({
            match: v.pipe(match, v.description('Which targets the rule is for: those that every key given here fits.')),
            name: v.optional(
              described(
                text,
                'One breaker of this name for all targets of the rule. $1 to $4 are what the wildcards of match.host stand for.',
              ),
            ),
            ...options,
          }),
        ),
        v.description('Options for some targets. The first rule that matches counts.'),
      ),
    ),
    presets: v.optional(
      v.pipe(v.record(v.string(), v.strictObject(entries)), v.description('Sets of defaults, by names of your own.')),
    ),
    extends: v.optional(
      described(text, 'Another rules file that this one adds to. Own rules come first, and so do own values.'),
    ),
    maxBreakers: v.optional(
      v.pipe(
        v.number(),
        v.integer(),
        v.minValue(1),
        v.maxValue(Number.MAX_SAFE_INTEGER),
        v.description('The largest number of automatic breakers; default 1000.'),
      ),
    ),
    panicThreshold: v.optional(
      v.pipe(
        v.number(),
        v.gtValue(0),
        v.maxValue(1),
        v.description(
          'Where more than this share of at least four unrelated targets becomes unreachable within ten seconds, something nearer is ' +
            'broken, and no call is rejected until it clears. Default 0.5; 1 turns it off.',
        ),
      ),
    ),
    fleet: v.optional(fleetSchema(code)),
  });
}

/** A place where the structure is not as it should be. */
export interface Misfit {
  readonly path: Path;
  readonly value: unknown;
}

/** Everywhere that a configuration has not the structure of rules; keys that are unknown are not among it. */
export function findMisfits(config: unknown, code: boolean, presetNames: readonly string[] | undefined): Misfit[] {
  const { issues } = v.safeParse(rulesSchema(code, presetNames), config);
  return (issues ?? []).flatMap((issue) => {
    const path = (issue.path ?? []).map(({ key }) => key as string | number);
    // Unknown keys come one at a time from here; whoever asks finds all of them.
    if (issue.type === 'strict_object' && issue.expected === 'never') return [];
    return innermost(path, issue);
  });
}

/** Of a list, the items that misfit rather than the list. */
function innermost(path: Path, issue: v.BaseIssue<unknown>): Misfit[] {
  const value = issue.input;
  if (issue.type === 'union' && Array.isArray(value) && value.length > 0 && issue.issues !== undefined) {
    const items = issue.issues.filter((inner) => inner.path !== undefined);
    if (items.length > 0) {
      return items.map((inner) => ({
        path: [...path, ...inner.path!.map(({ key }) => key as string | number)],
        value: inner.input,
      }));
    }
  }
  return [{ path, value }];
}
