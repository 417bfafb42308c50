import { CircuitOpenError, type Permit } from '../../src/guard/guard.js';
import type { Target } from '../../src/target.js';
import type { NamedCall } from '../../src/telemetry/events/call-context.js';
import { hiddenProperty } from '../hidden-property.js';
import type { Patches } from '../patches.js';
import { connectWith, giveBack, handOver, toTarget, type Client, type Door } from './client.js';
import { verdictOfPgError } from '../../src/outcomes/postgresql.js';

// Captured at load: the fake timers of an application's tests must not hold rejections back.
const nextTick = process.nextTick.bind(process);

type Done = (error: unknown, client?: Client, release?: () => void) => void;

/** A checkout that waits in a pool's queue. */
interface PendingItem {
  readonly callback: Done;
}

/** A `pg-pool`, with what its types do not say. */
export interface Pool {
  readonly options: object;
  readonly Client: { readonly prototype: object };
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

/** A checkout under way: whose it is, and its permit where it had to ask for one. */
interface Checkout {
  readonly context: NamedCall;
  permit: Permit | undefined;
}

const checkouts = hiddenProperty<Checkout>();
const targets = hiddenProperty<Target | undefined>();

// The target of a pool whose clients are not guarded, such as those of pg-native.
const UNGUARDED_TARGET: Target = { system: 'postgresql', scheme: '', host: '', port: 0 };

const NOOP = () => {};

/**
 * Guards the checkouts of pg-pool.
 *
 * While the circuit is closed a checkout asks for nothing: it is the first statement that makes a call, or the
 * connection that has to be made for it, whose permit that statement takes over. Otherwise the checkout itself asks, so
 * that it is rejected before the pool has changed. One that was waiting for a client when the circuit opened is asked
 * again when its turn comes; waiting itself is never counted, since it is our own process that keeps the clients.
 *
 * @param resolve what a pool's options mean: host, port and database; `undefined` where its clients are not guarded
 */
export function patchPool(
  patches: Patches,
  { prototype }: PoolClass,
  door: Door,
  resolve: (pool: Pool) => Parameters<typeof toTarget>[0] | undefined,
): void {
  let arriving: Checkout | undefined;

  function targetOf(pool: Pool): Target {
    let target = targets.get(pool);
    if (target === undefined) {
      const parameters = resolve(pool);
      target = parameters === undefined ? UNGUARDED_TARGET : toTarget(parameters);
      targets.set(pool, target);
    }
    return target;
  }

  /** Runs pg-pool's own `connect` and remembers whose checkout it queued. */
  function checkOut(pool: Pool, checkout: Checkout, connect: () => unknown): unknown {
    const waiting = pool._pendingQueue.length;
    arriving = checkout;
    try {
      return connect();
    } finally {
      const item = pool._pendingQueue.at(-1);
      if (arriving !== undefined && item !== undefined && pool._pendingQueue.length > waiting) {
        checkouts.set(item, checkout);
      }
      arriving = undefined;
      door.sent(checkout.context, checkout.permit);
    }
  }

  patches.replace(
    prototype,
    'connect',
    (connect) =>
      function (this: Pool, callback) {
        const target = targetOf(this);
        if (this.ending || target === UNGUARDED_TARGET) return connect.call(this, callback);
        const context = door.context('pg-pool.connect');
        if (door.isClosed(target)) {
          return checkOut(this, { context, permit: undefined }, () => connect.call(this, callback));
        }
        const permit = door.enter(target, context);
        if (permit instanceof CircuitOpenError) return refuse(this, permit, callback);
        return promisify(this, callback, (done) => {
          checkOut(this, { context, permit }, () =>
            connect.call(this, (error, ...results) => {
              if (error) permit.settle(verdictOfPgError(error, true), error);
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
        if (this._pendingQueue.length > 0 && !this.ending) {
          const target = targetOf(this);
          if (target !== UNGUARDED_TARGET && !door.isClosed(target)) shed(this, target);
        }
        pulse.call(this);
      },
  );

  function shed(pool: Pool, target: Target): void {
    const { _pendingQueue: queue } = pool;
    while (queue.length > 0 && (pool._idle.length > 0 || !pool._isFull())) {
      const item = queue[0]!;
      const checkout = checkouts.get(item);
      if (checkout === undefined || checkout.permit !== undefined) return;
      const admission = door.enter(target, checkout.context);
      if (!(admission instanceof CircuitOpenError)) {
        // Served at once, by the pulse that follows.
        checkout.permit = admission;
        return;
      }
      queue.shift();
      nextTick(item.callback, admission, undefined, NOOP);
    }
  }

  patches.replace(
    prototype,
    'newClient',
    (newClient) =>
      function (this: Pool, item) {
        const checkout = arriving ?? checkouts.get(item);
        arriving = undefined;
        // Its options may have changed since the last one.
        targets.set(this, undefined);
        const target = targetOf(this);
        if (target === UNGUARDED_TARGET) return newClient.call(this, item);
        const admission = checkout?.permit ?? door.enter(target, checkout?.context ?? door.context('pg-pool.connect'));
        if (admission instanceof CircuitOpenError) {
          nextTick(() => {
            item.callback(admission, undefined, NOOP);
            this._pulseQueue();
          });
          return;
        }
        connectWith(admission, () => {
          newClient.call(this, item);
          return this._clients.at(-1);
        });
      },
  );

  patches.replace(
    prototype,
    '_acquireClient',
    (acquireClient) =>
      function (this: Pool, client, item, idleListener, isNew) {
        const permit = checkouts.get(item)?.permit;
        if (permit !== undefined && !isNew) handOver(client, permit);
        acquireClient.call(this, client, item, idleListener, isNew);
      },
  );

  patches.replace(
    prototype,
    '_release',
    (release) =>
      function (this: Pool, client, idleListener, error) {
        giveBack(client);
        release.call(this, client, idleListener, error);
      },
  );
}

/** Fails a checkout the way pg-pool does when it cannot connect. */
function refuse(pool: Pool, error: CircuitOpenError, callback: Done | undefined): unknown {
  if (callback) return nextTick(callback, error, undefined, NOOP);
  return promisify(pool, undefined, (done) => done(error));
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
