// What the build adds to what the compiler writes: the JSON schema of rules files, made from the schema that checks them,
// and the starter file of `otel-breaker init`.
const { copyFileSync, writeFileSync } = require('node:fs');
const { join } = require('node:path');
const { toJsonSchema } = require('@valibot/to-json-schema');

const root = join(__dirname, '..');
const { rulesSchema } = require(join(root, 'dist/src/rules/schema.js'));

// A value may be put in from the environment, whatever its type: an editor sees the reference.
const REFERENCE = { type: 'string', pattern: '\\$\\{' };

function allowReferences(node) {
  if (Array.isArray(node)) return node.map(allowReferences);
  if (node === null || typeof node !== 'object') return node;
  if ('enum' in node || ['number', 'integer', 'boolean'].includes(node.type)) {
    const { description, ...own } = node;
    return { ...(description !== undefined && { description }), anyOf: [own, REFERENCE] };
  }
  return Object.fromEntries(Object.entries(node).map(([key, value]) => [key, allowReferences(value)]));
}

// Checks that a schema cannot say are left to the program itself.
const schema = {
  title: 'Rules file of otel-breaker',
  ...allowReferences(toJsonSchema(rulesSchema(false), { errorMode: 'ignore' })),
};
writeFileSync(join(root, 'dist/schema.json'), `${JSON.stringify(schema, undefined, 2)}\n`);
copyFileSync(join(root, 'examples/otel-breaker.yaml'), join(root, 'dist/otel-breaker.yaml'));
