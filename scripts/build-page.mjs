// Makes the console's page: one folder of files that needs nothing from the network and nothing from its user.
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const source = join(root, 'src/console/page');
const target = join(root, 'dist/page');

rmSync(target, { recursive: true, force: true });
mkdirSync(target, { recursive: true });

await build({
  entryPoints: [join(source, 'main.tsx'), join(source, 'main.css')],
  outdir: target,
  bundle: true,
  // The chart is the larger half, and is loaded when a breaker is looked at.
  splitting: true,
  format: 'esm',
  target: ['es2022'],
  minify: true,
  jsx: 'automatic',
  jsxImportSource: 'preact',
  chunkNames: 'chunk-[hash]',
  legalComments: 'none',
});

// The page of a replay is one file, that opens from disk.
const replay = join(root, 'src/replay/page');
await build({
  entryPoints: [join(replay, 'report.tsx'), join(replay, 'report.css')],
  outdir: target,
  bundle: true,
  format: 'iife',
  target: ['es2022'],
  minify: true,
  jsx: 'automatic',
  jsxImportSource: 'preact',
  legalComments: 'none',
});

for (const file of ['index.html', 'icon.svg']) copyFileSync(join(source, file), join(target, file));

// What is in the bundle of others, under which licence.
const licences = ['preact', 'uplot'].map((name) => {
  const folder = join(root, 'node_modules', name);
  const { version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  return `${name} ${version}\n\n${readFileSync(join(folder, 'LICENSE'), 'utf8')}`;
});
writeFileSync(join(target, 'LICENSES.txt'), licences.join('\n\n'));
