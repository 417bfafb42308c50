import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { PRELOAD, runNode } from '../support/child.js';
import { removeTemporaryDirectories, temporaryDirectory } from '../support/files.js';
import { between, golden } from '../support/golden.js';
import { echo } from '../support/grpc.js';
import { serveHttp2 } from '../support/http2.js';
import { installLaterLines, installPlatforms } from '../support/node-lines.js';
import { MariadbServer } from '../support/mariadb-server.js';
import { MongoServer } from '../support/mongo-server.js';
import { PostgresServer } from '../support/postgres-server.js';
import { RedisServer } from '../support/redis-server.js';
import { serve, stopServers } from '../support/servers.js';
import { MailServer } from '../support/smtp-server.js';
import { clients, live, NODES, runsOn, table } from './matrix.js';

describe('platforms', function () {
  // Nodes come over the network the first time.
  this.timeout(0);

  const works = new Map<string, boolean>();
  const upstreams: Record<string, { readonly port: number; readonly user?: string; readonly database?: string }> = {};
  const servers: { stop(): Promise<void> }[] = [];

  before(async () => {
    await Promise.all([installLaterLines(), installPlatforms()]);
    const redis = await RedisServer.start();
    const postgres = await PostgresServer.start();
    const mysql2 = await MariadbServer.start();
    const mongodb = await MongoServer.start();
    const rpc = await echo.serve();
    const nodemailer = await MailServer.start();
    servers.push(
      { stop: () => redis.remove() },
      postgres,
      mysql2,
      { stop: () => mongodb.kill() },
      { stop: async () => rpc.stop() },
      nodemailer,
    );
    const web = await serve((_, res) => res.end('ok'));
    Object.assign(upstreams, {
      http: web,
      fetch: web,
      undici: web,
      ioredis: redis,
      redis,
      mysql2,
      mongodb,
      pg: postgres,
      grpc: rpc,
      nodemailer,
      http2: await serveHttp2(),
    });
  });

  after(async () => {
    for (const server of servers) await server.stop();
    await stopServers();
  });

  afterEach(removeTemporaryDirectories);

  for (const [line, node] of Object.entries(NODES)) {
    it(`${line}: every client that runs there succeeds, trips, is rejected and recovers`, async () => {
      for (const client of clients()) {
        if (!(await runsOn(client, node))) continue;
        const { name, ...life } = await live(client, node, upstreams[client.family]!);
        expect(life, client.title).to.deep.equal({
          success: 1,
          rejection: {
            isCircuitOpenError: true,
            class: 'CircuitOpenError',
            code: 'ERR_CIRCUIT_OPEN',
            breaker: name,
            state: 'open',
            waits: true,
            cause: true,
          },
          rejected: true,
          recovered: 'closed',
        });
        works.set(`${client.title} on ${line}`, true);
      }
    });
  }

  it('a pg too old to be guarded is left alone, and that is said', async () => {
    // As versions up to 8.3.0 are built: answers arrive in closures.
    const lib = join(temporaryDirectory(), 'node_modules/pg/lib');
    await mkdir(lib, { recursive: true });
    await writeFile(join(lib, 'client.js'), 'module.exports = class Client { query() { return 42; } };');
    const source = `console.log(new (require(${JSON.stringify(join(lib, 'client.js'))}))().query())`;
    const { stdout, stderr } = await runNode({ nodeArgs: PRELOAD, program: { kind: 'commonjs', source } });
    expect(stdout).to.equal('42\n');
    expect(stderr.split('\n')).to.include(
      'otel-breaker: this version of pg is not built as otel-breaker knows it, its calls are not guarded',
    );
  });

  it('docs/platforms.md says what has run, and where', async () => {
    const { is, should } = await golden('docs/platforms.md', (text) => between(text, 'platforms', table(works)));
    expect(is, 'UPDATE=1 writes it').to.equal(should);
  });
});
