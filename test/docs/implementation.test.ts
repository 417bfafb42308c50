import { expect } from 'chai';
import { STATE_NAMES, TRANSITIONS } from '../../src/breaker/state.js';
import { PRELOAD, runNode } from '../support/child.js';
import { Document } from './documents.js';

const page = new Document('docs/implementation.md');

/** Prints a fingerprint of every method of the objects that the page names, as the process has them. */
const FINGERPRINTS = `
  const http = require('node:http');
  const { Redis, Cluster } = require('ioredis');
  const { Client, Pool, Query } = require('pg');
  const { Agent } = require('undici');
  const objects = {
    http: { Agent: http.Agent, ClientRequest: http.ClientRequest },
    undici: { DispatcherBase: Object.getPrototypeOf(Agent) },
    ioredis: { Redis, Cluster },
    pg: { Client, Query, Pool: Object.getPrototypeOf(Pool.prototype).connect ? Object.getPrototypeOf(Pool) : Pool },
  };
  const seen = {};
  for (const [client, classes] of Object.entries(objects)) {
    for (const [name, { prototype }] of Object.entries(classes)) {
      for (const [key, { value }] of Object.entries(Object.getOwnPropertyDescriptors(prototype))) {
        if (typeof value === 'function') seen[client + ' ' + name + '.prototype ' + key] = String(value);
      }
    }
  }
  console.log(JSON.stringify(seen));
`;

async function fingerprints(nodeArgs: readonly string[]): Promise<Record<string, string>> {
  const { stdout, stderr } = await runNode({
    nodeArgs,
    env: { OTEL_BREAKER_METRICS: 'off' },
    program: { kind: 'commonjs', source: FINGERPRINTS },
  });
  expect(stdout, stderr).not.to.equal('');
  return JSON.parse(stdout) as Record<string, string>;
}

describe('docs/implementation.md', () => {
  it('has every change of state, and no other', () => {
    const documented = page
      .tableOf('The circuit')
      .slice(1)
      .map(([from, to]) => [from, to]);
    const possible = TRANSITIONS.map(([from, to]) => [STATE_NAMES[from], STATE_NAMES[to]]);
    expect(documented).to.have.deep.members(possible);
  });

  it('names every method that is patched, and no other', async () => {
    const [plain, preloaded] = await Promise.all([fingerprints([]), fingerprints(PRELOAD)]);
    const patched = Object.keys(preloaded).filter((method) => preloaded[method] !== plain[method]);
    const documented = page
      .tableOf('What is patched')
      .slice(1)
      .flatMap(([client, object, methods]) => methods!.split(', ').map((method) => `${client!} ${object!} ${method}`));
    expect(documented.sort()).to.deep.equal(patched.sort());
  });
});
