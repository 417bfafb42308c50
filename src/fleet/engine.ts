import type { Message, Reply, Request } from './protocol.js';

/** What a link hears of its engine. */
export interface EngineListener {
  /** Requests can be sent from now on, and messages come. */
  onConnected(): void;
  onMessage(message: Message): void;
}

/** Where the verdicts of a fleet are kept: Redis, or the main process of this machine. Nothing of it ever throws. */
export interface Engine {
  readonly isConnected: boolean;
  start(listener: EngineListener): void;
  /** @param done gets the reply, or `undefined` where there will be none */
  send(request: Request, done: (reply: Reply | undefined) => void): void;
  /** It has not answered for a while: connects anew. */
  restart(): void;
  stop(): void;
}
