import { expect } from 'chai';
import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { runTop } from '../../src/console/top.js';
import { lose, openCircuit, succeed } from '../support/breakers.js';
import { target } from '../support/targets.js';
import { startService, type Service } from './service.js';

/** A terminal that keeps the screen it was last told to show. */
class Screen extends PassThrough {
  readonly isTTY = true;
  readonly columns = 120;
  readonly rows = 12;
  all = '';

  override write(text: string): boolean {
    this.all += text;
    this.emit('drawn', text);
    return true;
  }

  /** Waits for a screen that shows this. */
  async shows(pattern: RegExp): Promise<string> {
    for (;;) {
      const [text] = (await once(this, 'drawn')) as [string];
      if (pattern.test(text)) return text;
    }
  }
}

describe('otel-breaker top', () => {
  let service: Service;
  let printed: string;
  const output = { write: (text: string) => (printed += text) };
  beforeEach(() => {
    printed = '';
  });
  afterEach(() => service?.stop());

  it('writes the list once where there is no terminal', async () => {
    service = await startService();
    openCircuit(service.breaker('https://payments.example.com'));
    succeed(service.breaker('redis://cache:6379', { mode: 'observe' }));
    expect(await runTop(service.url, output)).to.equal(0);
    expect(printed).to.match(/1 open, 0 half-open, 1 closed/);
    expect(printed).to.match(/^https:\/\/payments\.example\.com +▲ open +in \d+ s +100 %/m);
    expect(printed).to.match(/^redis:\/\/cache:6379 \(observe\) +● closed/m);
    expect(printed).to.include('5 consecutive failures (threshold 5)');
    expect(printed).not.to.include('\x1b');
  });

  it('says why nothing is rejected where most circuits are open', async () => {
    service = await startService();
    for (const url of ['http://a', 'http://b', 'redis://c', 'postgresql://d']) {
      const breaker = service.runtime.guard.breakerOf(target(url));
      succeed(breaker);
      lose(breaker);
    }
    expect(await runTop(service.url, output)).to.equal(0);
    expect(printed).to.match(
      /^panic, no call is rejected: 4 of 4 unrelated targets became unreachable within 10 s \(threshold 50 %\)$/m,
    );
  });

  it('says that circuits decide by themselves where their fleet cannot be reached', async () => {
    service = await startService();
    service.runtime.rules.configure({ fleet: { url: 'redis://127.0.0.1:1', namespace: 'shop', mode: 'enforce' } });
    service.runtime.joinFleet();
    service.breaker('payments', { fleet: true });
    service.breaker('own');
    expect(await runTop(service.url, output)).to.equal(0);
    expect(printed).to.match(/^The fleet is not reached: one circuit decides by itself\.$/m);
  });

  it('takes a port or host:port for an address', async () => {
    service = await startService();
    const { port } = new URL(service.url);
    for (const address of [port, `127.0.0.1:${port}`, `localhost:${port}`]) {
      expect(await runTop(address, output), address).to.equal(0);
    }
    expect(await runTop('http://[', output)).to.equal(1);
    expect(printed).to.include('is no address');
  });

  it('says when nothing answers', async () => {
    service = await startService();
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    server.close();
    expect(await runTop(String(port), output)).to.equal(1);
    expect(printed).to.match(/does not answer: .*ECONNREFUSED/);
  });

  it('follows what happens in a terminal, and leaves it as it was', async () => {
    service = await startService();
    const breaker = service.breaker('https://payments.example.com');
    const screen = new Screen();
    const end = new AbortController();
    const before = screen.shows(/● closed/);
    const running = runTop(service.url, screen, { signal: end.signal });
    await before;
    const after = screen.shows(/▲ open/);
    openCircuit(breaker);
    expect(await after).to.include('\x1b[31;1m');
    end.abort();
    expect(await running).to.equal(0);
    expect(screen.all.startsWith('\x1b[?1049h')).to.be.true;
    expect(screen.all.endsWith('\x1b[?1049l')).to.be.true;
  });

  it('waits for a process that is gone', async () => {
    service = await startService();
    service.breaker('before');
    const { port } = new URL(service.url);
    const screen = new Screen();
    const end = new AbortController();
    const first = screen.shows(/before/);
    const running = runTop(port, screen, { signal: end.signal });
    await first;
    const lost = screen.shows(/retrying/);
    await service.stop();
    await lost;
    const back = screen.shows(/another/);
    service = await startService({ OTEL_EXPORTER_PROMETHEUS_PORT: port });
    service.breaker('another');
    await back;
    end.abort();
    expect(await running).to.equal(0);
  });

  it('shows no more lines than there is room for, the open circuits among them', async () => {
    service = await startService();
    for (let index = 0; index < 50; index++) service.breaker(`service-${index}`);
    openCircuit(service.breaker('the last one'));
    const screen = new Screen();
    const end = new AbortController();
    const drawn = screen.shows(/more/);
    const running = runTop(service.url, screen, { signal: end.signal });
    const text = await drawn;
    expect(text.split('\n').length).to.be.at.most(screen.rows);
    expect(text)
      .to.match(/the last one +▲ open/)
      .and.to.match(/… and 4\d more/);
    end.abort();
    await running;
  });

  it('lets no name give orders to the terminal', async () => {
    service = await startService();
    service.breaker('a\x1b]0;owned\x07b\r\nc\u202ed');
    await runTop(service.url, output);
    expect(printed).to.include('a�]0;owned�b��c�d');
  });
});
