import { expect } from 'chai';
import { join } from 'node:path';
import { runTop } from '../../src/console/top.js';
import type { BreakerDetail, BreakerView, Snapshot, Tick } from '../../src/console/api.js';
import { METRICS_ADDRESS, startApp, stopApps, type App } from '../support/app.js';
import { PRELOAD } from '../support/child.js';
import { findDeadPort } from '../support/servers.js';

const TOKEN = 'a-token-of-the-tests';

/** Calls a dead target until its circuit is open: in two workers of a cluster, and in a thread of the second. */
const CLUSTER = join(__dirname, '../fixtures/workers/failing-cluster.cjs');

/** A service with a metrics provider of its own, which calls once. */
const WITH_SDK = {
  kind: 'commonjs',
  source: `
  const { metrics } = require('@opentelemetry/api');
  const { MeterProvider } = require('@opentelemetry/sdk-metrics');
  metrics.setGlobalMeterProvider(new MeterProvider());
  require('node:http').get(process.env.TARGET).on('error', () => {});
  setInterval(() => {}, 1000);
`,
} as const;

describe('console of several workers', function () {
  this.timeout(60_000);
  let target: string;
  before(async () => (target = `http://127.0.0.1:${await findDeadPort()}`));
  afterEach(stopApps);

  function start(program: Parameters<typeof startApp>[0]['program'], env: NodeJS.ProcessEnv = {}): App {
    const all = { TARGET: target, OTEL_BREAKER_ADMIN_TOKEN: TOKEN, ...env };
    return startApp({ nodeArgs: PRELOAD, program, env: all, ipc: true });
  }

  const see = async <T>(url: string): Promise<T> => (await (await fetch(url)).json()) as T;
  const act = (url: string) => fetch(url, { method: 'POST', headers: { authorization: `Bearer ${TOKEN}` } });

  it('shows the breakers of each, and changes them in all of them or in one', async () => {
    const app = start(CLUSTER);
    const page = new URL('/', (await app.prints('stderr', METRICS_ADDRESS))[1]).href;
    const breakers = async () => (await see<{ breakers: BreakerView[] }>(`${page}breakers`)).breakers;
    const states = async (): Promise<Record<string, string>> =>
      Object.fromEntries<string>((await breakers()).map(({ worker, state }) => [String(worker), state]));
    const everywhere = (state: string) => ({ 1: state, 2: state, '2-thread-1': state });
    await until(async () => expect(await states()).to.deep.equal(everywhere('open')));
    expect(new Set((await breakers()).map(({ name }) => name))).to.deep.equal(new Set([target]));

    const at = `${page}breakers/${encodeURIComponent(target)}`;
    const detail = await see<BreakerDetail>(`${at}?worker=2-thread-1`);
    expect(detail.worker).to.equal('2-thread-1');
    expect(detail.transitions[0]).to.include({
      worker: '2-thread-1',
      to: 'open',
      reason: '5 consecutive failures (threshold 5)',
    });
    expect(detail.options).not.to.be.empty;
    expect((await fetch(`${at}?worker=7`)).status).to.equal(404);

    // Events, as the page and top read them.
    const seen = new Seen(page);
    await until(async () => expect(Object.values(seen.states).sort()).to.deep.equal(['open', 'open', 'open']));
    expect(new Set(seen.transitions.map(({ worker }) => worker))).to.include.members(['1', '2', '2-thread-1']);
    let printed = '';
    expect(await runTop(page, { write: (text: string) => (printed += text) }, { filter: 'worker 2' })).to.equal(0);
    expect(printed)
      .to.include('is open in 3 of 3 workers')
      .and.to.match(/\(worker 2-thread-1\) +▲ open/);
    expect(printed.split('Also')[0]).not.to.include('(worker 1)');

    const { workers } = (await (await act(`${at}/reset`)).json()) as { workers: string[] };
    expect(workers).to.have.members(['1', '2', '2-thread-1']);
    expect(await states()).to.deep.equal(everywhere('closed'));
    await act(`${at}/open?worker=2&reason=they%20asked`);
    expect(await states()).to.deep.equal({ ...everywhere('closed'), 2: 'open' });
    await until(async () =>
      expect(seen.transitions.map(({ worker, reason }) => [worker, reason])).to.deep.include([
        '2',
        'opened by hand: they asked',
      ]),
    );

    app.child.send('kill the first');
    await until(async () => expect(await states()).to.have.all.keys('2', '2-thread-1'));
    await until(async () => expect(Object.keys(seen.states)).to.have.length(2));
    seen.close();
  });

  it('is at its own port beside an SDK, without metrics', async () => {
    const app = start(WITH_SDK, { OTEL_BREAKER_CONSOLE_PORT: '0' });
    const page = (await app.prints('stderr', /console at (http:\S+\/)$/m))[1]!;
    await until(async () => {
      const { breakers } = await see<{ breakers: BreakerView[] }>(`${page}breakers`);
      expect(breakers.map(({ name, calls }) => [name, calls.failure])).to.deep.equal([[target, 1]]);
    });
    expect((await fetch(`${page}healthz`)).status).to.equal(200);
    expect((await fetch(`${page}metrics`)).status).to.equal(404);
    expect(app.output.stderr).not.to.match(METRICS_ADDRESS);
  });

  it('is apart from the metrics where it has a port of its own', async () => {
    const app = start(CLUSTER, { OTEL_BREAKER_CONSOLE_PORT: '0' });
    const [page, metrics] = await Promise.all([
      app.prints('stderr', /console at (http:\S+\/)$/m),
      app.prints('stderr', METRICS_ADDRESS),
    ]);
    await until(async () => {
      const { breakers } = await see<{ breakers: BreakerView[] }>(`${page[1]}breakers`);
      expect(breakers).to.have.length(3);
    });
    expect((await fetch(new URL('/metrics', metrics[1]))).status).to.equal(200);
    for (const [path, status] of [
      ['/healthz', [200, 503]],
      ['/', [404]],
      ['/breakers', [404]],
    ] as const) {
      expect(status, path).to.include((await fetch(new URL(path, metrics[1]))).status);
    }
    // One console for all: no worker has opened another one.
    expect(app.output.stderr.match(/console at/g)).to.have.length(1);
  });
});

/** Tries again until it holds. */
async function until(holds: () => Promise<unknown>): Promise<void> {
  for (;;) {
    try {
      await holds();
      return;
    } catch (error) {
      if (!(error instanceof Error) || error.name !== 'AssertionError') throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

/** What events have told so far. */
class Seen {
  readonly states: Record<number, string> = {};
  readonly transitions: Tick['transitions'][number][] = [];
  readonly #ended = new AbortController();

  constructor(page: string) {
    void this.#read(page).catch(() => {});
  }

  close(): void {
    this.#ended.abort();
  }

  async #read(page: string): Promise<void> {
    const answer = await fetch(`${page}events`, { signal: this.#ended.signal });
    let text = '';
    for await (const chunk of answer.body!.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      const blocks = text.split('\n\n');
      text = blocks.pop()!;
      for (const block of blocks) {
        const data = /^data: (.*)$/m.exec(block)?.[1];
        if (data !== undefined) this.#take(JSON.parse(data) as Snapshot | Tick);
      }
    }
  }

  #take({ changed, removed, transitions }: Snapshot | Tick): void {
    for (const [id, { state }] of changed) if (state !== undefined) this.states[id] = state;
    for (const id of removed) delete this.states[id];
    this.transitions.push(...transitions);
  }
}
