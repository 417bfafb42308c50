/**
 * Makes a block of calls through one client when its parent asks, and answers with the CPU time that this process
 * used for it. CPU time is far steadier than calls per second. The server runs in another process.
 */
import { trace } from '@opentelemetry/api';
import { registerInstrumentations } from '@opentelemetry/instrumentation';
import { HttpInstrumentation } from '@opentelemetry/instrumentation-http';
import { IORedisInstrumentation } from '@opentelemetry/instrumentation-ioredis';
import { PgInstrumentation } from '@opentelemetry/instrumentation-pg';
import { UndiciInstrumentation } from '@opentelemetry/instrumentation-undici';
import { BatchSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { NodeTracerProvider } from '@opentelemetry/sdk-trace-node';
import type * as Http from 'node:http';

type Instrumentations = typeof import('../instrumentations/index.js');

export type ClientName = 'http' | 'fetch' | 'undici' | 'ioredis' | 'pg';
/** What is between the application and the client. */
export type Surroundings = 'nothing' | 'OpenTelemetry' | 'otel-breaker' | 'both';

interface Client {
  readonly callers: number;
  readonly callsPerBlock: number;
  call(): Promise<unknown>;
}

const CLIENTS: Readonly<Record<ClientName, (address: string) => Client>> = {
  http: (address) => {
    const http = require('node:http') as typeof Http;
    const agent = new http.Agent({ keepAlive: true, maxSockets: 50 });
    const call = () =>
      new Promise<void>((resolve, reject) => {
        http.get(address, { agent }, (response) => response.resume().on('end', resolve)).on('error', reject);
      });
    return { callers: 50, callsPerBlock: 6_000, call };
  },
  fetch: (address) => ({
    callers: 50,
    callsPerBlock: 1_500,
    call: async () => (await fetch(address)).text(),
  }),
  undici: (address) => {
    const { Agent, request } = require('undici') as typeof import('undici');
    const dispatcher = new Agent({ connections: 50 });
    const call = async () => (await request(address, { dispatcher })).body.text();
    return { callers: 50, callsPerBlock: 8_000, call };
  },
  ioredis: (address) => {
    const { Redis } = require('ioredis') as typeof import('ioredis');
    const redis = new Redis(address);
    return { callers: 100, callsPerBlock: 60_000, call: () => redis.get('key') };
  },
  pg: (address) => {
    const { Pool } = require('pg') as typeof import('pg');
    const pool = new Pool({ connectionString: address, max: 10 });
    return { callers: 10, callsPerBlock: 6_000, call: () => pool.query('SELECT $1::int AS one', [1]) };
  },
};

function main(): void {
  const [name, address, surroundings] = process.argv.slice(2) as [ClientName, string, Surroundings];
  // Before the client is loaded, as under a preload.
  if (surroundings === 'OpenTelemetry' || surroundings === 'both') traceEverything();
  if (surroundings === 'otel-breaker' || surroundings === 'both') {
    const { getBreakerInstrumentations } = require('otel-breaker/instrumentations') as Instrumentations;
    getBreakerInstrumentations();
  }
  const client = CLIENTS[name](address);
  process.on('message', () => {
    void cpuPerCall(client).then((microseconds) => process.send!(microseconds));
  });
  process.send!('ready');
}

/** Makes a span for every call, as in production, and drops it. */
function traceEverything(): void {
  const exporter = {
    export: (_: unknown, done: (result: { code: 0 }) => void) => done({ code: 0 }),
    shutdown: async () => undefined,
  };
  new NodeTracerProvider({ spanProcessors: [new BatchSpanProcessor(exporter)] }).register();
  registerInstrumentations({
    tracerProvider: trace.getTracerProvider(),
    instrumentations: [
      new HttpInstrumentation(),
      new UndiciInstrumentation(),
      new IORedisInstrumentation({ requireParentSpan: false }),
      new PgInstrumentation(),
    ],
  });
}

async function cpuPerCall({ callers, callsPerBlock, call }: Client): Promise<number> {
  const before = process.cpuUsage();
  await makeCalls(callers, callsPerBlock, call);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / callsPerBlock;
}

async function makeCalls(callers: number, calls: number, call: () => Promise<unknown>): Promise<void> {
  let left = calls;
  const caller = async () => {
    while (left-- > 0) await call();
  };
  await Promise.all(Array.from({ length: callers }, caller));
}

main();
