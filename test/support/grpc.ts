import grpc = require('@grpc/grpc-js');
import { join } from 'node:path';

type Status = grpc.StatusObject;
type Rest = readonly unknown[];

export interface EchoServer {
  readonly port: number;
  /** The method of each call that came. */
  readonly calls: readonly string[];
  stop(): void;
}

export interface EchoClient extends grpc.Client {
  ask(request: string, ...rest: Rest): grpc.ClientUnaryCall;
  pull(request: string, ...rest: Rest): grpc.ClientReadableStream<string>;
  push(...rest: Rest): grpc.ClientWritableStream<string>;
  chat(...rest: Rest): grpc.ClientDuplexStream<string, string>;
}

/** `test/fixtures/grpc/echo.cjs`. */
interface Echo {
  serve(port?: number, credentials?: grpc.ServerCredentials, host?: string): Promise<EchoServer>;
  connect(target: string, options?: grpc.ClientOptions): EchoClient;
  ask(client: EchoClient, request?: string, ...rest: Rest): Promise<string>;
  pull(client: EchoClient, request?: string, ...rest: Rest): Promise<string>;
  push(client: EchoClient, parts: readonly string[], ...rest: Rest): Promise<string>;
  chat(client: EchoClient, parts: readonly string[], ...rest: Rest): Promise<string>;
}

const makeEcho = require(join(__dirname, '../fixtures/grpc/echo.cjs')) as (copy: typeof grpc) => Echo;

/** A service of gRPC with a method of each kind, and its clients. */
export const echo: Echo = makeEcho(grpc);

export type ServiceError = Error & Status & { readonly cause?: unknown };
