import { expect } from 'chai';
import { resolveConfig } from '../../../src/breaker/config.js';
import { classify } from '../../../src/outcomes/classify.js';
import { isAboutConnection, isGivenUp, verdictOfGrpcError, verdictOfGrpcStatus } from '../../../src/outcomes/grpc.js';

const unavailable = (details: string) => ({ code: 14, details });

describe('outcomes of gRPC', () => {
  it('of calls that were not made say nothing', () => {
    for (const details of [
      'Channel closed before call started',
      'Stream refused by server',
      'Getting metadata from plugin failed with error: no token',
      'No connection established. Last error: Error: connect EMFILE 10.0.0.1:443 - Local (undefined:undefined). Resolution note: ',
    ]) {
      expect(verdictOfGrpcStatus(unavailable(details)), details).to.equal('ignored');
    }
    expect(verdictOfGrpcStatus({ code: 13, details: 'Request message serialization failure: x' })).to.equal('ignored');
  });

  it('tell what many calls see at once from what a server has answered', () => {
    const kinds: Readonly<Record<string, string | undefined>> = {
      'No connection established. Last error: Error: connect ECONNREFUSED 10.0.0.1:443': 'unreached',
      'Name resolution failed for target dns:nowhere.test:443': 'unreached',
      'Connection dropped': 'lost',
      'read ECONNRESET': 'lost',
      'the shop is closed': undefined,
    };
    for (const [details, kind] of Object.entries(kinds)) {
      expect(isAboutConnection(unavailable(details)), details).to.equal(kind);
      expect(verdictOfGrpcStatus(unavailable(details)), details).to.equal('failure');
    }
    expect(isAboutConnection({ code: 13, details: 'Connection dropped' })).to.equal(undefined);
  });

  it('tell a caller that cancels from a server that does', () => {
    expect(isGivenUp({ code: 1, details: 'Cancelled on client' })).to.equal(true);
    expect(isGivenUp({ code: 1, details: 'Call cancelled' })).to.equal(false);
  });

  it('are the same for breakers in code, and say nothing of errors that are not of gRPC', () => {
    const error = (code: number) => Object.assign(new Error('x'), { code, details: 'x', metadata: {} });
    const config = resolveConfig();
    expect([5, 7, 14, 4].map((code) => classify(error(code), config))).to.deep.equal([
      'success',
      'ignored',
      'failure',
      'timeout',
    ]);
    for (const other of [
      { code: 14 },
      { code: '14', details: 'x', metadata: {} },
      { code: 99, details: 'x', metadata: {} },
    ])
      expect(verdictOfGrpcError(other)).to.equal(undefined);
  });
});
