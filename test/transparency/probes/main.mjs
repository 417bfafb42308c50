// The same application of ES modules.
import { Witness } from './witness.cjs';
import { runProbes } from './run-probes.cjs';

const witness = new Witness();
const [family, ...packages] = process.argv.slice(2);
const modules = [];
for (const name of packages) modules.push(await import(name));
await runProbes(witness, family, modules);
