import { expect } from 'chai';
import { once } from 'node:events';
import { Agent, get, request, type IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import { CircuitBreakerRegistry } from '../../src/breaker/registry.js';
import { HealthAnswers } from '../../src/console/health.js';
import { createConsole } from '../../src/console/console.js';
import { startConsole, type ConsoleServer } from '../../src/console/server.js';
import { readEnvironment } from '../../src/environment.js';
import { createRuntime, type Runtime } from '../../src/runtime.js';
import { setTimeout as wait } from 'node:timers/promises';
import { printWithoutDiag } from '../../src/telemetry/log.js';
import { measured } from './measured.js';
import { startService, type Service } from '../console/service.js';

const TOKEN = 'a-token-of-the-tests';

describe('proxies before the console', () => {
  let service: Service;
  let port: string;
  before(async () => {
    service = await startService({ OTEL_EXPORTER_PROMETHEUS_HOST: '0.0.0.0' });
    service.breaker('payments');
    port = new URL(service.url).port;
  });
  after(() => service.stop());

  async function status(headers: Record<string, string>, path = '/breakers'): Promise<number> {
    const outgoing = get({ host: '127.0.0.1', port, path, headers, agent: false });
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
    response.resume();
    return response.statusCode!;
  }

  it('on this machine that pass bytes on do not open it: whoever sent them knew another name', async () => {
    for (const host of ['10.1.2.3:9464', '203.0.113.7', '[2001:db8::1]:9464']) {
      expect(await status({ host }), host).to.equal(403);
      expect(await status({ host }, '/metrics')).to.equal(200);
    }
    for (const host of ['127.0.0.1:9464', 'localhost', '[::1]:9464']) {
      expect(await status({ host }), host).to.equal(200);
    }
  });

  it('do not open it where they say in any of the usual headers that they are there', async () => {
    const names = [
      'Forwarded',
      'X-Forwarded-For',
      'X-Forwarded-Proto',
      'X-Forwarded-Host',
      'Via',
      'X-Real-IP',
      'CF-Connecting-IP',
      'X-Envoy-External-Address',
      'x-envoy-decorator-operation',
    ];
    for (const name of names) expect(await status({ host: 'localhost', [name]: 'x' }), name).to.equal(403);
  });

  it('reach metrics by any name where it is bound to a network, also on a loopback address', async () => {
    expect(await status({ host: 'shop.namespace.svc:9464' }, '/metrics')).to.equal(200);
    expect(await status({ host: 'shop.namespace.svc:9464' })).to.equal(421);
  });
});

describe('hostile clients of the console', () => {
  let server: ConsoleServer;
  let registry: CircuitBreakerRegistry;
  let runtime: Runtime;
  const sockets = new Set<Socket>();

  async function start(adminToken?: string, patience?: number): Promise<void> {
    registry = new CircuitBreakerRegistry();
    runtime = createRuntime(registry, readEnvironment({}));
    registry.getOrCreate('payments');
    server = await startConsole({
      host: '127.0.0.1',
      port: 0,
      reach: 'local',
      hosts: [],
      metrics: (_, response) => response.end('metrics'),
      open: () =>
        createConsole({
          service: 'shop',
          adminToken,
          ...runtime.console,
          attachedClients: runtime.attachedClients,
        }),
      health: () => new HealthAnswers('any_open', runtime),
      ...(patience !== undefined && { patience }),
    });
  }

  afterEach(async () => {
    for (const socket of sockets) socket.destroy();
    sockets.clear();
    await server.close();
    await runtime.stop();
  });

  function open(text = ''): Socket {
    const socket = connect(Number(new URL(server.url).port), '127.0.0.1').on('error', () => {});
    sockets.add(socket);
    if (text !== '') socket.write(text, 'latin1');
    return socket;
  }

  /** Everything that is answered to some bytes, until the connection ends. */
  async function answersTo(text: string): Promise<string> {
    const socket = open(text);
    let answers = '';
    socket.setEncoding('latin1').on('data', (some: string) => (answers += some));
    await once(socket, 'close');
    return answers;
  }

  async function status(method: string, path: string, headers: Record<string, string> = {}): Promise<number> {
    const all = { host: 'localhost', connection: 'close', ...headers };
    const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}`);
    const answer = await answersTo([`${method} ${path} HTTP/1.1`, ...lines, '', ''].join('\r\n'));
    return Number(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1]);
  }

  it('cannot hold connections by saying nothing, speaking slowly or never ending', async () => {
    await start(TOKEN, 200);
    const post = 'POST /breakers/payments/open HTTP/1.1\r\nHost: localhost\r\n';
    const slow: Record<string, [beginning: string, then: string]> = {
      nothing: ['', ''],
      'half a line': ['GET /met', ''],
      'a header at a time': ['GET / HTTP/1.1\r\n', 'x: y\r\n'],
      'a body at a time': [`${post}Content-Length: 1000000\r\n\r\n`, 'x'],
      'a body that never comes': [`${post}Content-Length: 1000000\r\n\r\n`, ''],
      'a body without an end': [`${post}Transfer-Encoding: chunked\r\n\r\n`, `10000\r\n${'x'.repeat(0x10000)}\r\n`],
      'a connection kept after its answer': ['GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n', ''],
    };
    await Promise.all(
      Object.values(slow).map(async ([beginning, then]) => {
        const socket = open(beginning);
        socket.resume();
        const timer = setInterval(() => then !== '' && socket.writable && socket.write(then), 20);
        await once(socket, 'close');
        clearInterval(timer);
      }),
    );
    expect(await status('GET', '/healthz')).to.equal(200);
    expect(registry.get('payments')!.state).to.equal('closed');
  });

  it('cannot have more than a hundred connections', async () => {
    await start();
    const wanted = Array.from({ length: 300 }, () => open());
    const closed = wanted.map((socket) => once(socket.resume(), 'close'));
    await Promise.all(wanted.map((socket) => once(socket, 'connect')));
    let refused = 0;
    for (const one of closed) void one.then(() => refused++);
    while (refused < 200) await new Promise((resolve) => setImmediate(resolve));
    for (const socket of wanted) socket.destroy();
    await Promise.all(closed);
    // As soon as the server has seen that they are gone.
    while ((await status('GET', '/healthz')) !== 200);
  });

  it('get nothing for what is no HTTP, and do no harm by it', async () => {
    await start(TOKEN);
    const end = 'Connection: close\r\n\r\n';
    const texts = [
      'GARBAGE\r\n\r\n',
      '\0\0\0\0\r\n\r\n',
      '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n',
      'GET / HTTP/9.9\r\n\r\n',
      'GET /\r\n\r\n',
      `GET / HTTP/1.1\r\n${end}`,
      `GET / HTTP/1.1\r\nHost: localhost\r\nx: ${'y'.repeat(100_000)}\r\n${end}`,
      `GET / HTTP/1.1\r\nHost: localhost\r\n${'x: y\r\n'.repeat(20_000)}${end}`,
      `GET /${'a'.repeat(100_000)} HTTP/1.1\r\nHost: localhost\r\n${end}`,
      `GET / HTTP/1.1\r\nHost: localhost\r\nx\r\n y\0z: 1\r\n${end}`,
      `POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n${end}0\r\n\r\nGET /`,
      `POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n${end}`,
      `POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n${end}`,
      `POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n${end}zz\r\n`,
      `CONNECT payments:443 HTTP/1.1\r\nHost: localhost\r\n${end}`,
      `OPTIONS * HTTP/1.1\r\nHost: localhost\r\n${end}`,
      `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n`,
      `TRACE / HTTP/1.1\r\nHost: localhost\r\n${end}`,
      `GET http://evil.example/breakers HTTP/1.1\r\nHost: localhost\r\n${end}`,
      `GET //evil.example/breakers HTTP/1.1\r\nHost: localhost\r\n${end}`,
      `GET /breakers/%E0%A4%A HTTP/1.1\r\nHost: localhost\r\n${end}`,
      `GET /breakers HTTP/1.1\r\nHost: evil.example\r\nHost: localhost\r\n${end}`,
    ];
    for (const text of texts) {
      const answer = await answersTo(text);
      expect(answer, text.slice(0, 100)).to.match(/^$|^HTTP\/1\.1 4\d\d /);
      expect(answer).not.to.contain('payments');
    }
    expect(await status('GET', '/healthz')).to.equal(200);
  });

  it('cannot smuggle, upgrade or pipeline their way to a change', async () => {
    await start(TOKEN);
    const change = 'POST /breakers/payments/open HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n';
    const answers = await answersTo(`${'GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(500)}${change}`);
    // The second ends the connection, with what was answered before or without.
    expect(answers.match(/HTTP\/1\.1/g)?.length ?? 0).to.be.at.most(2);
    expect(answers).not.to.contain('401');
    const upgrade = 'GET /events HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n';
    const socket = open(upgrade);
    const [first] = (await once(socket, 'data')) as [Buffer];
    expect(String(first)).not.to.match(/^HTTP\/1\.1 101/);
    expect(registry.get('payments')!.state).to.equal('closed');
  });

  it('of other sites, or without the token, change nothing', async () => {
    await start(TOKEN);
    const right = { authorization: `Bearer ${TOKEN}` };
    const refused: [headers: Record<string, string>, status: number][] = [
      [{}, 401],
      [{ authorization: `Basic ${Buffer.from(TOKEN).toString('base64')}` }, 401],
      [{ authorization: `Bearer ${TOKEN}x` }, 401],
      [{ authorization: `Bearer ${TOKEN.slice(0, -1)}` }, 401],
      [{ authorization: `Bearer ${' '.repeat(8_000)}` }, 401],
      [{ authorization: `Bearer ${'a '.repeat(4_000)}` }, 401],
      [{ cookie: `token=${TOKEN}`, 'x-token': TOKEN }, 401],
      [{ ...right, origin: 'http://evil.example' }, 403],
      [{ ...right, origin: 'null' }, 403],
      [{ ...right, origin: 'http://localhost.evil.example' }, 403],
      [{ ...right, 'sec-fetch-site': 'cross-site' }, 403],
      [{ ...right, 'sec-fetch-site': 'same-site' }, 403],
      // A name that was given the address 127.0.0.1, asking as itself.
      [{ ...right, host: 'evil.example', origin: 'http://evil.example', 'sec-fetch-site': 'same-origin' }, 421],
      [{ ...right, host: 'localhost.evil.example' }, 421],
      [{ ...right, host: '127.0.0.1.evil.example' }, 421],
      [{ ...right, host: 'localhost@evil.example' }, 421],
      [{ ...right, 'x-forwarded-for': '127.0.0.1' }, 403],
    ];
    for (const action of ['open', 'reset', 'observe', 'enforce']) {
      for (const [headers, expected] of refused) {
        const context = `${action} ${JSON.stringify(headers).slice(0, 100)}`;
        const answered = await status('POST', `/breakers/payments/${action}`, headers);
        // After ten wrong ones.
        expect(answered === 429 ? 401 : answered, context).to.equal(expected);
      }
      for (const method of ['GET', 'PUT', 'PATCH', 'DELETE']) {
        expect(await status(method, `/breakers/payments/${action}`, right)).to.be.oneOf([404, 405]);
      }
    }
    const { state, config } = registry.get('payments')!;
    expect([state, config.mode]).to.deep.equal(['closed', 'enforce']);
    expect(await status('POST', '/breakers/payments/open', right)).to.equal(200);
  });

  it('with wrong tokens write one line a second at most, and are told to wait, but for the right one', async function () {
    await start(TOKEN);
    const agent = new Agent({ keepAlive: true, maxSockets: 10 });
    const act = (token: string) =>
      new Promise<number>((resolve, reject) => {
        const { port } = new URL(server.url);
        const headers = { authorization: `Bearer ${token}` };
        request({ port, path: '/breakers/payments/open', method: 'POST', headers, agent }, (response) => {
          response.resume().on('end', () => resolve(response.statusCode!));
        })
          .on('error', reject)
          .end();
      });
    const lines: string[] = [];
    printWithoutDiag({});
    const began = performance.now();
    process.stderr.write = (chunk: string | Uint8Array) => lines.push(String(chunk)) > 0;
    try {
      const statuses = await Promise.all(Array.from({ length: 3_000 }, (_, index) => act(`wrong-${index}`)));
      expect(statuses.filter((status) => status === 401)).to.have.length(10);
      expect(statuses.filter((status) => status === 429)).to.have.length(2_990);
      expect(await act(TOKEN)).to.equal(200);
      await wait(1_100);
    } finally {
      Reflect.deleteProperty(process.stderr, 'write');
      printWithoutDiag({ OTEL_LOG_LEVEL: 'none' });
      agent.destroy();
    }
    const about = lines.filter((line) => line.includes('token'));
    const seconds = (performance.now() - began) / 1_000;
    expect(about.length).to.be.within(2, Math.ceil(seconds) + 1);
    const told = about.map((line) => Number(/\((\d+) times within a second\)/.exec(line)?.[1] ?? 1));
    // And those of the test before, of which no more were told.
    expect(told.reduce((sum, times) => sum + times)).to.be.within(3_000, 3_100);
    measured(this, `3,000 wrong tokens: ${about.length} lines`);
  });

  it('find no way to change anything where there is no token, not even an empty one', async () => {
    await start();
    for (const authorization of ['', 'Bearer ', 'Bearer undefined', 'Bearer null', `Bearer ${TOKEN}`]) {
      expect(await status('POST', '/breakers/payments/open', { authorization })).to.equal(404);
    }
    expect(registry.get('payments')!.state).to.equal('closed');
  });

  it('find no way out of the folder of the page', async () => {
    await start();
    const dots = ['..', '%2e%2e', '.%2e', '..%00', '%252e%252e', '..;', '....', '%c0%ae%c0%ae'];
    const slashes = ['/', '%2f', '\\', '%5c', '//', '%252f', '%c0%af'];
    for (const dot of dots) {
      for (const slash of slashes) {
        for (const depth of [1, 2, 6]) {
          for (const file of ['package.json', 'etc/passwd', 'schema.json']) {
            for (const root of ['/page/', '/', '/page/main.js/']) {
              const path = root + `${dot}${slash}`.repeat(depth) + file;
              const answer = await answersTo(`GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
              expect(answer, path).to.match(/^HTTP\/1\.1 40[04] /);
            }
          }
        }
      }
    }
  });
});
