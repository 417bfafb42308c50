import { MeterProvider } from '@opentelemetry/sdk-metrics';
import { registerInstrumentations } from '@opentelemetry/instrumentation';
import { expect } from 'chai';
import { readFileSync } from 'node:fs';
import net, { type AddressInfo, type Socket } from 'node:net';
import { join } from 'node:path';
import { CircuitOpenError } from '../../src/guard/guard.js';
import { ToyAttachment } from '../fixtures/toy-client/toy-attachment.js';
import { ToyClient, ToyError } from '../fixtures/toy-client/index.js';
import { ToyBreakerInstrumentation } from '../fixtures/toy-client/toy-instrumentation.js';
import { ROOT } from '../support/child.js';
import { captureDiagnostics, releaseDiagnostics } from '../support/diagnostics.js';
import { counts, TestGuard } from '../support/guarded.js';
import { rejectionOf } from '../support/listen.js';
import { Document } from './documents.js';

const PAGE = 'docs/adding-a-client.md';

/** Files that the page shows, where each would be, and the files of this test that they are. */
const SHOWN: Readonly<Record<string, string>> = {
  'node_modules/toy-client/index.js': 'index.js',
  'src/outcomes/toy.ts': 'toy-outcomes.ts',
  'instrumentations/toy-client/toy-attachment.ts': 'toy-attachment.ts',
  'instrumentations/toy-client/toy-instrumentation.ts': 'toy-instrumentation.ts',
};
const SHOWN_TEST = 'test/instrumentations/toy-client.test.ts';

/** A file of this test with the imports that it would have in the place where the page shows it. */
function inItsPlace(place: string, source: string): string {
  const isOutcomes = place.startsWith('src/outcomes/');
  return source
    .replaceAll("'../../../src/outcomes/", isOutcomes ? "'./" : "'../../src/outcomes/")
    .replaceAll("'../../../src/", isOutcomes ? "'../" : "'../../src/")
    .replaceAll("'../../../instrumentations/", "'../")
    .replaceAll("'./toy-outcomes.js'", "'../../src/outcomes/toy.js'");
}

/** As it reads, however its lines are broken: shorter paths leave more room. */
const withoutSpace = (code: string) =>
  code
    .replaceAll(/\s+/g, ' ')
    .replaceAll(/,? ([}\])])/g, ' $1')
    .trim();

describe(PAGE, () => {
  const { fences } = new Document(PAGE);
  const shown = (role: string) => fences.filter((fence) => fence.role === role).map(({ content }) => content);

  for (const [place, file] of Object.entries(SHOWN)) {
    it(`shows ${place} as it is tried here`, () => {
      const source = readFileSync(join(ROOT, 'test/fixtures/toy-client', file), 'utf8');
      expect(shown(place).map(withoutSpace)).to.deep.equal([withoutSpace(inItsPlace(place, source))]);
    });
  }

  it('shows tests that are among these', () => {
    const tests = withoutSpace(readFileSync(__filename, 'utf8'));
    const [block] = shown(SHOWN_TEST);
    expect(tests).to.include(withoutSpace(block!));
  });

  it('shows no other file', () => {
    const roles = fences.map(({ role }) => role).filter((role) => role !== '');
    expect(roles).to.have.members([...Object.keys(SHOWN), SHOWN_TEST]);
  });
});

describe('a client that is added by that page', () => {
  let guard: TestGuard;
  let attachment: ToyAttachment;
  let store: net.Server;
  let client: ToyClient;
  let questions: string[];
  let answer: (question: string, socket: Socket) => void;

  beforeEach(async () => {
    guard = new TestGuard({ failureThreshold: 2 });
    attachment = new ToyAttachment(guard);
    attachment.attach();
    questions = [];
    answer = (_, socket) => void socket.write('VALUE 1\n');
    store = net.createServer((socket) => {
      socket.on('error', () => undefined);
      socket.once('data', (line) => {
        questions.push(line.toString().trim());
        answer(line.toString().trim(), socket);
      });
    });
    await new Promise<void>((ready) => store.listen(0, '127.0.0.1', ready));
    client = new ToyClient({ host: '127.0.0.1', port: (store.address() as AddressInfo).port });
  });
  afterEach((done) => {
    attachment.detach();
    releaseDiagnostics();
    store.close(done);
  });

  const busy = (_: string, socket: Socket) => void socket.write('ERROR BUSY\n');

  it('counts a question that is answered', async () => {
    expect(await client.get('a')).to.equal('1');
    expect(guard.only.stats().calls).to.deep.equal(counts({ success: 1 }));
  });

  it('opens by its failures, and then asks no question', async () => {
    answer = busy;
    for (let i = 0; i < 2; i++) expect(await rejectionOf(client.get('a'))).to.be.instanceOf(ToyError);

    expect(await rejectionOf(client.get('a'))).to.be.instanceOf(CircuitOpenError);
    expect(questions).to.have.length(2);
    expect(guard.only.stats().calls).to.deep.equal(counts({ failure: 2, rejected: 1 }));
  });

  it('is rejected after the event loop has turned', async () => {
    answer = busy;
    for (let i = 0; i < 2; i++) await rejectionOf(client.get('a'));

    const order: string[] = [];
    const rejected = rejectionOf(client.get('a')).then(() => order.push('rejected'));
    await Promise.resolve();
    process.nextTick(() => order.push('tick'));
    await rejected;
    expect(order).to.deep.equal(['tick', 'rejected']);
  });

  it('may say goodbye while the circuit is open', async () => {
    answer = busy;
    for (let i = 0; i < 2; i++) await rejectionOf(client.get('a'));

    answer = (_, socket) => void socket.write('VALUE bye\n');
    expect(await client.quit()).to.equal('bye');
    expect(guard.only.stats().calls).to.deep.equal(counts({ success: 1, failure: 2 }));
  });

  it('takes an error that is an answer for a success', async () => {
    answer = (_, socket) => void socket.write('ERROR NOSUCHKEY\n');
    expect(await rejectionOf(client.get('a'))).to.have.property('message', 'NOSUCHKEY');
    expect(guard.only.stats().calls).to.deep.equal(counts({ success: 1 }));
  });

  it('fails where the store cannot be reached', async () => {
    await new Promise((closed) => store.close(closed));
    expect(await rejectionOf(client.get('a'))).to.have.property('code', 'ECONNREFUSED');
    expect(guard.only.stats().calls).to.deep.equal(counts({ failure: 1 }));
    await new Promise<void>((ready) => store.listen(0, '127.0.0.1', ready));
  });

  it('fails where the store does not answer in time', async () => {
    answer = (_, socket) => void socket.setTimeout(1_000, () => socket.destroy());
    const hasty = new ToyClient({ host: '127.0.0.1', port: (store.address() as AddressInfo).port, timeout: 20 });
    expect(await rejectionOf(hasty.get('a'))).to.have.property('code', 'ETIMEDOUT');
    expect(guard.only.stats().calls).to.deep.equal(counts({ failure: 1 }));
  });

  it('ends a question that its caller gives up', async () => {
    answer = (_, socket) => {
      abort.abort();
      socket.destroy();
    };
    const abort = new AbortController();
    const error = await rejectionOf(client.get('a', { signal: abort.signal }));
    expect(error).to.equal(abort.signal.reason);
    expect(guard.only.stats().calls).to.deep.equal(counts({ ignored: 1 }));
  });

  it('ends a question that could not be asked', () => {
    const wrong = new ToyClient({ host: '127.0.0.1', port: 70_000 });
    expect(() => wrong.get('a')).to.throw(RangeError);
    expect(guard.only.stats().calls).to.deep.equal(counts({ ignored: 1 }));
  });

  it('is not hurt by a fault of ours', async () => {
    captureDiagnostics();
    attachment.callSpan = () => {
      throw new Error('a fault of ours');
    };
    expect(await client.get('a')).to.equal('1');
    expect([...guard.breakers]).to.deep.equal([]);
  });

  it('is as it was once we have left', async () => {
    attachment.detach();
    const { ask } = ToyClient.prototype;
    attachment.attach();
    expect(ToyClient.prototype.ask).not.to.equal(ask);
    expect([ToyClient.prototype.ask.name, ToyClient.prototype.ask.length]).to.deep.equal(['ask', 1]);
    attachment.detach();
    expect(ToyClient.prototype.ask).to.equal(ask);
  });

  it('has a face for OpenTelemetry', async () => {
    attachment.detach();
    const instrumentation = new ToyBreakerInstrumentation({ enabled: false }, guard);
    const unregister = registerInstrumentations({
      instrumentations: [instrumentation],
      meterProvider: new MeterProvider(),
    });
    await client.get('a');
    unregister();
    await client.get('a');
    expect(guard.only.stats().calls).to.deep.equal(counts({ success: 1 }));
  });
});
