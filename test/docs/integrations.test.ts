import { expect } from 'chai';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PRELOAD, ROOT, runNode } from '../support/child.js';
import { echo } from '../support/grpc.js';
import { serveHttp2 } from '../support/http2.js';
import { MariadbServer } from '../support/mariadb-server.js';
import { MongoServer } from '../support/mongo-server.js';
import { PostgresServer } from '../support/postgres-server.js';
import { RedisServer } from '../support/redis-server.js';
import { serve, stopServers } from '../support/servers.js';
import { MailServer } from '../support/smtp-server.js';
import { Document } from './documents.js';

/** One line that `refusals.cjs` prints. */
interface Refusal {
  readonly library: string;
  readonly situation: 'connected' | 'respond' | 'first' | 'later' | 'throw';
  readonly class: string;
  readonly code?: string | number;
  readonly status?: number;
  /** Where our error is: the error itself, its `cause`, further along it, or nowhere. */
  readonly ours: 'itself' | 'cause' | 'further' | 'none';
  readonly attempts: number;
}

const STATUSES: Readonly<Record<number, string>> = { 9: 'FAILED_PRECONDITION', 14: 'UNAVAILABLE' };

/** A refusal as the tables say it. */
function inWords({ class: name, code, status, ours }: Refusal): string {
  if (ours === 'itself') return name;
  if (typeof code === 'string') return `${name}, code ${code}`;
  if (status !== undefined) return `${name}, status ${status}`;
  const words = [name];
  if (code !== undefined) words.push(`code ${STATUSES[code]!}`);
  if (ours === 'cause') words.push('ours as cause');
  if (ours === 'further') words.push('ours further along cause');
  return words.join(', ');
}

/** Under which names a library of the tables is installed, where that is not its own. */
const INSTALLED: Readonly<Record<string, readonly string[]>> = {
  'node-fetch': ['node-fetch2', 'node-fetch'],
  'openai, @anthropic-ai/sdk': ['openai', '@anthropic-ai/sdk'],
  'AWS SDK v3 (client-s3)': ['@aws-sdk/client-s3'],
  'pg, pg-pool': ['pg', 'pg-pool'],
  ioredis: ['ioredis5', 'ioredis'],
  'redis (node-redis)': ['redis5', 'redis'],
};
const BY_HAND = ['@elastic/elasticsearch', 'Prisma, @prisma/adapter-pg'];

const installed = (library: string) => INSTALLED[library] ?? [library];

/** @param name of a package, and after a comma, how it is used */
function versionOf(name: string): string {
  const folder = name.split(',')[0]!;
  const { version } = JSON.parse(readFileSync(join(ROOT, 'node_modules', folder, 'package.json'), 'utf8')) as {
    version: string;
  };
  return version;
}

describe('docs/integrations.md', function () {
  // All servers there are, and a client of each, on a machine that may be busy.
  this.timeout(180_000);
  const page = new Document('docs/integrations.md');
  const [table, waiting] = page.tables.map((rows) => rows.slice(1)) as [string[][], string[][]];
  const refusals: Refusal[] = [];

  before(async () => {
    const web = await serve((_, res) => res.setHeader('content-type', 'application/json').end('{"data":[]}'));
    const web2 = await serveHttp2(true);
    const [redis, postgres, mariadb, mongo, mail, grpc] = await Promise.all([
      RedisServer.start(),
      PostgresServer.start(),
      MariadbServer.start(),
      MongoServer.start(),
      MailServer.start(),
      echo.serve(),
    ]);
    try {
      const SERVERS = JSON.stringify({
        http: web.origin,
        http2: web2.origin.replace('127.0.0.1', 'localhost'),
        redis: redis.url,
        postgresql: postgres.url,
        mysql: mariadb.url,
        mongodb: mongo.url,
        smtp: mail.port,
        grpc: `127.0.0.1:${grpc.port}`,
      });
      const program = join(__dirname, 'refusals.cjs');
      const { stdout, stderr, code } = await runNode({
        nodeArgs: PRELOAD,
        env: { SERVERS, OTEL_BREAKER_METRICS: 'off' },
        program,
      });
      expect(code, stderr.slice(-2000)).to.equal(0);
      for (const line of stdout.trim().split('\n')) refusals.push(JSON.parse(line) as Refusal);
    } finally {
      grpc.stop();
      await Promise.all([redis.remove(), postgres.stop(), mariadb.stop(), mongo.kill(), mail.stop(), stopServers()]);
    }
  });

  /** What calls through a library got, in all its versions alike. */
  function got(library: string, situation: Refusal['situation']): Refusal {
    const [first, ...others] = installed(library).map((name) =>
      refusals.find((refusal) => refusal.library === name && refusal.situation === situation)!,
    );
    for (const other of others) expect({ ...other, library: first!.library }).to.deep.equal(first);
    return first!;
  }

  const tried = () => new Set(refusals.map(({ library }) => library));

  it('names each library that is tried, and tries each that it names', () => {
    const named = table.map(([library]) => library!);
    expect(named.filter((name) => !BY_HAND.includes(name)).flatMap(installed)).to.have.members([...tried()]);
  });

  it('names the versions that are tried', () => {
    for (const [library = '', versions = ''] of table) {
      if (BY_HAND.includes(library) || versions === "Node's") continue;
      const actual = [...new Set(installed(library).map(versionOf))];
      versions.split(', ').forEach((version, index) => expect(`${actual[index]}.`, library).to.contain(`${version}.`));
    }
  });

  it('says what each call gets while the circuit is open', () => {
    for (const [library = '', , , error, attempts, isOurs] of table) {
      if (BY_HAND.includes(library)) continue;
      const refusal = got(library, 'connected');
      expect([error, attempts, isOurs], library).to.deep.equal([
        inWords(refusal),
        String(refusal.attempts),
        refusal.ours === 'none' ? 'no' : 'yes',
      ]);
    }
  });

  it('says what calls of clients that wait get without a connection', () => {
    const named = waiting.map(([library]) => library!);
    const waits = new Set(refusals.filter(({ situation }) => situation === 'first').map(({ library }) => library));
    expect(named.flatMap(installed)).to.have.members([...waits]);
    for (const [library = '', first, later, thrown] of waiting) {
      expect([first, later, thrown], library).to.deep.equal(
        (['first', 'later', 'throw'] as const).map((situation) => inWords(got(library, situation))),
      );
    }
  });

  it('says what calls get where a rule says respond', () => {
    const answered = { situation: 'respond', attempts: 1 };
    expect(got('openai', 'respond')).to.include({ ...answered, status: 503, ours: 'further' });
    expect(got('@anthropic-ai/sdk', 'respond')).to.include({ ...answered, status: 503, ours: 'none' });
    expect(got('@grpc/grpc-js', 'respond')).to.include(answered);
    expect(inWords(got('@grpc/grpc-js', 'respond'))).to.equal('Error, code FAILED_PRECONDITION, ours as cause');
  });
});
