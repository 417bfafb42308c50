import type { Cluster, Redis, RedisOptions } from 'ioredis';
import type * as IoredisModule from 'ioredis';

type Ioredis = typeof IoredisModule;

/** Options of either major: what the newer one calls them does not fit the older one's name for the same. */
type Options = RedisOptions & Record<string, unknown>;

/** Both majors that are guarded. */
export const MAJORS = [
  { major: 5, name: 'ioredis5' },
  { major: 6, name: 'ioredis' },
] as const;

/** Makes clients that complain to nobody, and takes all of them down again. */
export class Clients {
  readonly #ioredis: Ioredis;
  readonly #made: { disconnect(): void }[] = [];

  constructor(name: string) {
    this.#ioredis = require(name) as Ioredis;
  }

  get Redis(): Ioredis['Redis'] {
    return this.#ioredis.Redis;
  }

  redis(port: number, options: Options = {}): Redis {
    return this.track(new this.#ioredis.Redis(port, '127.0.0.1', options as object));
  }

  sentinel(options: Options): Redis {
    return this.track(new this.#ioredis.Redis(options as object));
  }

  cluster(...args: ConstructorParameters<Ioredis['Cluster']>): Cluster {
    return this.track(new this.#ioredis.Cluster(...args));
  }

  track<Client extends Redis | Cluster>(client: Client): Client {
    client.on('error', () => {});
    this.#made.push(client);
    return client;
  }

  release(): void {
    for (const client of this.#made.splice(0)) client.disconnect();
  }
}

/** Resolves at the next event of that name, whatever errors the client meets until then. */
export async function heard(client: Redis | Cluster, event: string): Promise<void> {
  await new Promise<void>((resolve) => {
    client.once(event, () => resolve());
  });
}

/** The error that a promise rejects with. */
export async function rejection(promise: Promise<unknown>): Promise<Error & { code?: string; command?: unknown }> {
  return promise.then(
    (value) => {
      throw new Error(`Expected a rejection, got ${JSON.stringify(value)}`);
    },
    (error: Error) => error,
  );
}
