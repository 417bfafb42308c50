import { expect } from 'chai';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import type { ReplayReport } from '../../src/replay/report.js';
import { startApp, stopApps } from '../support/app.js';
import { PRELOAD } from '../support/child.js';
import { removeTemporaryDirectories, temporaryDirectory } from '../support/files.js';
import { PostgresServer } from '../support/postgres-server.js';
import { start, stopServers } from '../support/servers.js';
import { replay } from './command.js';

// Each opening lasts as long as any other, so that a difference of milliseconds stays one. Nothing else than the calls is a
// probe.
const RULES = `
panicThreshold: 1
defaults: { failureThreshold: 4, openDuration: 600ms, initialOpenDuration: 600ms, successThreshold: 2 }
`;
// A span ends when its last byte has come, and its circuit has heard before; and the machine is busy.
const PRECISION_MS = 150;

interface Opening {
  readonly name: string;
  readonly from: string;
  readonly to: string;
  readonly at: number;
  readonly reason: string;
}

describe('a recorded outage, replayed by the rules that were in force', function () {
  this.timeout(120_000);
  let postgres: PostgresServer;
  let recorded: Opening[];
  let replayed: ReplayReport;
  let names: Record<'http' | 'postgresql', string>;

  before(async () => {
    const folder = temporaryDirectory();
    const [rules, traces] = [join(folder, 'rules.yaml'), join(folder, 'traces.otlp.json')];
    writeFileSync(rules, RULES);
    postgres = await PostgresServer.start();
    let status = 200;
    const web = await start(
      createServer((_, response) => response.writeHead(status).end('an answer')),
      'http',
    );
    names = {
      http: web.origin,
      postgresql: `postgresql://127.0.0.1:${postgres.port}/${postgres.database}`,
    };
    const app = startApp({
      nodeArgs: PRELOAD,
      program: join(__dirname, 'recorder.cjs'),
      env: {
        TRACES: traces,
        HTTP_PORT: String(web.port),
        PG_PORT: String(postgres.port),
        PG_USER: postgres.user,
        PG_DATABASE: postgres.database,
        OTEL_BREAKER_CONFIG: rules,
        OTEL_METRICS_EXPORTER: 'none',
        OTEL_LOGS_EXPORTER: 'none',
        OTEL_SEMCONV_STABILITY_OPT_IN: 'http,database',
      },
      ipc: true,
    });
    await app.prints('stdout', /calling/);
    await wait(1_000);
    status = 503;
    await postgres.kill();
    await wait(2_500);
    status = 200;
    await postgres.start();
    await wait(2_000);
    app.child.send('end');
    const { code, stdout, stderr } = await app.ends();
    expect(code, stderr).to.equal(0);
    recorded = (JSON.parse(stdout.slice(stdout.indexOf('{'))) as { changes: Opening[] }).changes;
    const { code: exit, stdout: json, stderr: said } = await replay([traces, '--rules', rules, '--json']);
    expect(exit, said).to.equal(0);
    replayed = JSON.parse(json) as ReplayReport;
    expect(readFileSync(traces, 'utf8').split('\n').length, 'lines, one for each batch').to.be.greaterThan(5);
  });

  after(async () => {
    removeTemporaryDirectories();
    await stopApps();
    await stopServers();
    await postgres.stop();
  });

  for (const system of ['http', 'postgresql'] as const) {
    it(`gives the openings of the live run: ${system}`, () => {
      const live = recorded.filter(({ name, to }) => name === names[system] && to === 'open');
      const breaker = replayed.rules[0]!.breakers.find(({ name }) => name === names[system])!;
      const openings = breaker.changes.filter(({ to }) => to === 'open');
      const told = (list: readonly { at: number; from: string; reason: string }[]) =>
        list.map(({ at, from, reason }) => `${at.toFixed(0)} ${from} ${reason}`).join('\n');
      expect(live.length, told(live)).to.be.greaterThan(1);
      expect(openings.length, `live:\n${told(live)}\nreplayed:\n${told(openings)}`).to.equal(live.length);
      for (const [index, opening] of openings.entries()) {
        expect(opening.from).to.equal(live[index]!.from);
        expect(opening.at).to.be.closeTo(live[index]!.at, PRECISION_MS);
      }
      // The circuit is closed in the end, there as here.
      expect(breaker.changes.at(-1)!.to).to.equal('closed');
    });
  }

  it('leaves out what was rejected then, since nobody knows what would have become of it', () => {
    expect(replayed.leftOut.rejected).to.be.greaterThan(20);
    for (const { rejected } of replayed.rules[0]!.breakers) expect(rejected.succeeded).to.equal(0);
  });
});
