// Imports point one way: register → instrumentations → guard, runtime → telemetry, rules → breaker.
const only = (name, from, to, comment) => ({ name, severity: 'error', comment, from: { path: from }, to });

module.exports = {
  forbidden: [
    only('no-cycles', '', { circular: true }, 'a cycle hides which module depends on which'),
    only(
      'breaker-stands-alone',
      '^src/breaker/',
      { pathNot: '^(src/breaker/|node:|[a-z_]+$)' },
      'the circuit knows no client, no span and no file',
    ),
    only(
      'breaker-imports-no-package',
      '^src/breaker/',
      { dependencyTypes: ['npm', 'npm-dev', 'npm-peer', 'npm-no-pkg', 'npm-unknown'] },
      'not even OpenTelemetry',
    ),
    only(
      'rules-and-telemetry-see-the-breaker-only',
      '^src/(rules|telemetry)/',
      { path: '^(src/(guard/guard|runtime|register|helpers|middleware|cli)|instrumentations/)' },
      'they are used by the guard and the runtime, never the other way',
    ),
    only(
      'guard-is-below-the-edges',
      '^src/(guard/|runtime\\.ts)',
      { path: '^(src/(register|helpers|middleware|cli)|instrumentations/)' },
      'instrumentations use the guard, not the other way',
    ),
    only(
      'helpers-import-the-core-only',
      '^src/(helpers|middleware)/',
      { path: '^(src/(register|console|cli|rules)|instrumentations/)' },
      'edges are deletable',
    ),
    only('clients-are-never-dependencies', '^(src|instrumentations)/', { path: 'node_modules/(undici|ioredis|pg)/' }),
    only('register-is-the-root', '^(src|instrumentations)/', { path: '^src/register\\.ts' }),
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
  },
};
