import type * as NodeRedis from 'redis';

type Redis = typeof NodeRedis;
export type Client = ReturnType<Redis['createClient']>;

/** Both majors that are guarded. */
export const MAJORS = [
  { major: 5, name: 'redis5' },
  { major: 6, name: 'redis' },
] as const;

type Options = NonNullable<Parameters<Redis['createClient']>[0]>;

/** Makes clients that complain to nobody, and takes all of them down again. */
export class Clients {
  readonly #redis: Redis;
  readonly #made: { destroy(): unknown }[] = [];

  constructor(name: string) {
    this.#redis = require(name) as Redis;
  }

  get redis(): Redis {
    return this.#redis;
  }

  /** One that does not connect yet. */
  client(port: number, options: Options = {}): Client {
    const { socket, ...others } = options;
    const client = this.#redis.createClient({
      socket: { host: '127.0.0.1', port, reconnectStrategy: 10, ...socket } as object,
      ...others,
    });
    client.on('error', () => {});
    this.#made.push(client);
    return client;
  }

  async connected(port: number, options: Options = {}): Promise<Client> {
    const client = this.client(port, options);
    await client.connect();
    return client;
  }

  track<T extends { destroy(): unknown }>(client: T): T {
    this.#made.push(client);
    return client;
  }

  release(): void {
    for (const client of this.#made.splice(0)) {
      try {
        client.destroy();
      } catch {
        // Closed already: version 5 says so.
      }
    }
  }
}
