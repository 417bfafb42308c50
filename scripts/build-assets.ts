/** What the build adds to what the compiler writes: the JSON schema of rules files, and the starter file of `otel-breaker init`. */
import { copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { rulesJsonSchema } from './json-schema.js';

const root = join(__dirname, '..');
writeFileSync(join(root, 'dist/schema.json'), `${JSON.stringify(rulesJsonSchema(), undefined, 2)}\n`);
copyFileSync(join(root, 'examples/otel-breaker.yaml'), join(root, 'dist/otel-breaker.yaml'));
