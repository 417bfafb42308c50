import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import { SMTPServer, type SMTPServerOptions } from 'smtp-server';

/** A step of the conversation, and what the server answers it with in the place of a welcome. */
export type Fault = Readonly<
  Partial<Record<'connect' | 'auth' | 'from' | 'to' | 'data', readonly [code: number, text: string]>>
>;

/** A mail server of the tests, `smtp-server`: it takes every message, unless a fault says otherwise, and every password but `wrong`. */
export class MailServer {
  fault: Fault = {};
  /** To whom messages came. */
  readonly received: string[] = [];
  connections = 0;
  readonly #server: SMTPServer;
  readonly #sockets = new Set<Socket>();

  private constructor(options: SMTPServerOptions) {
    this.#server = new SMTPServer({
      authOptional: true,
      allowInsecureAuth: true,
      disabledCommands: ['STARTTLS'],
      disableReverseLookup: true,
      closeTimeout: 100,
      onConnect: (_, done) => {
        this.connections++;
        done(this.#errorAt('connect'));
      },
      onAuth: ({ username, password }, _, done) => {
        const error = this.#errorAt('auth');
        if (error !== undefined) done(error);
        else if (password === 'wrong') done(errorOf(535, 'Invalid username or password'));
        else done(undefined, { user: username });
      },
      onMailFrom: (_, __, done) => done(this.#errorAt('from')),
      onRcptTo: ({ address }, _, done) => done(address.startsWith('fine') ? undefined : this.#errorAt('to')),
      onData: (stream, { envelope }, done) => {
        stream.resume().on('end', () => {
          const error = this.#errorAt('data');
          if (error === undefined) this.received.push(...envelope.rcptTo.map(({ address }) => address));
          done(error);
        });
      },
      ...options,
    });
    this.#server.on('error', () => {});
    this.#server.server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
  }

  /** @param port default any that is free */
  static async start(options: SMTPServerOptions = {}, port = 0): Promise<MailServer> {
    const server = new MailServer(options);
    server.#server.listen(port, '127.0.0.1');
    await once(server.#server.server, 'listening');
    return server;
  }

  get port(): number {
    return (this.#server.server.address() as AddressInfo).port;
  }

  /** The name of its breaker. */
  get target(): string {
    return `smtp://127.0.0.1:${this.port}`;
  }

  async stop(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #errorAt(step: keyof Fault): Error | undefined {
    const reply = this.fault[step];
    return reply && errorOf(...reply);
  }
}

/** What makes a server answer with a reply of its own. */
export function errorOf(responseCode: number, message: string): Error {
  return Object.assign(new Error(message), { responseCode });
}
