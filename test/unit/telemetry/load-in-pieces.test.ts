import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { loadInPieces } from '../../../src/telemetry/load-in-pieces.js';
import { removeTemporaryDirectories, temporaryDirectory } from '../../support/files.js';

const globals = globalThis as { loadedInPieces?: string[] };

describe('loadInPieces', () => {
  beforeEach(() => (globals.loadedInPieces = []));
  afterEach(() => {
    delete globals.loadedInPieces;
    removeTemporaryDirectories();
  });

  /** A package of these files, each of which takes ten milliseconds. */
  function packageOf(files: Record<string, string>): string {
    const folder = join(temporaryDirectory(), 'package');
    mkdirSync(folder);
    for (const [name, source] of Object.entries(files)) {
      const busy = `const end = performance.now() + 10; while (performance.now() < end);`;
      writeFileSync(join(folder, name), `${source}\n${busy}\nglobalThis.loadedInPieces.push('${name}');`);
    }
    return join(folder, 'index.js');
  }

  it('loads files before those that need them, and lets the event loop turn in between', async () => {
    const entry = packageOf({
      'index.js': `require('./a'); require('./b'); require('node:fs');`,
      'a.js': `require("./c");`,
      'b.js': `require('./d');`,
      'c.js': '',
      // As it would be without us: what needs each other is loaded from outside.
      'd.js': `require('./b');`,
    });
    let turns = 0;
    let isOver = false;
    const turn = () => {
      turns++;
      if (!isOver) setImmediate(turn);
    };
    setImmediate(turn);
    await loadInPieces(entry);
    isOver = true;
    expect(globals.loadedInPieces).to.deep.equal(['c.js', 'a.js', 'd.js', 'b.js', 'index.js']);
    expect(turns).to.be.at.least(2);
  });

  it('leaves what cannot be loaded to the package itself', async () => {
    const entry = packageOf({
      'index.js': `try { require('./broken'); } catch {} try { require('missing'); } catch {}`,
      'broken.js': `throw new Error('not on this platform');`,
    });
    await loadInPieces(entry);
    expect(globals.loadedInPieces).to.deep.equal(['index.js']);
    await loadInPieces('no-such-package');
  });
});
