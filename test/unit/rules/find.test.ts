import { expect } from 'chai';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findRulesFile } from '../../../src/rules/find.js';
import { checkedSection } from '../../../src/rules/live-rules.js';
import { loadRulesFile } from '../../../src/rules/load.js';
import { removeTemporaryDirectories, temporaryDirectory } from '../../support/files.js';

describe('the rules file is looked for', () => {
  const before = process.cwd();
  let directory: string;

  beforeEach(() => {
    directory = temporaryDirectory();
    process.chdir(directory);
  });
  afterEach(() => {
    process.chdir(before);
    removeTemporaryDirectories();
  });

  it('by three names in the working directory, and the first one counts', () => {
    expect(findRulesFile(undefined)).to.equal(undefined);
    for (const name of ['otel-breaker.json', 'otel-breaker.yml', 'otel-breaker.yaml']) {
      writeFileSync(name, '{}');
      expect(findRulesFile(undefined)).to.equal(join(process.cwd(), name));
    }
  });

  it('where the environment says, be it there or not', () => {
    expect(findRulesFile('some.yaml')).to.equal(join(process.cwd(), 'some.yaml'));
    expect(findRulesFile('/etc/some.yaml')).to.equal('/etc/some.yaml');
  });

  it('in vain where the working directory is gone, and all else goes on there', () => {
    const file = join(temporaryDirectory(), 'rules.json');
    writeFileSync(file, '{"rules":[]}');
    rmSync(directory, { recursive: true });
    expect(() => process.cwd()).to.throw('ENOENT');
    expect(findRulesFile(undefined)).to.equal(undefined);
    expect(findRulesFile(file)).to.equal(file);
    expect(loadRulesFile(file).origin).to.equal(file);
    expect(checkedSection('here', { rules: [] }).config.rules).to.deep.equal([]);
  });
});
