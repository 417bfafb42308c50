import { expect } from 'chai';
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './support/child.js';
import { removeTemporaryDirectories, temporaryDirectory } from './support/files.js';
import { environmentOf, findProgram } from './support/programs.js';

describe('the servers that tests start', () => {
  afterEach(removeTemporaryDirectories);

  function runServers(env: NodeJS.ProcessEnv) {
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      ['--require', 'tsx/cjs', join(ROOT, 'scripts/servers.ts')],
      { cwd: ROOT, env: { ...process.env, ...env }, encoding: 'utf8' },
    );
    return { status, stdout, stderr };
  }

  function writeProgram(folder: string, name: string): string {
    mkdirSync(folder, { recursive: true });
    const file = join(folder, name);
    writeFileSync(file, '#!/bin/sh\n', { mode: 0o755 });
    return file;
  }

  it('are all there when tests run, and then nothing is said or done', () => {
    expect(runServers({})).to.deep.equal({ status: 0, stdout: '', stderr: '' });
  });

  it('are told with the command that installs them where this system has no apt', () => {
    const path = temporaryDirectory();
    for (const name of ['brew', 'curl', 'prometheus', 'promtool']) writeProgram(path, name);
    const { status, stdout, stderr } = runServers({
      PATH: path,
      SERVERS_CACHE: temporaryDirectory(),
      PLAYWRIGHT_BROWSERS_PATH: temporaryDirectory(),
    });
    expect(status).to.equal(1);
    expect(stdout).to.equal('The tests need, and this machine has no Redis, no MariaDB, no Chromium.\n');
    expect(stderr).to.equal('Install them: brew install redis mariadb chromium\n');
  });

  it('find their libraries, fonts and helpers where they were unpacked without being installed', () => {
    const root = temporaryDirectory();
    writeProgram(join(root, 'usr/bin'), 'server');
    const libraries = join(root, 'usr/lib/x86_64-linux-gnu');
    for (const file of ['libx.so.1', 'deeper/liby.so.2'])
      writeProgram(join(libraries, file, '..'), file.split('/').pop()!);
    mkdirSync(join(root, 'usr/lib/no-libraries'));
    const env = environmentOf(root);
    expect(env.LD_LIBRARY_PATH!.split(':')).to.include.members([libraries, join(libraries, 'deeper')]);
    expect(env.LD_LIBRARY_PATH).not.to.contain('no-libraries');
    expect(env.PATH!.split(':').at(-1)).to.equal(join(root, 'usr/bin'));
    expect(env).not.to.have.property('C_INCLUDE_PATH');
  });

  it('are not made up', () => {
    expect(findProgram('a-server-that-nobody-has')).to.equal(undefined);
  });
});
