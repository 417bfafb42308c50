import { reportOnce } from '../../src/breaker/diagnostics.js';
import { deferRejection } from '../../src/breaker/pacing.js';
import { CircuitOpenError } from '../../src/guard/guard.js';
import { LastingTarget } from '../../src/target.js';
import type { Attachment } from '../attachment.js';
import type { Entry } from '../client-call.js';
import { harmless } from '../harmless.js';
import { OnAnother } from '../hidden-property.js';
import type { Patches } from '../patches.js';
import { carry, giveBack, type Client } from './client.js';
import { ConnectionCall } from './pg-call.js';
import { toTarget, type Address } from './pg-target.js';

type Done = (error: unknown, client?: Client, release?: () => void) => void;

/** A checkout that waits in a pool's queue. */
interface PendingItem {
  readonly callback: Done;
  /** Its caller has been told already. */
  readonly timedOut?: boolean;
}

/** A `pg-pool`, with what its types do not say. */
export interface Pool {
  readonly options: object;
  Client: { new (...args: unknown[]): Client; readonly prototype: object };
  readonly Promise: PromiseConstructor;
  readonly ending: boolean;
  readonly _clients: readonly Client[];
  readonly _idle: readonly unknown[];
  readonly _pendingQueue: PendingItem[];
  connect(callback?: Done): unknown;
  newClient(item: PendingItem): void;
  _isFull(): boolean;
  _acquireClient(client: Client, item: PendingItem, idleListener: unknown, isNew: boolean): void;
  _pulseQueue(): void;
  _release(client: Client, idleListener: unknown, error?: unknown): void;
}

export interface PoolClass {
  readonly prototype: Pool;
}

const PATCHED = ['connect', 'newClient', '_isFull', '_acquireClient', '_pulseQueue', '_release'] as const;

export function isPoolClass(exports: unknown): exports is PoolClass {
  const { prototype } = exports as Partial<PoolClass>;
  return typeof exports === 'function' && PATCHED.every((method) => typeof prototype?.[method] === 'function');
}

/** What a checkout has come to, until its client carries it: asked already, or yet to ask. */
class CheckoutOf extends OnAnother {
  #checkout: ConnectionCall | undefined;

  static get(item: PendingItem): ConnectionCall | undefined {
    return #checkout in item ? (item as unknown as CheckoutOf).#checkout : undefined;
  }

  static set(item: PendingItem, checkout: ConnectionCall): void {
    if (!(#checkout in item)) new CheckoutOf(item);
    (item as unknown as CheckoutOf).#checkout = checkout;
  }
}

/** What is to be known of a pool. */
class Notes extends OnAnother {
  #notes: PoolNotes | undefined;

  static of(pool: object): PoolNotes {
    if (!(#notes in pool)) new Notes(pool).#notes = new PoolNotes();
    return (pool as Notes).#notes!;
  }
}

class PoolNotes {
  /** The checkout whose `connect` runs. */
  arriving: ConnectionCall | undefined = undefined;
  target: LastingTarget | undefined = undefined;
}

// The target of a pool whose clients are not guarded, such as those of pg-native.
const UNGUARDED_TARGET = new LastingTarget('postgresql', '', '', 0);

const BEGUN: Entry = { begun: true };

const NOOP = () => {};

const GUARDING_FAILED = 'Guarding a checkout of pg-pool failed';

/**
 * Guards the checkouts of pg-pool.
 *
 * While the circuit is closed a checkout asks for nothing: it is the first statement that makes a call, or the
 * connection that has to be made for it, which that statement takes over. Otherwise the checkout itself asks, so
 * that it is rejected before the pool has changed. One that was waiting for a client when the circuit opened is asked
 * again when its turn comes; waiting itself is never counted, since it is our own process that keeps the clients.
 *
 * @param resolve what a pool's options mean: host, port and database; `undefined` where its clients are not guarded
 */
export function patchPool(
  patches: Patches,
  { prototype }: PoolClass,
  attachment: Attachment,
  resolve: (pool: Pool) => Address | undefined,
): void {
  function targetOf(pool: Pool): LastingTarget {
    const notes = Notes.of(pool);
    if (notes.target === undefined) {
      const parameters = resolve(pool);
      notes.target = parameters === undefined ? UNGUARDED_TARGET : LastingTarget.of(toTarget(parameters));
    }
    return notes.target;
  }

  // Every statement of a pool passes this and the three others that are written out: as functions of `harmless()`, which
  // share their code, none of them is compiled into what calls it.
  function admitCheckout(pool: Pool): ConnectionCall | CircuitOpenError | undefined {
    try {
      const target = targetOf(pool);
      if (pool.ending || target === UNGUARDED_TARGET) return undefined;
      if (isServedAtOnce(pool) && attachment.isClosed(target)) return undefined;
      const checkout = new ConnectionCall(attachment, 'pg-pool.connect');
      checkout.begin();
      return attachment.isClosed(target) ? checkout : (checkout.enter(target, BEGUN) ?? checkout);
    } catch (error) {
      reportOnce(GUARDING_FAILED, error);
      return undefined;
    }
  }

  patches.replace(
    prototype,
    'connect',
    (connect) =>
      function (this: Pool, callback) {
        const checkout = admitCheckout(this);
        if (checkout === undefined) {
          const result = connect.call(this, callback);
          attachment.forgetSpan();
          return result;
        }
        if (checkout instanceof CircuitOpenError) return refuse(this, checkout, callback);
        if (checkout.isOver) return checkOut(this, checkout, () => connect.call(this, callback));
        return promisify(this, callback, (done) => {
          checkOut(this, checkout, () =>
            connect.call(this, (error, ...results) => {
              if (error) checkout.fail(error);
              done(error, ...results);
            }),
          );
        });
      },
  );

  // Here each waiting checkout has its turn.
  patches.replace(
    prototype,
    '_pulseQueue',
    (pulse) =>
      function (this: Pool) {
        shed(this);
        pulse.call(this);
      },
  );

  function shed(pool: Pool): void {
    try {
      if (pool._pendingQueue.length > 0 && !pool.ending) shedWaiting(pool);
    } catch (error) {
      reportOnce(GUARDING_FAILED, error);
    }
  }

  function shedWaiting(pool: Pool): void {
    const { _pendingQueue: queue } = pool;
    const target = targetOf(pool);
    if (target === UNGUARDED_TARGET || attachment.isClosed(target)) return;
    while (queue.length > 0 && (pool._idle.length > 0 || !pool._isFull())) {
      const item = queue[0]!;
      const checkout = CheckoutOf.get(item);
      // It has asked before.
      if (checkout?.isOver !== true) return;
      const rejection = checkout.enter(target, BEGUN);
      // Served at once, by the pulse that follows.
      if (rejection === undefined) return;
      queue.shift();
      deferRejection(() => reject(item, rejection));
    }
  }

  const admitConnection = harmless(
    'Guarding a connection of pg-pool failed',
    (pool: Pool, item: PendingItem): ConnectionCall | CircuitOpenError | undefined => {
      const notes = Notes.of(pool);
      const checkout = notes.arriving ?? CheckoutOf.get(item);
      notes.arriving = undefined;
      // Its options may have changed since the last one.
      notes.target = undefined;
      const target = targetOf(pool);
      if (target === UNGUARDED_TARGET) return undefined;
      const connection = new ConnectionCall(attachment, 'pg-pool.connect');
      if (checkout === undefined) connection.begin();
      else connection.span = checkout.span;
      if (checkout?.isOver === false) {
        connection.takeOver(checkout);
      } else {
        const rejection = connection.enter(target, BEGUN);
        if (rejection !== undefined) return rejection;
      }
      connection.sent();
      return connection;
    },
  );

  patches.replace(
    prototype,
    'newClient',
    (newClient) =>
      function (this: Pool, item) {
        const connection = admitConnection(this, item);
        if (connection instanceof CircuitOpenError) {
          deferRejection(() => {
            this._pulseQueue();
            reject(item, connection);
          });
          return;
        }
        if (connection === undefined || connection.isOver) return newClient.call(this, item);
        const isBorn = bear(this, connection);
        try {
          newClient.call(this, item);
        } catch (error) {
          connection.forgo();
          throw error;
        } finally {
          if (isBorn?.() !== true) connection.forgo();
        }
      },
  );

  patches.replace(
    prototype,
    '_acquireClient',
    (acquireClient) =>
      function (this: Pool, client, item, idleListener, isNew) {
        if (!isNew) handOver(client, item);
        acquireClient.call(this, client, item, idleListener, isNew);
      },
  );

  patches.replace(
    prototype,
    '_release',
    (release) =>
      function (this: Pool, client, idleListener, error) {
        returned(client);
        release.call(this, client, idleListener, error);
      },
  );
}

/** Whether a checkout gets an idle client with the next tick. */
function isServedAtOnce({ _idle: idle, _pendingQueue: queue }: Pool): boolean {
  return idle.length > queue.length;
}

/** @returns how many checkouts wait before this one */
const arrive = harmless(GUARDING_FAILED, (pool: Pool, checkout: ConnectionCall) => {
  Notes.of(pool).arriving = checkout;
  return pool._pendingQueue.length;
});

/** Runs pg-pool's own `connect` and remembers whose checkout it queued. */
function checkOut(pool: Pool, checkout: ConnectionCall, connect: () => unknown): unknown {
  const waiting = arrive(pool, checkout);
  try {
    return connect();
  } catch (error) {
    // Not even a client could be made.
    checkout.forgo();
    throw error;
  } finally {
    if (waiting !== undefined) checkedOut(pool, checkout, waiting);
  }
}

const checkedOut = harmless(
  'Watching a checkout of pg-pool failed',
  (pool: Pool, checkout: ConnectionCall, waiting: number) => {
    const item = pool._pendingQueue.at(-1);
    const notes = Notes.of(pool);
    if (notes.arriving === checkout && item !== undefined && pool._pendingQueue.length > waiting) {
      CheckoutOf.set(item, checkout);
    }
    notes.arriving = undefined;
    checkout.sent();
  },
);

/**
 * The next client that the pool makes carries this call from its birth, also where its class connects it later.
 *
 * @returns what ends the wait for it, and says whether it was made
 */
const bear = harmless('Watching a connection of pg-pool failed', (pool: Pool, connection: ConnectionCall) => {
  const { Client } = pool;
  let isBorn = false;
  function Born(...args: unknown[]): Client {
    pool.Client = Client;
    const client = new Client(...args);
    carry(client, connection);
    isBorn = true;
    return client;
  }
  pool.Client = Born as unknown as Pool['Client'];
  return () => {
    if (!isBorn) pool.Client = Client;
    return isBorn;
  };
});

function handOver(client: Client, item: PendingItem): void {
  try {
    const checkout = CheckoutOf.get(item);
    if (checkout?.isOver === false) carry(client, checkout);
  } catch (error) {
    reportOnce('Watching a checkout of pg-pool failed', error);
  }
}

function returned(client: Client): void {
  try {
    giveBack(client);
  } catch (error) {
    reportOnce('Watching a client of pg-pool failed', error);
  }
}

/** Unless its patience has ended meanwhile. */
function reject(item: PendingItem, error: CircuitOpenError): void {
  if (!item.timedOut) item.callback(error, undefined, NOOP);
}

/** Fails a checkout the way pg-pool does when it cannot connect. */
function refuse(pool: Pool, error: CircuitOpenError, callback: Done | undefined): unknown {
  if (callback) return deferRejection(() => callback(error, undefined, NOOP));
  return promisify(pool, undefined, (done) => deferRejection(() => done(error)));
}

/** As pg-pool gives its answers: to the callback, or as a promise whose error leads to whoever asked. */
function promisify(pool: Pool, callback: Done | undefined, run: (done: Done) => void): unknown {
  if (callback) return run(callback);
  return new pool.Promise<Client>((resolve, reject) => {
    run((error, client) => (error ? reject(error) : resolve(client!)));
  }).catch((error: Error) => {
    Error.captureStackTrace(error);
    throw error;
  });
}
