import { GRPC } from './grpc.js';
import { HTTP } from './http.js';
import type { Row } from './outage.js';
import { MONGODB } from './mongodb.js';
import { MYSQL } from './mysql.js';
import { PG } from './pg.js';
import { REDIS } from './redis.js';
import { SMTP } from './smtp.js';

/**
 * All clients that are taken through outages. To add one:
 *
 * 1. `clients/<client>.cjs` exports `call()`, which makes one call with the client's defaults and gives its promise. Where
 *    nobody awaits calls, also `arrived()`: how many calls of this process did (count them under `process.pid`: several
 *    processes share the server). Where the client needs to connect first, `start()`.
 * 2. A `Service` that can be killed and started again on the same port; its `env` tells the client where it is.
 * 3. A `Row`, here or in a file beside this one. `inTests` puts it into the short form.
 * 4. `npm run outages -- --only <word of its title>` measures it and writes its part of `docs/outages.md`.
 */
export const ROWS: readonly Row[] = [...HTTP, ...REDIS, ...MYSQL, ...MONGODB, ...PG, ...GRPC, ...SMTP];
