// Which methods of clients the preload replaces, found out by comparing a process that has it with one that has not.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

const ROOT = join(__dirname, '..');

/** Prints the text of every method of the classes whose prototypes are patched, as its process has them. */
const METHODS = `
  const http = require('node:http');
  const { Redis, Cluster } = require('ioredis');
  const ofNodeRedis = (file) => require('@redis/client/dist/lib/' + file);
  const { dirname } = require('node:path');
  const ofMysql2 = (file) => require(dirname(require.resolve('mysql2')) + '/lib/' + file);
  const { Client, Query, Pool } = require('pg');
  const { Agent } = require('undici');
  const http2 = require('node:http2');
  const wrapper = require('http2-wrapper');
  // Nobody has to be there: the classes are.
  const session = http2.connect('http://127.0.0.1:1').on('error', () => {});
  const stream = session.request().on('error', () => {});
  const ofGrpc = (file) => require('@grpc/grpc-js/build/src/' + file);
  const clients = {
    http: { Agent: http.Agent, ClientRequest: http.ClientRequest, IncomingMessage: http.IncomingMessage },
    http2: {
      http2,
      ClientHttp2Session: session.constructor,
      ClientHttp2Stream: stream.constructor,
      'http2-wrapper/Agent': wrapper.globalAgent.constructor,
      'http2-wrapper/ClientRequest': require(dirname(require.resolve('http2-wrapper')) + '/client-request.js'),
    },
    undici: { DispatcherBase: Object.getPrototypeOf(Agent) },
    ioredis: { Redis, Cluster },
    'node-redis': {
      RedisClient: ofNodeRedis('client').default,
      DoublyLinkedList: ofNodeRedis('client/linked-list').DoublyLinkedList,
      RedisCluster: ofNodeRedis('cluster').default,
    },
    mysql2: {
      BaseConnection: ofMysql2('base/connection'),
      BasePool: ofMysql2('base/pool'),
      Command: ofMysql2('commands/command'),
      Query: ofMysql2('commands/query'),
      Execute: ofMysql2('commands/execute'),
      ClientHandshake: ofMysql2('commands/client_handshake'),
    },
    mongodb: {
      execute_operation: require('mongodb/lib/operations/execute_operation'),
      Topology: require('mongodb/lib/sdam/topology').Topology,
    },
    pg: { Client, Query, Pool: Object.getPrototypeOf(Pool) },
    nodemailer: {
      SMTPTransport: require('nodemailer/lib/smtp-transport'),
      SMTPPool: require('nodemailer/lib/smtp-pool'),
      PoolResource: require('nodemailer/lib/smtp-pool/pool-resource'),
      SMTPConnection: require('nodemailer/lib/smtp-connection'),
    },
    grpc: {
      ResolvingCall: ofGrpc('resolving-call').ResolvingCall,
      InternalChannel: ofGrpc('internal-channel').InternalChannel,
      'client-interceptors': ofGrpc('client-interceptors'),
    },
  };
  const methods = [];
  for (const [client, classes] of Object.entries(clients)) {
    for (const [name, { prototype, ...exported }] of Object.entries(classes)) {
      const object = prototype ? name + '.prototype' : name;
      for (const [method, { value }] of Object.entries(Object.getOwnPropertyDescriptors(prototype ?? exported))) {
        if (typeof value === 'function') methods.push({ client, object, method, text: String(value) });
      }
    }
  }
  console.log(JSON.stringify(methods));
`;

interface Method {
  readonly client: string;
  readonly object: string;
  readonly method: string;
  readonly text: string;
}

function methodsOf(nodeArgs: readonly string[]): Method[] {
  const stdout = execFileSync(process.execPath, [...nodeArgs, '--eval', METHODS], {
    cwd: ROOT,
    encoding: 'utf8',
    env: { ...process.env, OTEL_BREAKER_METRICS: 'off', OTEL_LOG_LEVEL: 'none' },
  });
  return JSON.parse(stdout) as Method[];
}

/** Client, object and methods, in the order in which they are there. */
export function patchedMethods(): (readonly [client: string, object: string, methods: readonly string[]])[] {
  const plain = new Set(methodsOf([]).map(keyOf));
  const patched = methodsOf(['--require', 'otel-breaker/register']).filter((method) => !plain.has(keyOf(method)));
  // Clients may have classes of the same name.
  const objects = new Map<string, { client: string; object: string; methods: string[] }>();
  for (const { client, object, method } of patched) {
    const key = `${client} ${object}`;
    const known = objects.get(key);
    if (known === undefined) objects.set(key, { client, object, methods: [method] });
    else known.methods.push(method);
  }
  return Array.from(objects.values(), ({ client, object, methods }) => [client, object, methods.sort()]);
}

function keyOf({ object, method, text }: Method): string {
  return `${object} ${method} ${text}`;
}
