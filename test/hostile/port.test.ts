import { expect } from 'chai';
import { once } from 'node:events';
import { Agent, get } from 'node:http';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { METRICS_ADDRESS, startApp, stopApps, type App } from '../support/app.js';
import { PRELOAD } from '../support/child.js';
import { measured } from './measured.js';

interface Health {
  /** The longest time for which the event loop did not turn, in milliseconds. */
  readonly longest: number;
  /** The most memory it had, in bytes. */
  readonly rss: number;
}

const MEGABYTES = 1024 * 1024;
const REQUEST = 'GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n';
// Machines are busy; the attacks kept the service for 7 to 60 seconds.
const NOT_LONG_MS = 3_000;

describe('hostile clients of the port of a service', () => {
  let app: App;
  let service: string;
  let port: number;
  const sockets = new Set<Socket>();

  async function start(breakers: number, env: NodeJS.ProcessEnv = {}, args: readonly string[] = []): Promise<void> {
    app = startApp({
      nodeArgs: [...args, ...PRELOAD],
      env: { BREAKERS: String(breakers), ...env },
      program: join(__dirname, 'service.cjs'),
    });
    const [[, at], [, metrics]] = await Promise.all([
      app.prints('stdout', /service at (\S+)/),
      app.prints('stderr', METRICS_ADDRESS),
    ]);
    service = at!;
    port = Number(new URL(metrics!).port);
    await text('/metrics');
  }

  afterEach(async () => {
    for (const socket of sockets) socket.destroy();
    sockets.clear();
    await stopApps();
  });

  const ask = async (path: string) => (await (await fetch(`${service}${path}`)).json()) as Health;
  const text = async (path: string) => (await fetch(`http://127.0.0.1:${port}${path}`)).text();

  function open(bytes = ''): Socket {
    const socket = connect(port, '127.0.0.1').on('error', () => {});
    sockets.add(socket);
    if (bytes !== '') socket.write(bytes);
    return socket;
  }

  /** How the service fares for as long as something is done to it. */
  async function during(attack: () => Promise<unknown>): Promise<Health & { readonly grown: number }> {
    const { rss } = await ask('/begin');
    await attack();
    const after = await ask('/');
    return { ...after, grown: after.rss - rss };
  }

  for (const path of ['/metrics', '/breakers']) {
    it(`cannot take it with 1,400 requests for ${path} in one packet that they never read the answers of`, async function () {
      this.timeout(120_000);
      await start(1_000, {}, ['--max-old-space-size=512']);
      const { longest, grown } = await during(async () => {
        const socket = open(REQUEST.replace('/metrics', path).repeat(1_400));
        await once(socket, 'connect');
        // Paused: whatever is sent stays with the service. It ends the connection by itself.
        for (let time = 0; time < 10; time++) await text('/healthz');
        socket.resume();
        if (!socket.closed) await once(socket, 'close');
      });
      measured(this, `event loop held for ${longest} ms, ${Math.round(grown / MEGABYTES)} MB more`);
      expect(longest).to.be.below(NOT_LONG_MS);
      expect(grown).to.be.below(200 * MEGABYTES);
    });
  }

  it('cannot take it with 30 connections that ask for metrics again and again', async function () {
    this.timeout(120_000);
    await start(1_000);
    let scrapes = 0;
    const { longest, grown } = await during(async () => {
      const agent = new Agent({ keepAlive: true, maxSockets: 30 });
      const scrape = () =>
        new Promise<void>((resolve, reject) => {
          get({ port, path: '/metrics', agent }, (response) => response.resume().on('end', resolve)).on(
            'error',
            reject,
          );
        });
      await Promise.all(
        Array.from({ length: 30 }, async () => {
          for (let time = 0; time < 10; time++) {
            await scrape();
            scrapes++;
          }
        }),
      );
      agent.destroy();
    });
    measured(this, `${scrapes} scrapes; event loop held for ${longest} ms, ${Math.round(grown / MEGABYTES)} MB more`);
    expect(scrapes).to.equal(300);
    expect(longest).to.be.below(NOT_LONG_MS);
  });

  it('cannot leave more with it than they take: a hundred connections that ask and never read', async function () {
    this.timeout(120_000);
    await start(500);
    const { grown, longest } = await during(async () => {
      for (let some = 0; some < 10; some++) {
        for (let one = 0; one < 10; one++) open(REQUEST).pause();
        await text('/metrics');
      }
    });
    measured(this, `event loop held for ${longest} ms, ${Math.round(grown / MEGABYTES)} MB more`);
    expect(grown).to.be.below(150 * MEGABYTES);
  });

  it('cannot starve a scraper with 130 connections that say nothing', async function () {
    await start(1);
    const silent = Array.from({ length: 130 }, () => open().resume());
    await Promise.all(silent.map((socket) => once(socket, 'connect')));
    for (let time = 0; time < 50; time++) expect(await text('/metrics')).to.contain('circuit_breaker_state');
    measured(this, '50 of 50 scrapes answered');
  });
});
