// Imports point one way: register → instrumentations → guard, runtime → telemetry, rules → outcomes → breaker.

/** What each room may import, besides itself, node: and packages. */
const ROOMS = {
  breaker: [],
  outcomes: ['breaker'],
  environment: ['breaker'],
  target: ['breaker'],
  rules: ['environment', 'outcomes', 'breaker', 'target', 'version'],
  telemetry: ['environment', 'outcomes', 'breaker', 'target', 'version'],
  guard: ['telemetry', 'rules', 'environment', 'outcomes', 'breaker', 'target', 'version'],
  console: ['guard', 'environment', 'telemetry', 'rules', 'outcomes', 'breaker', 'target', 'version'],
  fleet: ['environment', 'telemetry', 'rules', 'outcomes', 'breaker', 'target', 'version'],
  runtime: [
    'guard',
    'environment',
    'telemetry',
    'rules',
    'outcomes',
    'breaker',
    'target',
    'version',
    'console',
    'fleet',
  ],
  // Its page is drawn with the parts of the console's.
  replay: ['console', 'guard', 'environment', 'telemetry', 'rules', 'outcomes', 'breaker', 'target', 'version'],
  'named-breaker': ['runtime', 'breaker'],
  helpers: ['runtime', 'named-breaker', 'outcomes', 'breaker', 'target', 'version'],
  middleware: ['runtime', 'named-breaker', 'outcomes', 'breaker', 'target', 'version'],
};
/** Files of one room, whether it is a folder or a file. */
const files = (room) => `src/${room}(/|\\.ts$)`;
const OURS = '^(src|instrumentations)/';
const EDGES = '^(src/(register|cli|index|helpers|middleware|console|fleet|replay)(/|\\.ts$))';

const rule = (name, from, to, comment) => ({
  name,
  severity: 'error',
  comment,
  from: typeof from === 'string' ? { path: from } : from,
  to,
});

const oneWay = Object.entries(ROOMS).map(([room, below]) =>
  rule(
    `${room}-imports-what-is-below`,
    `^${files(room)}`,
    { path: OURS, pathNot: [room, ...below].map((allowed) => `^${files(allowed)}`) },
    `${room} imports ${below.length === 0 ? 'nothing but itself' : below.join(', ')}; whoever is above uses it`,
  ),
);

module.exports = {
  forbidden: [
    rule('no-cycles', '', { circular: true }, 'a cycle hides which module depends on which'),
    ...oneWay,
    rule(
      'breaker-and-outcomes-import-no-package',
      '^src/(breaker|outcomes)/',
      { dependencyTypes: ['npm', 'npm-dev', 'npm-peer', 'npm-no-pkg', 'npm-unknown'] },
      'not even OpenTelemetry',
    ),
    rule(
      'names-import-nothing',
      '^src/telemetry/names\\.ts$',
      { path: '.' },
      "the console's page takes its names from there, and nothing else with them",
    ),
    rule(
      'instrumentations-are-above-the-guard-alone',
      '^instrumentations/',
      { path: EDGES },
      'a client needs targets and permits, and nothing else',
    ),
    rule(
      'instrumentations-are-for-register',
      { path: OURS, pathNot: '^(instrumentations/|src/register\\.ts$)' },
      { path: '^instrumentations/' },
      'each can be deleted, with its line in the index',
    ),
    rule(
      'console-is-for-runtime-and-cli',
      { path: OURS, pathNot: '^src/(console/|replay/page/|runtime\\.ts$|cli\\.ts$)' },
      { path: '^src/(console|cli)(/|\\.ts$)' },
      'it can be deleted',
    ),
    rule(
      'replay-is-for-the-cli',
      { path: OURS, pathNot: '^src/replay/' },
      {
        path: '^src/replay/',
        pathNot: '^src/replay/command\\.ts$',
      },
      'one command loads it, by one way in',
    ),
    rule(
      'replay-is-loaded-where-it-is-used',
      { path: OURS, pathNot: '^src/replay/' },
      { path: '^src/replay/', dependencyTypesNot: ['require', 'dynamic-import', 'type-only', 'type-import'] },
      'a process under the preload has no use for it',
    ),
    rule(
      'history-has-one-way-in',
      { path: OURS, pathNot: '^src/console/' },
      { path: '^src/console/history/', pathNot: '/history\\.ts$' },
      "what is kept of the past is the console's own affair",
    ),
    rule(
      'console-and-fleet-are-loaded-where-they-are-used',
      { path: OURS, pathNot: '^src/(console|fleet|replay/page)/' },
      { path: '^src/(console|fleet)/', dependencyTypesNot: ['require', 'dynamic-import', 'type-only', 'type-import'] },
      'nobody may ever look at the console, and most processes have no fleet',
    ),
    rule(
      'clients-are-never-dependencies',
      OURS,
      { path: 'node_modules/(undici|ioredis|redis|@redis/client|mysql2|mongodb|pg|@grpc/grpc-js)/' },
      'the application brings them',
    ),
    rule(
      'register-is-the-root',
      OURS,
      { path: '^src/register\\.ts$' },
      'it composes everything and is no part of anything',
    ),
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
  },
};
