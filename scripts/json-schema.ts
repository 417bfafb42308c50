import { toJsonSchema } from '@valibot/to-json-schema';
import { PRESET_NAMES } from '../src/breaker/options.js';
import { rulesSchema } from '../src/rules/schema.js';

/** The JSON schema of rules files, made from the schema that checks them. Checks that it cannot say are left to the program. */
export function rulesJsonSchema(): object {
  return {
    title: 'Rules file of otel-breaker',
    ...(allowReferences(toJsonSchema(rulesSchema(false), { errorMode: 'ignore' })) as object),
    // Where there can be no preset of one's own, an editor completes the names of the others, and knows a wrong one.
    if: { type: 'object', properties: { presets: false, extends: false } },
    then: {
      type: 'object',
      properties: {
        defaults: WITH_BUILT_IN_PRESET,
        rules: { type: 'array', items: WITH_BUILT_IN_PRESET },
      },
    },
  };
}

// A value may be put in from the environment, whatever its type: an editor sees the reference.
const REFERENCE = { type: 'string', pattern: '\\$\\{' };

const WITH_BUILT_IN_PRESET = {
  type: 'object',
  properties: { preset: { anyOf: [{ enum: PRESET_NAMES }, REFERENCE] } },
};

function allowReferences(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(allowReferences);
  if (node === null || typeof node !== 'object') return node;
  const { type } = node as { type?: unknown };
  if ('enum' in node || ['number', 'integer', 'boolean'].includes(String(type))) {
    const { description, ...own } = node as { description?: string };
    return { ...(description !== undefined && { description }), anyOf: [own, REFERENCE] };
  }
  return Object.fromEntries(Object.entries(node).map(([key, value]) => [key, allowReferences(value)]));
}
