// An application of CommonJS modules: loads one client and runs its probes.
'use strict';

const { Witness } = require('./witness.cjs');
const { runProbes } = require('./run-probes.cjs');

// Before the client, as any library that looks at events would be.
const witness = new Witness();
const [family, ...packages] = process.argv.slice(2);
void runProbes(
  witness,
  family,
  packages.map((name) => require(name)),
);
