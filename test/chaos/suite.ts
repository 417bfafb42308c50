import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { removeTemporaryDirectories, temporaryDirectory } from '../support/files.js';
import { startBackends, type Backends, type ClientName } from './backends.js';
import { Caller } from './caller.js';
import type { Extent, Fault } from './faults.js';
import { play, RULES, type Result } from './scenario.js';

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
  const backends = await startBackends();
  try {
    const results = await Promise.all(
      clients.map((client) => playWith(client, faults, backends, rules, extent, seed, onResult)),
    );
    return results.flat();
  } finally {
    await backends.stop();
    removeTemporaryDirectories();
  }
}

async function playWith(
  client: ClientName,
  faults: readonly Fault[],
  backends: Backends,
  rules: string,
  extent: Extent,
  seed: number,
  onResult: (result: Result) => void,
): Promise<Result[]> {
  const caller = await Caller.start(client, rules);
  try {
    const results: Result[] = [];
    for (const [index, fault] of faults.entries()) {
      const result = await play(fault, client, caller, backends.of(client), extent, seed + index);
      results.push(result);
      onResult(result);
    }
    const problems = await caller.end();
    if (problems.length > 0) throw new Error(problems.join('\n'));
    return results;
  } finally {
    caller.kill();
  }
}
