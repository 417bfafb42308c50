import { expect } from 'chai';
import { join } from 'node:path';
import { PRELOAD, runNode } from '../support/child.js';

const PROGRAM = join(__dirname, '../fixtures/preload/nodemailer.mjs');

describe('the preload and nodemailer as ES modules', () => {
  it('guards it from its second message on at the latest', async () => {
    const { stdout, stderr } = await runNode({
      nodeArgs: PRELOAD,
      program: PROGRAM,
      env: { OTEL_LOG_LEVEL: 'none' },
    });
    const [[name, failures]] = JSON.parse(stdout) as [[string, number]];
    expect([name, failures >= 2], stderr).to.deep.equal(['smtp://127.0.0.1:1', true]);
  });

  it('leaves util.format what it was to everybody else', async () => {
    const source = `
      const { format } = require('node:util');
      console.log(format('%s-%d', 'a', 1, 'x'), format(), format.name, format.length);`;
    const outputs = await Promise.all(
      [[], PRELOAD].map((nodeArgs) => runNode({ nodeArgs, program: { kind: 'commonjs', source } })),
    );
    expect(outputs[1]!.stdout).to.equal(outputs[0]!.stdout).and.to.equal('a-1 x  format 0\n');
  });
});
