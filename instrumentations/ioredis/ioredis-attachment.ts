import type { Guard } from '../../src/guard/guard.js';
import { Attachment } from '../attachment.js';
import { harmless } from '../harmless.js';
import type { Patches } from '../patches.js';
import type { Client } from './client.js';
import type { Command, CommandConstructor, Pipeline } from './command.js';
import { ConnectionWatch } from './connection-watch.js';
import { Gate } from './gate.js';
import { joinBatch, resolved } from './redis-call.js';

interface Constructor<T> {
  new (...args: never[]): T;
  readonly prototype: T;
}

type PipelineConstructor = Constructor<Pipeline>;

interface RedisConstructor extends Constructor<Client> {
  readonly Cluster: Constructor<Client>;
  readonly Command: CommandConstructor;
}

/**
 * Guards `ioredis` 5 and 6.
 *
 * The door is `sendCommand`, of `Cluster` for a cluster and of `Redis` for everything else: every command passes it once
 * before any queue, and again whenever it is sent. What becomes of it is read by taking its `reject` over, and by what its
 * `resolve` asks.
 * ioredis connects and reconnects by itself, untouched; that it cannot is evidence too.
 */
export class IoredisAttachment extends Attachment {
  static readonly client = 'ioredis';

  constructor(guard: Guard) {
    super(IoredisAttachment.client, guard);
  }

  protected override patch(patches: Patches): void {
    const onClass = <T extends Constructor<object>>(ending: string, method: string, patch: (found: T) => void) =>
      this.onEachCopy(patches, ending, (exports) => classWith<T>(exports, method), patch);

    onClass<RedisConstructor>('/built/Redis.js', 'silentEmit', ({ prototype, Cluster, Command }) => {
      const connections = new ConnectionWatch(this, patches);
      const heard = hearResolutions(patches, Command);
      for (const clients of [prototype, Cluster.prototype]) {
        this.#guardCommands(patches, clients, Command, heard);
        connections.watchStatus(clients);
        connections.watchDisconnect(clients);
      }
      connections.watchRedis(prototype);
      connections.watchCluster(Cluster.prototype);
    });
    onClass<PipelineConstructor>('/built/Pipeline.js', 'addBatch', ({ prototype }) =>
      gatherPipelines(patches, prototype),
    );
  }

  #guardCommands(
    patches: Patches,
    prototype: Client,
    Command: CommandConstructor,
    heard: Command['transformReply'] | undefined,
  ): void {
    patches.replace(prototype, 'sendCommand', (sendCommand) => {
      const gate = new Gate(this, Command, sendCommand, heard);
      return function (this: Client, command, stream, node) {
        if (gate.refuses(this, command)) return command.promise;
        const reply = sendCommand.call(this, command, stream, node);
        gate.sent(command);
        return reply;
      };
    });
  }
}

/**
 * Hears of commands that resolve, whoever resolves them, without a function for each command.
 *
 * @returns the `transformReply` of such commands; nothing where this version of ioredis does not ask it
 */
function hearResolutions(patches: Patches, Command: CommandConstructor): Command['transformReply'] | undefined {
  if (asksToTransform(Command) !== true) return undefined;
  const prototype = Command.prototype as Command;
  patches.replace(
    prototype,
    'transformReply',
    (transformReply) =>
      function (this: Command, reply) {
        resolved(this);
        return transformReply.call(this, reply);
      },
  );
  return prototype.transformReply;
}

const asksToTransform = harmless('Looking at how Redis commands end failed', (Command: CommandConstructor): boolean => {
  let asked = false;
  const trial = new Command('ping', [], {});
  trial.transformReply = (reply) => {
    asked = true;
    return reply;
  };
  trial.resolve('PONG');
  return asked;
});

function gatherPipelines(patches: Patches, prototype: Pipeline): void {
  const join = harmless('Following a Redis pipeline failed', joinBatch);
  patches.replace(
    prototype,
    'sendCommand',
    (sendCommand) =>
      function (this: Pipeline, command) {
        join(this, command);
        return sendCommand.call(this, command);
      },
  );
}

function classWith<T extends Constructor<object>>(exports: unknown, method: string): T | undefined {
  const found = (exports as { default?: T } | undefined)?.default;
  const prototype = typeof found === 'function' ? (found.prototype as Record<string, unknown> | undefined) : undefined;
  return typeof prototype?.[method] === 'function' ? found : undefined;
}
