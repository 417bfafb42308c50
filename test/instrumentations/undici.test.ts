import { COPIES, dispatchersOf, globalFetch, waysOf, type UndiciDispatcher, type Way } from '../support/undici-ways.js';
import { expect } from 'chai';
import { UndiciBreakerInstrumentation } from '../../instrumentations/undici/undici-instrumentation.js';
import { counts, TestGuard } from '../support/guarded.js';
import { serve, type Upstream } from '../support/servers.js';

describe('UndiciBreakerInstrumentation: ways in', () => {
  let guard: TestGuard;
  let instrumentation: UndiciBreakerInstrumentation;
  let server: Upstream;

  before(async () => {
    server = await serve((_req, res) => res.end('hello'));
  });
  after(() => server.stop());

  beforeEach(() => {
    guard = new TestGuard();
    instrumentation = new UndiciBreakerInstrumentation({}, guard);
  });
  afterEach(() => instrumentation.disable());

  async function countsOnce(way: Way, dispatcher?: UndiciDispatcher): Promise<void> {
    expect(await way(server.origin, dispatcher)).to.equal(200);
    expect(guard.calls(server.origin)).to.deep.equal(counts({ success: 1 }));
    const connections = server.connections();
    guard.breaker(server.origin).forceOpen();

    const error = await way(server.origin, dispatcher).then(
      (status) => expect.fail(`answered ${status}`),
      (reason: unknown) => reason as Error,
    );

    const rejection = error.message === 'fetch failed' ? (error.cause as Error) : error;
    expect(rejection).to.include({ code: 'ERR_CIRCUIT_OPEN', breaker: server.origin });
    expect(guard.calls(server.origin)).to.deep.equal(counts({ success: 1, rejected: 1 }));
    expect(server.connections()).to.equal(connections);
    expect(guard.breakers.listNames()).to.deep.equal([server.origin]);
  }

  for (const [name, undici] of Object.entries(COPIES)) {
    for (const [kind, way] of Object.entries(waysOf(undici))) {
      it(`${name}: ${kind} is one call`, () => countsOnce(way));

      for (const [dispatcherName, make] of Object.entries(dispatchersOf(undici))) {
        it(`${name}: ${kind} through ${dispatcherName} is one call`, async () => {
          const dispatcher = make(server.origin);
          await countsOnce(way, dispatcher);
          await dispatcher.close();
        });
      }
    }
    for (const [dispatcherName, make] of Object.entries(dispatchersOf(undici))) {
      it(`${name}: global fetch through ${dispatcherName} is one call`, async () => {
        const dispatcher = make(server.origin);
        await countsOnce(globalFetch, dispatcher);
        await dispatcher.close();
      });
    }
  }
  it('global fetch is one call', () => countsOnce(globalFetch));
});
