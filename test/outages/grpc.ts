import { killableService } from './http.js';
import type { Row } from './outage.js';

const grpcService = () => killableService('grpc-server.cjs', 'grpc');

/**
 * Calls fail at once while the channel waits before it connects again, without a connection for each: a tight loop of them is
 * as fast with us as without, until the circuit opens.
 */
export const GRPC: readonly Row[] = [
  {
    title: 'grpc-js',
    client: 'grpc',
    service: grpcService,
    patterns: ['awaited'],
    inTests: true,
    underCallers: { inTests: true },
  },
];
