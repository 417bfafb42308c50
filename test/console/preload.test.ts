import { expect } from 'chai';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { PRELOAD, spawnNode } from '../support/child.js';

/** A service that knows nothing of the console, and tells which files of it are loaded. */
const source = `
  const { createServer } = require('node:http');
  const { basename } = require('node:path');
  const server = createServer((request, response) => {
    const loaded = Object.keys(require.cache).filter((path) => path.includes('/dist/src/console/'));
    response.end(JSON.stringify(loaded.map((path) => basename(path))));
  });
  server.listen(0, '127.0.0.1', () => console.log(server.address().port));
`;

describe('console of the preload', () => {
  it('is at the port of the metrics, and is loaded when somebody asks for it', async () => {
    const child = spawnNode({
      nodeArgs: PRELOAD,
      program: { kind: 'commonjs', source },
      env: { OTEL_SERVICE_NAME: 'shop' },
    });
    try {
      const address = consoleAddress(child.stderr!);
      const [port] = (await once(createInterface(child.stdout!), 'line')) as [string];
      const loaded = async () => (await (await fetch(`http://127.0.0.1:${port}/`)).json()) as string[];
      const url = await address;

      expect((await fetch(`${url}metrics`)).status).to.equal(200);
      expect(await loaded()).to.have.members(['server.js', 'access.js', 'answer.js']);
      const page = await (await fetch(url)).text();
      expect(page).to.include('<title>Circuit breakers</title>');
      expect(await loaded()).to.include('console.js');
      const { service } = (await (await fetch(`${url}breakers`)).json()) as { service: string };
      expect(service).to.equal('shop');
    } finally {
      child.kill();
      await once(child, 'exit');
    }
  });
});

function consoleAddress(stderr: NodeJS.ReadableStream): Promise<string> {
  return new Promise((resolve, reject) => {
    const lines = createInterface(stderr);
    lines.on('line', (line) => {
      const address = /console at (\S+)\)/.exec(line)?.[1];
      if (address !== undefined) resolve(address);
    });
    lines.once('close', () => reject(new Error('The service ended before it told where its console is.')));
  });
}
