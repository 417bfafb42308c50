import { expect } from 'chai';
import { resolveConfig } from '../../../src/breaker/config.js';
import {
  isFailureOfTarget,
  meantStatus,
  retryAfterMs,
  retryAfterSeconds,
  verdictOfStatus,
} from '../../../src/outcomes/http.js';

const headers =
  (values: Readonly<Record<string, string>> = {}) =>
  (name: string) =>
    values[name];

describe('http: the verdict on an answer', () => {
  it('is by failureStatuses, and none for 408 and 429', () => {
    const config = resolveConfig();
    for (const status of [500, 503, 529]) expect(verdictOfStatus(config, status)).to.equal('failure');
    for (const status of [408, 429]) expect(verdictOfStatus(config, status)).to.equal('ignored');
    for (const status of [200, 404, 501, 505]) expect(verdictOfStatus(config, status)).to.equal('success');
  });

  it('knows the 503 that means 429', () => {
    expect(meantStatus(503, headers(), 'Slow Down')).to.equal(429);
    expect(meantStatus(503, headers(), 'SlowDown')).to.equal(429);
    expect(meantStatus(503, headers({ 'x-amzn-errortype': 'ThrottlingException:http://internal' }))).to.equal(429);
    expect(meantStatus(503, headers({ 'x-amzn-errortype': 'InternalFailure' }), 'Service Unavailable')).to.equal(503);
    expect(meantStatus(500, headers(), 'Slow Down')).to.equal(500);
  });

  it('reads Retry-After, and writes it in whole seconds that nobody takes for "at once"', () => {
    expect(retryAfterMs(headers({ 'retry-after': '2' }), 0)).to.equal(2_000);
    expect(retryAfterMs(headers({ 'retry-after-ms': '20', 'retry-after': '2' }), 0)).to.equal(20);
    expect(retryAfterMs(headers({ 'retry-after': 'Thu, 01 Jan 1970 00:00:05 GMT' }), 1_000)).to.equal(4_000);
    for (const value of ['0', 'soon', ''])
      expect(retryAfterMs(headers({ 'retry-after': value }), 0)).to.equal(undefined);
    expect([0, 1, 1_000, 1_001].map(retryAfterSeconds)).to.deep.equal([1, 1, 1, 2]);
  });

  it('takes a unix socket that is not there for a failure of the target, and a file for none', () => {
    for (const code of ['ENOENT', 'EACCES', 'EPERM']) {
      expect(isFailureOfTarget(Object.assign(new Error(), { code, syscall: 'connect' })), code).to.equal(true);
      expect(isFailureOfTarget(Object.assign(new Error(), { code, syscall: 'open' })), code).to.equal(false);
    }
  });
});
