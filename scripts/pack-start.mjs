// Packs what every start loads into one file: a hundred files to find, read and compile cost more than all they do. Each of
// them stays as a door to its part, so that what is loaded later, from code or for a client, meets the same classes.
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const dist = fileURLToPath(new URL('../dist', import.meta.url));
// Beside the files that ask for their own folder.
const packed = join(dist, 'src/at-start.js');

const parts = new Map(loadedAtStart().map(({ file, names }) => [file, names]));

await build({
  stdin: {
    contents: [...parts.keys()]
      .map((file) => pathFrom(dist, file))
      .map((path) => `exports["${path}"] = () => require("${path}");`)
      .join('\n'),
    resolveDir: dist,
  },
  outfile: packed,
  bundle: true,
  format: 'cjs',
  platform: 'node',
  target: 'node20.6',
  packages: 'external',
  sourcemap: true,
  // A third less to read and to compile. Names stay, so that stacks can be read, and so do lines, short enough for code frames.
  minifyWhitespace: true,
  lineLimit: 120,
  plugins: [
    {
      name: 'parts',
      setup: (pack) => {
        pack.onResolve({ filter: /^\./ }, whereItIs);
        pack.onLoad({ filter: /\bdist[\\/]src[\\/]version\.js$/ }, ownName);
      },
    },
  ],
});

for (const [file, names] of parts) {
  const door = `"use strict";
module.exports = require("${pathFrom(dirname(file), packed)}")["${pathFrom(dist, file)}"]();
// What ES modules can import by name.
0 && (module.exports = { ${names.join(', ')} });
`;
  writeFileSync(file, door);
}

/** The files of this package that a process has loaded once it was started with it, with the names that each exports. */
function loadedAtStart() {
  const script = `
    require(${JSON.stringify(join(dist, 'src/register.js'))});
    const loaded = Object.values(require.cache).filter(({ filename }) => filename.startsWith(${JSON.stringify(join(dist, '/'))}));
    const parts = loaded.map(({ filename, exports }) => ({ file: filename, names: Object.keys(exports) }));
    process.stdout.write(JSON.stringify(parts), () => process.exit());
  `;
  // Nothing of the environment of whoever builds.
  const env = { OTEL_BREAKER_METRICS: 'off' };
  const { stdout, stderr, status } = spawnSync(process.execPath, ['-e', script], { env, encoding: 'utf8' });
  if (status !== 0) throw new Error(`the start could not be loaded: ${stderr}`);
  return JSON.parse(stdout);
}

/** A part is taken in; what is loaded later stays where it is, and is found from the packed file. */
function whereItIs({ path, resolveDir }) {
  const file = join(resolveDir, path);
  if (parts.has(file)) return undefined;
  return { path: pathFrom(dirname(packed), file), external: true };
}

/** Written out: each start would look for package.json, read it and parse it, for two words of it. */
function ownName() {
  const { name, version } = JSON.parse(readFileSync(join(dist, '../package.json'), 'utf8'));
  return { contents: `exports.PACKAGE = ${JSON.stringify({ name, version })};`, loader: 'js' };
}

/** As `require` takes it. */
function pathFrom(folder, file) {
  const path = relative(folder, file).replaceAll('\\', '/');
  return path.startsWith('.') ? path : `./${path}`;
}
