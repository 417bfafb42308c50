import { expect } from 'chai';
import { classify } from '../../../src/outcomes/classify.js';
import { verdictOfSmtpError } from '../../../src/outcomes/smtp.js';
import { resolveConfig } from '../../../src/breaker/config.js';

const error = (properties: object, message = 'as the test wants it') => Object.assign(new Error(message), properties);

describe('verdicts on errors of nodemailer', () => {
  it('knows what the operating system said, in version 10 and before', () => {
    const code = 'ESOCKET';
    const command = 'CONN';
    expect(verdictOfSmtpError(error({ code, command, originalCode: 'ECONNREFUSED', syscall: 'connect' }))).to.equal(
      'failure',
    );
    expect(verdictOfSmtpError(error({ code, command, originalCode: 'EMFILE', syscall: 'connect' }))).to.equal(
      'ignored',
    );
    expect(verdictOfSmtpError(error({ code, command, syscall: 'connect' }, 'connect EMFILE 127.0.0.1:25'))).to.equal(
      'ignored',
    );
    expect(verdictOfSmtpError(error({ code, command, syscall: 'read' }, 'read ECONNRESET'))).to.equal('failure');
    expect(verdictOfSmtpError(error({ code: 'EDNS', command }))).to.equal('failure');
    expect(verdictOfSmtpError(error({ code: 'ETLS', command }))).to.equal('failure');
    expect(verdictOfSmtpError(error({ code: 'ETIMEDOUT', command }, 'Greeting never received'))).to.equal('timeout');
  });

  it('knows the loss of a connection before version 10, where it had no code', () => {
    for (const message of [
      'Unexpected socket close',
      'Reached maximum number of retries after connection was closed',
    ]) {
      expect(verdictOfSmtpError(new Error(message))).to.equal('failure');
    }
    expect(verdictOfSmtpError(new Error('Connection pool was closed'))).to.equal('ignored');
  });

  it('takes no message that could not be sent for a word on the server', () => {
    expect(verdictOfSmtpError(error({ code: 'EENVELOPE', command: 'API' }, 'No recipients defined'))).to.equal(
      'ignored',
    );
    expect(verdictOfSmtpError(error({ code: 'EAUTH', command: 'API' }, 'Missing credentials'))).to.equal('ignored');
    expect(verdictOfSmtpError(error({ code: 'ESTREAM', command: 'API' }))).to.equal('ignored');
    expect(verdictOfSmtpError(error({ code: 'EFILEACCESS' }))).to.equal('ignored');
    expect(verdictOfSmtpError(new TypeError('wrong'))).to.equal('ignored');
  });

  it('means the same to breakers in code', () => {
    const config = resolveConfig();
    const refused = { code: 'EENVELOPE', responseCode: 550, command: 'RCPT TO', response: '550 No such user' };
    expect(classify(error(refused), config)).to.equal('success');
    expect(classify(error({ code: 'EAUTH', responseCode: 535, command: 'AUTH PLAIN' }), config)).to.equal('ignored');
    expect(classify(error({ code: 'ESOCKET', command: 'CONN', syscall: 'connect' }), config)).to.equal('failure');
  });
});
