// The same application of ES modules.
import { Witness } from './witness.cjs';
import { runProbes } from './run-probes.cjs';

const witness = new Witness();
const [family, ...packages] = process.argv.slice(2);
const clients = [];
for (const name of packages) {
  const module = await import(name);
  clients.push(name.startsWith('node:') ? module : module.default);
}
await runProbes(witness, family, clients);
