import type { Row } from './outage.js';
import { PG } from './pg.js';
import { REDIS } from './redis.js';

/** All clients that are taken through outages. */
export const ROWS: readonly Row[] = [...REDIS, ...PG];
