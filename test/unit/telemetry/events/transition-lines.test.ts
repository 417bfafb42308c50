import { expect } from 'chai';
import type { BreakerOptions } from '../../../../src/breaker/options.js';
import { logTransition } from '../../../../src/telemetry/events/transition-lines.js';
import { breakerWithClock, openCircuit, startProbe } from '../../../support/breakers.js';
import { captureDiag } from '../../../support/log.js';

const SPAN = { traceId: '4bf92f3577b34da6a3ce929d0e0e4736', spanId: '00f067aa0ba902b7', traceFlags: 1 };

describe('lines about circuits', () => {
  function logged(options: BreakerOptions = {}) {
    const lines = captureDiag();
    const { breaker, clock } = breakerWithClock({ openDuration: 30_000, successThreshold: 1, ...options });
    breaker.onTransition((transition) => logTransition(breaker, transition, SPAN));
    return { lines, breaker, clock };
  }

  it('warn of one that opens, with the reason, the next probe and the trace, and tell when it closes', () => {
    const { lines, breaker, clock } = logged();
    startProbe(breaker, clock).failure(new Error('still down'));
    clock.advance(300_000);
    breaker.acquire().success();
    expect(lines.filter((line) => !line.startsWith('debug'))).to.deep.equal([
      `warn: circuit "target" opened: 5 consecutive failures (threshold 5); next probe in 30 s; trace ${SPAN.traceId}`,
      `info: circuit "target" closed: 1 successful probes in a row (threshold 1); trace ${SPAN.traceId}`,
    ]);
    expect(lines).to.have.length(5);
    expect(lines[2]).to.match(/^debug: circuit "target" opened again: a probe failed; next probe in/);
  });

  it('say that one in mode observe rejects no call', () => {
    const { lines, breaker } = logged({ mode: 'observe' });
    openCircuit(breaker);
    expect(lines[0]).to.match(/^warn: circuit "target" opened in mode observe, where no call is rejected: 5 /);
  });

  it('name no probe where it was opened by hand', () => {
    const { lines, breaker } = logged();
    breaker.forceOpen();
    expect(lines[0]).to.match(/^warn: circuit "target" opened: opened by hand; until it is reset; trace/);
  });
});
