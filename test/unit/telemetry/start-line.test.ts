import { expect } from 'chai';
import { StartLine, type Start } from '../../../src/telemetry/start-line.js';
import { captureDiag } from '../../support/log.js';

const START: Start = { mode: 'enforce', rules: undefined, underNext: false, level: 'info' };
const AT = 'metrics at http://127.0.0.1:9464/metrics (console at http://127.0.0.1:9464/)';

describe('the start line', () => {
  /** A line that waits for its grace, and for metrics to have a place. */
  function lineUnderTest(start: Partial<Start> = {}, ...clients: string[]) {
    const lines = captureDiag();
    const line = new StartLine();
    let pass = () => {};
    line.print({ ...START, ...start }, (act) => (pass = act));
    line.await('metrics');
    for (const client of clients) line.attached(client);
    expect(lines).to.deep.equal([]);
    return { line, lines, pass: () => pass() };
  }

  it('names the clients that were attached by then, each once, the mode, the rules, metrics and the console', () => {
    const { line, lines, pass } = lineUnderTest({ rules: 'otel-breaker.yaml' }, 'http', 'ioredis', 'http');
    line.place('metrics', AT);
    pass();
    expect(lines).to.deep.equal([`info: guarding http, ioredis (mode enforce); rules from otel-breaker.yaml; ${AT}`]);
  });

  it('waits for the grace and for every place, and comes once', () => {
    const { line, lines, pass } = lineUnderTest({}, 'http');
    line.await('console');
    pass();
    line.place('metrics', 'metrics through the provider of the application');
    expect(lines).to.deep.equal([]);
    line.place('console', 'console at http://127.0.0.1:9465/');
    line.place('metrics', 'metrics elsewhere');
    expect(lines).to.deep.equal([
      'info: guarding http (mode enforce); no rules file; metrics through the provider of the application; ' +
        'console at http://127.0.0.1:9465/',
    ]);
  });

  it('is for those who debug where another process has said it', () => {
    const { line, lines, pass } = lineUnderTest({}, 'http');
    line.place('metrics', 'metrics through the primary', 'debug');
    pass();
    expect(lines).to.deep.equal(['debug: guarding http (mode enforce); no rules file; metrics through the primary']);
  });

  it('is followed by each client that comes later', () => {
    const { line, lines, pass } = lineUnderTest({ mode: 'observe' }, 'http');
    line.place('metrics', 'metrics off');
    pass();
    line.attached('pg');
    line.attached('pg');
    expect(lines).to.deep.equal([
      'info: guarding http (mode observe); no rules file; metrics off',
      'info: guarding pg as well',
    ]);
    expect([...line.clients]).to.deep.equal(['http', 'pg']);
  });

  it('warns under Next.js of clients that are bundled', () => {
    const { line, lines, pass } = lineUnderTest({ underNext: true }, 'http');
    line.place('metrics', 'metrics off');
    pass();
    expect(lines[1]).to.match(/^warn: .*found http\. .*serverExternalPackages/);
  });
});
