import { expect } from 'chai';
import { StartLine, type Start } from '../../../src/telemetry/start-line.js';
import { captureDiag } from '../../support/log.js';

const START: Start = { mode: 'enforce', rules: undefined, underNext: false, level: 'info' };

describe('the start line', () => {
  /** Prints it after these clients were attached. */
  function printed(start: Partial<Start>, ...clients: string[]) {
    const lines = captureDiag();
    const line = new StartLine();
    let pass = () => {};
    line.print({ ...START, ...start }, (act) => (pass = act));
    for (const client of clients) line.attached(client);
    expect(lines).to.deep.equal([]);
    pass();
    return { line, lines };
  }

  it('names the clients that were attached by then, each once, the mode, and where the rules come from', () => {
    const { lines } = printed({ rules: 'otel-breaker.yaml' }, 'http', 'ioredis', 'http');
    expect(lines).to.deep.equal(['info: guarding http, ioredis (mode enforce); rules from otel-breaker.yaml']);
  });

  it('is followed by each client that comes later', () => {
    const { line, lines } = printed({ mode: 'observe' }, 'http');
    line.attached('pg');
    line.attached('pg');
    expect(lines).to.deep.equal(['info: guarding http (mode observe)', 'info: guarding pg as well']);
    expect([...line.clients]).to.deep.equal(['http', 'pg']);
  });

  it('warns under Next.js of clients that are bundled', () => {
    const { lines } = printed({ underNext: true }, 'http');
    expect(lines[1]).to.match(/^warn: .*found http\. .*serverExternalPackages/);
  });
});
