// Removes from dist what the compiler once made of a source that is no more: it would be packed with the rest. Not all of
// dist, which tests and demos may be running from.
const { existsSync, readdirSync, rmSync } = require('node:fs');
const { join } = require('node:path');

const root = join(__dirname, '..');
const COMPILED = /(\.d\.ts|\.js|\.js\.map)$/;
// Made by pack-start.mjs of those that the compiler writes.
const PACKED = /^at-start\./;

for (const folder of ['src', 'instrumentations']) {
  const dist = join(root, 'dist', folder);
  if (!existsSync(dist)) continue;
  for (const name of readdirSync(dist, { recursive: true })) {
    if (PACKED.test(name) || !COMPILED.test(name) || existsSync(join(root, folder, name.replace(COMPILED, '.ts'))))
      continue;
    rmSync(join(dist, name));
  }
}
