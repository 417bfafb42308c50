import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { removeTemporaryDirectories, temporaryDirectory } from '../support/files.js';
import { startBackends, type Backend, type ClientName } from './backends.js';
import { Caller } from './caller.js';
import type { Extent, Fault } from './faults.js';
import { play, RULES, warmUp, type Result } from './scenario.js';

/** Every fault with every client: clients side by side, each in a process of its own, and faults one after the other. */
export async function playAll(
  clients: readonly ClientName[],
  faults: readonly Fault[],
  extent: Extent,
  seed: number,
  onResult: (result: Result) => void = () => {},
): Promise<Result[]> {
  const rules = join(temporaryDirectory(), 'rules.yaml');
  writeFileSync(rules, RULES);
  const callers: [ClientName, Caller][] = [];
  const backends = await startBackends();
  try {
    for (const client of clients) {
      const caller = await Caller.start(client, rules);
      callers.push([client, caller]);
      await warmUp(client, caller, backends.of(client));
    }
    const results = await Promise.all(
      callers.map(([client, caller]) => playWith(client, caller, faults, backends.of(client), extent, seed, onResult)),
    );
    return results.flat();
  } finally {
    for (const [, caller] of callers) caller.kill();
    await backends.stop();
    removeTemporaryDirectories();
  }
}

async function playWith(
  client: ClientName,
  caller: Caller,
  faults: readonly Fault[],
  backend: Backend,
  extent: Extent,
  seed: number,
  onResult: (result: Result) => void,
): Promise<Result[]> {
  const results: Result[] = [];
  for (const [index, fault] of faults.entries()) {
    const result = await play(fault, client, caller, backend, extent, seed + index);
    results.push(result);
    onResult(result);
  }
  const problems = await caller.end();
  if (problems.length > 0) throw new Error(`${client}: ${problems.join('\n')}`);
  return results;
}
