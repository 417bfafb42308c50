import { toJsonSchema } from '@valibot/to-json-schema';
import { rulesSchema } from '../src/rules/schema.js';

/** The JSON schema of rules files, made from the schema that checks them. Checks that it cannot say are left to the program. */
export function rulesJsonSchema(): object {
  return {
    title: 'Rules file of otel-breaker',
    ...(allowReferences(toJsonSchema(rulesSchema(false), { errorMode: 'ignore' })) as object),
  };
}

// A value may be put in from the environment, whatever its type: an editor sees the reference.
const REFERENCE = { type: 'string', pattern: '\\$\\{' };

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
