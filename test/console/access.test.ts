import { expect } from 'chai';
import type { IncomingMessage } from 'node:http';
import { hasToken, isFromThisMachine, isLoopback, isMeantForUs, isSameOrigin } from '../../src/console/access.js';

function request(headers: Readonly<Record<string, string>>, remoteAddress = '127.0.0.1'): IncomingMessage {
  return { headers, socket: { remoteAddress } } as unknown as IncomingMessage;
}

describe('access to the console', () => {
  it('knows the addresses of this machine', () => {
    for (const address of ['127.0.0.1', '127.8.9.1', '::1', '::ffff:127.0.0.1']) {
      expect(isLoopback(address), address).to.be.true;
    }
    for (const address of [
      '10.0.0.1',
      '128.0.0.1',
      '::',
      '::ffff:10.0.0.1',
      'fe80::1',
      '127.evil.example',
      undefined,
    ]) {
      expect(isLoopback(address), address).to.be.false;
    }
  });

  it('does not take what a proxy passes on for a request of this machine', () => {
    expect(isFromThisMachine(request({}))).to.be.true;
    expect(isFromThisMachine(request({ 'x-forwarded-for': '10.1.2.3' }))).to.be.false;
    expect(isFromThisMachine(request({ forwarded: 'for=10.1.2.3' }))).to.be.false;
    expect(isFromThisMachine(request({}, '10.1.2.3'))).to.be.false;
  });

  it('knows its names: localhost, addresses, and those it was told', () => {
    for (const host of [
      'localhost',
      'LOCALHOST:9464',
      'app.localhost:1',
      '127.0.0.1:9464',
      '[::1]:9464',
      '10.0.0.7',
      'ops.example.',
    ]) {
      expect(isMeantForUs(host, ['ops.example']), host).to.be.true;
    }
    for (const host of [
      'evil.example',
      'localhost.evil.example',
      '127.0.0.1.evil.example',
      'notlocalhost',
      '',
      '[::1',
      undefined,
    ]) {
      expect(isMeantForUs(host, ['ops.example']), host).to.be.false;
    }
  });

  it('lets pages of its own and programs act, and no other page', () => {
    const host = '127.0.0.1:9464';
    for (const headers of [
      { host },
      { host, origin: `http://${host}` },
      { host, origin: `https://${host}`, 'sec-fetch-site': 'same-origin' },
      { host, 'sec-fetch-site': 'none' },
    ]) {
      expect(isSameOrigin(request(headers)), JSON.stringify(headers)).to.be.true;
    }
    for (const headers of [
      { host, origin: 'http://evil.example' },
      { host, origin: 'http://127.0.0.1:8080' },
      { host, origin: 'null' },
      { host, 'sec-fetch-site': 'cross-site' },
      { host, 'sec-fetch-site': 'same-site' },
      { host, origin: `http://${host}`, 'sec-fetch-site': 'cross-site' },
    ]) {
      expect(isSameOrigin(request(headers)), JSON.stringify(headers)).to.be.false;
    }
  });

  it('accepts the token and nothing near it', () => {
    expect(hasToken(request({ authorization: 'Bearer s3cret' }), 's3cret')).to.be.true;
    expect(hasToken(request({ authorization: 'bearer  s3cret' }), 's3cret')).to.be.true;
    for (const authorization of ['s3cret', 'Bearer s3cre', 'Bearer s3cret2', 'Bearer', 'Bearer ', 'Basic s3cret', '']) {
      expect(hasToken(request({ authorization }), 's3cret'), authorization).to.be.false;
    }
    expect(hasToken(request({}), '')).to.be.false;
  });
});
