import type { Guard } from '../src/guard/guard.js';
import type { AttachmentClass } from './attachment.js';
import type * as Grpc from './grpc/grpc-attachment.js';
import { harmless } from './harmless.js';
import { HttpAttachment } from './http/http-attachment.js';
import type * as Http2 from './http2/http2-attachment.js';
import type * as Ioredis from './ioredis/ioredis-attachment.js';
import type * as Mongodb from './mongodb/mongodb-attachment.js';
import type * as Mysql2 from './mysql2/mysql2-attachment.js';
import type * as Nodemailer from './nodemailer/nodemailer-attachment.js';
import type * as NodeRedis from './node-redis/node-redis-attachment.js';
import { Patches } from './patches.js';
import type * as Pg from './pg/pg-attachment.js';
import { UndiciAttachment } from './undici/undici-attachment.js';

/** Clients that are part of Node: there whether the application uses them or not. */
const AT_ONCE: readonly AttachmentClass[] = [HttpAttachment, UndiciAttachment];

/** A client that an application loads, or does not: its attachment is loaded with it and costs nobody else anything. */
interface Later {
  /** Endings of the first files of the client that are patched, as `Patches.onModule` takes them. */
  readonly files?: readonly string[];
  /** The module of Node's own that the client is. */
  readonly builtin?: string;
  /** What it begins to ask `util.format` with, where it may be made of ES modules. */
  readonly format?: readonly string[];
  readonly load: () => AttachmentClass;
}

const ONCE_LOADED: readonly Later[] = [
  {
    builtin: 'http2',
    load: () => (require('./http2/http2-attachment.js') as typeof Http2).Http2Attachment,
  },
  {
    files: ['/built/Redis.js', '/built/Pipeline.js'],
    load: () => (require('./ioredis/ioredis-attachment.js') as typeof Ioredis).IoredisAttachment,
  },
  {
    files: ['/@redis/client/dist/lib/client/index.js'],
    load: () => (require('./node-redis/node-redis-attachment.js') as typeof NodeRedis).NodeRedisAttachment,
  },
  {
    files: ['/mysql2/lib/base/connection.js'],
    load: () => (require('./mysql2/mysql2-attachment.js') as typeof Mysql2).Mysql2Attachment,
  },
  {
    files: ['/mongodb/lib/operations/execute_operation.js', '/mongodb/lib/sdam/topology.js'],
    load: () => (require('./mongodb/mongodb-attachment.js') as typeof Mongodb).MongodbAttachment,
  },
  {
    files: ['/pg/lib/client.js', '/pg-pool/index.js'],
    load: () => (require('./pg/pg-attachment.js') as typeof Pg).PgAttachment,
  },
  {
    files: ['/build/src/resolving-call.js', '/build/src/client-interceptors.js', '/build/src/internal-channel.js'],
    load: () => (require('./grpc/grpc-attachment.js') as typeof Grpc).GrpcAttachment,
  },
  {
    files: ['/smtp-transport/index.js', '/smtp-pool/index.js', '/smtp-connection/index.js'],
    format: ['%s (%s; +%s; %s/%s)', 'nodemailer'],
    load: () => (require('./nodemailer/nodemailer-attachment.js') as typeof Nodemailer).NodemailerAttachment,
  },
];

/** Attaches to every client library there is, and to those that come later once they are there. */
export function attachAll(guard: Guard): void {
  for (const Class of AT_ONCE) new Class(guard).attach();
  for (const client of ONCE_LOADED) attachOnceThere(guard, client);
}

function attachOnceThere(guard: Guard, { files = [], builtin, format, load }: Later): void {
  const wait = new Patches();
  let isThere = false;
  const attach = harmless('Attaching to a client failed', () => {
    if (isThere) return;
    isThere = true;
    wait.undo();
    const Class = load();
    // It finds the file that led here among those that are loaded.
    new Class(guard).attach();
  });
  for (const file of files) wait.onModule(file, attach);
  if (builtin !== undefined) wait.onBuiltin(builtin, attach);
  if (format !== undefined) wait.onFormat(format, attach);
  if (isThere) wait.undo();
}
