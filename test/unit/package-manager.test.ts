import { expect } from 'chai';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { isPackageManager } from '../../src/package-manager.js';
import { removeTemporaryDirectories, temporaryDirectory } from '../support/files.js';

describe('isPackageManager', () => {
  afterEach(removeTemporaryDirectories);

  it('knows the main files of package managers, wherever they are', () => {
    for (const path of [
      '/usr/lib/node_modules/npm/bin/npm-cli.js',
      '/usr/lib/node_modules/npm/bin/npx-cli.js',
      '/usr/lib/node_modules/corepack/dist/corepack.js',
      '/usr/lib/node_modules/corepack/dist/yarn.js',
      '/usr/lib/node_modules/pnpm/bin/pnpm.cjs',
      '/usr/lib/node_modules/yarn/bin/yarn.js',
      '/srv/shop/.yarn/releases/yarn-4.1.0.cjs',
      '/srv/shop/.yarn/releases/yarn-4.0.0-rc.48.cjs',
      '/usr/local/bin/pnpm',
      '/usr/bin/npx',
    ]) {
      expect(isPackageManager(path), path).to.be.true;
    }
  });

  it('goes after links', () => {
    const folder = temporaryDirectory();
    const file = join(folder, 'node_modules/npm/bin/npm-cli.js');
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, '');
    symlinkSync(file, join(folder, 'package-manager'));
    expect(isPackageManager(join(folder, 'package-manager'))).to.be.true;
  });

  it('takes no service for one', () => {
    for (const path of [
      undefined,
      '/srv/shop/server.js',
      '/srv/shop/npm.js',
      '/srv/yarn/index.js',
      '/srv/shop/bin/yarn-orders.js',
      '/srv/shop/node_modules/npm/lib/index.js',
      '/srv/shop/bin/npm-cli-wrapper.js',
    ]) {
      expect(isPackageManager(path), path).to.be.false;
    }
  });
});
