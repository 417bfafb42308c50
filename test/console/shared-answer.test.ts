import { expect } from 'chai';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { sendShared } from '../../src/console/respond.js';
import { jsonList, MAX_ANSWER_BYTES, SharedAnswer, type Pieces } from '../../src/console/shared-answer.js';
import { printWithoutDiag } from '../../src/telemetry/log.js';

describe('an answer that takes long to make', () => {
  function* slowly(steps: number): Pieces {
    for (let step = 0; step < steps; step++) {
      const until = performance.now() + 2;
      while (performance.now() < until);
      yield step;
    }
    return [Buffer.from('a'), Buffer.from('b')];
  }

  it('is made once for all who ask while it is made', async () => {
    let made = 0;
    const answer = new SharedAnswer(() => (made++, slowly(10)));
    const all = await Promise.all([answer.bytes(), answer.bytes(), answer.bytes()]);
    expect(made).to.equal(1);
    for (const bytes of all) expect(bytes).to.equal(all[0]);
    expect(String(await answer.bytes())).to.equal('ab');
    expect(made).to.equal(2);
  });

  it('gives the event loop back while it is made', async () => {
    let turns = 0;
    const counting = setInterval(() => turns++, 0);
    await new SharedAnswer(() => slowly(30)).bytes();
    clearInterval(counting);
    expect(turns).to.be.greaterThan(5);
  });

  it('has a bound on its size, and goes to nobody who waits where it cannot be made', async () => {
    const endless = function* (): Pieces {
      for (let bytes = 0; ; bytes += 1e6) yield bytes;
    };
    const answer = new SharedAnswer(endless);
    const results = await Promise.allSettled([answer.bytes(), answer.bytes()]);
    for (const result of results) {
      expect(String((result as PromiseRejectedResult).reason)).to.contain(`more than ${MAX_ANSWER_BYTES} bytes`);
    }
  });

  it('is a list as JSON.stringify writes it', async () => {
    const lists: unknown[][] = [[], [1], [{ a: [1, { b: 'x\n' }] }, 'y']];
    for (const items of lists) {
      for (const head of [{}, { now: 'x', open: 0 }]) {
        const bytes = await new SharedAnswer(() => jsonList(head, 'items', items, (item) => item)).bytes();
        expect(JSON.parse(String(bytes))).to.deep.equal({ ...head, items });
      }
    }
  });

  describe('at the port', () => {
    let server: Server;
    beforeEach(() => printWithoutDiag({}));
    afterEach(() => {
      printWithoutDiag({ OTEL_LOG_LEVEL: 'none' });
      server.close();
    });

    it('is a 500 and one line in the log where it cannot be made', async () => {
      const answer = new SharedAnswer(() => Promise.reject(new Error('no numbers')));
      server = createServer((_, response) => sendShared(response, 'The page', 'text/plain', answer)).listen(0);
      const { port } = server.address() as AddressInfo;
      let statuses: number[] = [];
      const written = await stderrWhile(async () => {
        statuses = await Promise.all(
          Array.from({ length: 20 }, async () => (await fetch(`http://127.0.0.1:${port}/`)).status),
        );
      });
      expect(statuses).to.deep.equal(Array(20).fill(500));
      expect(written.match(/The page could not be written: no numbers/g)).to.have.length(1);
    });
  });
});

/** What is written to stderr meanwhile; nothing of it is seen. */
async function stderrWhile(act: () => Promise<void>): Promise<string> {
  let text = '';
  process.stderr.write = (chunk: string | Uint8Array) => {
    text += String(chunk);
    return true;
  };
  try {
    await act();
  } finally {
    Reflect.deleteProperty(process.stderr, 'write');
  }
  return text;
}
