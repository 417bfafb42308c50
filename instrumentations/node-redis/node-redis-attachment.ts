import { CircuitOpenError, type Guard } from '../../src/guard/guard.js';
import { Attachment } from '../attachment.js';
import { harmless } from '../harmless.js';
import type { Patches } from '../patches.js';
import type { Client, Cluster, WaitingList } from './client.js';
import { onClientEvent } from './connection-watch.js';
import { adoptChild, closeCluster, openCluster } from './connection.js';
import { Gate, refuse } from './gate.js';
import { enterQueue, leaveQueue, queued } from './node-redis-call.js';

const CLIENT_METHODS = ['sendCommand', '_executePipeline', '_executeMulti', '_getQueue', '_setIdentity'] as const;
const ENDS_OF_CLUSTERS = ['close', 'destroy', 'quit', 'disconnect'] as const;

/**
 * Guards `redis` (node-redis) 5 and 6, with its pools and clusters; `@redis/client`, which it is made of.
 *
 * The doors are `sendCommand`, `_executePipeline` and `_executeMulti` of a client: every call passes one of them once, before
 * any queue; what a client asks for its own connection passes none. What becomes of a call is read at the two ends of each
 * command that it puts into its queue, where node-redis itself tells: a `then` would hide unhandled rejections.
 */
export class NodeRedisAttachment extends Attachment {
  static readonly client = 'node-redis';

  constructor(guard: Guard) {
    super(NodeRedisAttachment.client, guard);
  }

  protected override patch(patches: Patches): void {
    const onClass = <T extends object>(file: string, methods: readonly string[], patch: (prototype: T) => void) =>
      this.onEachCopy(
        patches,
        `/@redis/client/dist/lib/${file}.js`,
        (exports) => prototypeWith<T>(exports, methods),
        patch,
      );

    onClass<Client>('client/index', CLIENT_METHODS, (prototype) => this.#guardClient(patches, prototype));
    onClass<WaitingList>('client/linked-list', ['add', 'unshift'], (prototype) => {
      patches.replace(
        prototype,
        'add',
        (add) =>
          function (this: WaitingList, command, prepend) {
            queued(command, this);
            return add.call(this, command, prepend);
          },
      );
    });
    onClass<Cluster>('cluster/index', ['connect', '_execute'], (prototype) => followCluster(patches, prototype));
  }

  #guardClient(patches: Patches, prototype: Client): void {
    const gate = new Gate(this);

    patches.replace(prototype, 'sendCommand', (sendCommand) => {
      gate.ping = (client) => sendCommand.call(client, ['PING']);
      return function (this: Client, args, options) {
        const admission = gate.askForCommand(this, args, options);
        if (admission === undefined) return sendCommand.call(this, args, options);
        if (admission instanceof CircuitOpenError) {
          return refuse(this, admission) ?? sendCommand.call(this, args, options);
        }
        const outer = enterQueue(admission);
        try {
          return sendCommand.call(this, args, options);
        } finally {
          leaveQueue(admission, outer);
        }
      };
    });

    for (const [method, name] of [
      ['_executePipeline', 'PIPELINE'],
      ['_executeMulti', 'MULTI'],
    ] as const) {
      patches.replace(
        prototype,
        method,
        (execute) =>
          function (this: Client, commands, ...rest) {
            const admission = gate.askForBatch(this, name);
            if (admission === undefined) return execute.call(this, commands, ...rest);
            if (admission instanceof CircuitOpenError) {
              return refuse(this, admission) ?? execute.call(this, commands, ...rest);
            }
            const outer = enterQueue(admission);
            try {
              return execute.call(this, commands, ...rest);
            } finally {
              leaveQueue(admission, outer);
            }
          },
      );
    }

    const onEvent = harmless('Watching a Redis connection failed', (client: Client, event: unknown, error: unknown) => {
      onClientEvent(this, gate, client, event, error);
    });
    patches.replace(
      prototype,
      'emit',
      (emit) =>
        function (this: Client, event, ...args) {
          onEvent(this, event, args[0]);
          return emit.call(this, event, ...args);
        },
    );

    const onIdentity = harmless('Following a Redis cluster failed', adoptChild);
    patches.replace(
      prototype,
      '_setIdentity',
      (setIdentity) =>
        function (this: Client, role, parentId) {
          onIdentity(this, parentId);
          return setIdentity.call(this, role, parentId);
        },
    );
  }
}

/** Its nodes are clients, and calls through them are calls to the cluster. */
function followCluster(patches: Patches, prototype: Cluster): void {
  const onOpen = harmless('Following a Redis cluster failed', openCluster);
  for (const method of ['connect', '_execute'] as const) {
    patches.replace(
      prototype,
      method,
      (original: (...args: unknown[]) => unknown) =>
        function (this: Cluster, ...args: unknown[]) {
          onOpen(this);
          return Reflect.apply(original, this, args);
        },
    );
  }
  const onClose = harmless('Following a Redis cluster failed', closeCluster);
  for (const method of ENDS_OF_CLUSTERS) {
    patches.replace(
      prototype as unknown as Record<(typeof ENDS_OF_CLUSTERS)[number], () => unknown>,
      method,
      (end) =>
        function (this: Cluster) {
          onClose(this);
          return Reflect.apply(end, this, []);
        },
    );
  }
}

/** The class that a file exports, of a version that is built as we know it. */
function prototypeWith<T extends object>(exports: unknown, methods: readonly string[]): T | undefined {
  const { default: main, DoublyLinkedList } = (exports ?? {}) as Record<string, { readonly prototype?: T } | undefined>;
  const prototype = (main ?? DoublyLinkedList)?.prototype;
  const isKnown = methods.every((method) => typeof prototype?.[method as keyof T] === 'function');
  return isKnown ? prototype : undefined;
}
