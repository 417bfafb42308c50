// Writes the table of options into docs/configuration.md, from the table that checks them. Run it after a build.
const { readFileSync, writeFileSync } = require('node:fs');
const { join } = require('node:path');

const root = join(__dirname, '..');
const FILE = join(root, 'docs/configuration.md');
const BEGIN = '<!-- options: written by scripts/options-table.cjs -->';
const END = '<!-- end of options -->';

const { OPTIONS, oneOf } = require(join(root, 'dist/src/breaker/options.js'));
const { resolveConfig } = require(join(root, 'dist/src/breaker/config.js'));
const { formatDuration } = require(join(root, 'dist/src/rules/explain.js'));

const ALLOWED = {
  count: () => 'whole number from 1',
  share: ({ zero }) => (zero === undefined ? '0 to 1' : 'above 0, at most 1'),
  factor: () => 'number from 1',
  duration: ({ min }) => `duration from ${formatDuration(min)}`,
  flag: () => 'true, false',
  choice: ({ values }) => oneOf(values).replaceAll('"', '`'),
  statuses: () => 'list of `429`, `5xx`, `"!501"`',
  function: () => 'function, in code only',
};

function defaultOf(key, kind) {
  const value = resolveConfig()[key];
  if (value === undefined) return 'not set';
  if (kind === 'duration') return formatDuration(value);
  return `${Array.isArray(value) ? value.join(', ') : value}`;
}

function table() {
  const rows = Object.entries(OPTIONS).map(
    ([key, spec]) => `| \`${key}\` | ${ALLOWED[spec.kind](spec)} | ${defaultOf(key, spec.kind)} | ${spec.describe} |`,
  );
  return ['| option | allowed | default | meaning |', '| --- | --- | --- | --- |', ...rows].join('\n');
}

/** The document with the table as it should be. */
function withTable(text) {
  const begin = text.indexOf(BEGIN);
  const end = text.indexOf(END);
  if (begin < 0 || end < begin) throw new Error(`${FILE} has no place for the table`);
  return `${text.slice(0, begin + BEGIN.length)}\n\n${table()}\n\n${text.slice(end)}`;
}

module.exports = { FILE, table };
if (require.main === module) writeFileSync(FILE, withTable(readFileSync(FILE, 'utf8')));
