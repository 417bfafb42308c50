import { expect } from 'chai';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { STREAM_CLIENTS, type StreamClient } from '../../bench/streams/clients.js';
import { compileWorkers } from '../../bench/streams/measure.js';
import { PRELOAD, runNode } from '../support/child.js';
import { removeTemporaryDirectories, temporaryDirectory } from '../support/files.js';

// The least of several rounds counts: in others, something of ours or of Node's is still being loaded.
const ROUNDS = 8;
const CALLS_PER_ROUND = 2_000;

// V8 remembers for each place in the code how the objects look that come by. Of those that look like none before, it has to
// find out anew, a tenth of a microsecond each time, and writes that down with `--log-ic`. undici's own API makes such
// options: of each request, five things that a breaker read of them were 1.4 such looks more than without it.
describe('What V8 has to look up anew', function () {
  this.timeout(120_000);
  let clients: string;
  before(() => (clients = join(dirname(compileWorkers()), 'clients.js')));
  afterEach(removeTemporaryDirectories);

  for (const client of STREAM_CLIENTS) {
    it(`is no more for a call of ${client} with us than without`, async () => {
      const without = await looksPerCall(client, []);
      const withUs = await looksPerCall(client, PRELOAD);
      expect(withUs - without).to.be.below(0.2);
    });
  }

  async function looksPerCall(client: StreamClient, preload: readonly string[]): Promise<number> {
    const log = join(temporaryDirectory(), 'v8.log');
    const { code, stderr } = await runNode({
      nodeArgs: ['--log-ic', `--logfile=${log}`, '--no-logfile-per-isolate', ...preload],
      program: { kind: 'commonjs', source: programFor(clients, client) },
      env: { OTEL_LOG_LEVEL: 'error' },
    });
    expect(code, stderr).to.equal(0);
    const lines = readFileSync(log, 'utf8')
      .split('\n')
      .filter((line) => /^\w+IC,/.test(line));
    const looks = Array.from({ length: ROUNDS }, (_, round) => {
      const from = lines.findLastIndex((line) => line.includes(`,endOfRound${round},`));
      const to = lines.findIndex((line) => line.includes(`,endOfRound${round + 1},`));
      expect(from).to.be.above(0);
      expect(to).to.be.above(from);
      return to - from;
    });
    return Math.min(...looks) / CALLS_PER_ROUND;
  }
});

/** Makes calls, until V8 has seen all that there is to see, and then some rounds more; the end of each is marked by a look. */
function programFor(clients: string, client: StreamClient): string {
  return `
    const { MAKE_CLIENT, makeCalls } = require(${JSON.stringify(clients)});
    async function main() {
      const client = await MAKE_CLIENT.${client}();
      await makeCalls(client, 6_000);
      mark(0);
      for (let round = 1; round <= ${ROUNDS}; round++) {
        await makeCalls(client, ${CALLS_PER_ROUND});
        mark(round);
      }
      process.exit();
    }
    function mark(round) {
      const look = new Function('one', 'return one.endOfRound' + round);
      for (let index = 0; index < 1_000; index++) look({ ['own' + index]: true });
    }
    main();
  `;
}
