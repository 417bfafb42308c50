import type { Row } from './outage.js';
import { REDIS } from './redis.js';

/** All clients that are taken through outages. */
export const ROWS: readonly Row[] = [...REDIS];
