import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

/** A proxy before a server. While it is shut, its connections break and new ones break at once. */
export class Gate {
  /** Connections that were asked for so far. */
  connections = 0;
  #open = true;
  readonly #sockets = new Set<Socket>();
  readonly #server: Server;

  private constructor(targetPort: number) {
    this.#server = createServer((client) => {
      this.connections++;
      if (!this.#open) return void client.destroy();
      const target = connect(targetPort, '127.0.0.1');
      for (const [one, other] of [
        [client, target],
        [target, client],
      ] as const) {
        this.#sockets.add(one);
        one.on('error', () => {});
        one.once('close', () => {
          this.#sockets.delete(one);
          other.destroy();
        });
        one.pipe(other);
      }
    });
  }

  /** @param port to listen on; 0 is any free one */
  static async before(targetPort: number, port = 0): Promise<Gate> {
    const gate = new Gate(targetPort);
    gate.#server.listen(port, '127.0.0.1');
    await once(gate.#server, 'listening');
    return gate;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get isOpen(): boolean {
    return this.#open;
  }

  open(): void {
    this.#open = true;
  }

  shut(): void {
    this.#open = false;
    for (const socket of this.#sockets) socket.destroy();
  }

  async close(): Promise<void> {
    this.shut();
    const closed = once(this.#server, 'close');
    this.#server.close();
    await closed;
  }
}
