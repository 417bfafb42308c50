import http2, { type ClientHttp2Session, type ClientSessionRequestOptions, type OutgoingHttpHeaders } from 'node:http2';
import { CERTIFICATE, start, type Upstream } from './servers.js';

/** What a server does with a request, by its path. */
type Answer = (stream: http2.ServerHttp2Stream) => void;

const ok: Answer = (stream) => {
  stream.respond({ ':status': 200 });
  stream.end('ok');
};

const ANSWERS: Readonly<Record<string, Answer>> = {
  '/silence': () => {},
  '/half': (stream) => {
    stream.respond({ ':status': 200 });
    stream.write('half');
  },
  '/refused': (stream) => stream.close(http2.constants.NGHTTP2_REFUSED_STREAM),
  '/calm': (stream) => stream.close(http2.constants.NGHTTP2_ENHANCE_YOUR_CALM),
  '/cancelled': (stream) => stream.close(http2.constants.NGHTTP2_CANCEL),
  '/broken': (stream) => stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR),
  '/gone': (stream) => stream.session!.destroy(),
  '/goaway-internal-error': (stream) => stream.session!.goaway(http2.constants.NGHTTP2_INTERNAL_ERROR),
  '/goaway-calm': (stream) => stream.session!.goaway(http2.constants.NGHTTP2_ENHANCE_YOUR_CALM),
  '/goaway-after-this': (stream) => {
    stream.session!.close();
    setTimeout(() => ok(stream), 20);
  },
  '/pushes': (stream) =>
    stream.pushStream({ ':path': '/pushed' }, (_, pushed) => {
      pushed.respond({ ':status': 500 });
      pushed.end('pushed');
      ok(stream);
    }),
};

export interface Http2Upstream extends Upstream<http2.Http2Server> {
  /** The paths of the requests that came. */
  readonly paths: readonly string[];
}

/** A server of HTTP/2 without TLS, or with it. */
export async function serveHttp2(tls = false): Promise<Http2Upstream> {
  const paths: string[] = [];
  const server = tls
    ? http2.createSecureServer({ ...CERTIFICATE, allowHTTP1: true })
    : http2.createServer({ settings: { enableConnectProtocol: true } });
  server.on('session', (session) => session.on('error', () => {}));
  server.on('stream', (stream, headers) => {
    const path = headers[':path']!;
    paths.push(path);
    stream.on('error', () => {});
    const status = /^\/status\/(\d+)/.exec(path)?.[1];
    if (status === undefined) return (ANSWERS[path] ?? ok)(stream);
    stream.respond({ ':status': Number(status), 'retry-after': '60' });
    stream.end('status');
  });
  const upstream = await start(server, tls ? 'https' : 'http');
  return Object.assign(upstream, { paths });
}

/** A request to the end: status and body. */
export function request(
  session: ClientHttp2Session,
  path = '/',
  headers: OutgoingHttpHeaders = {},
  options?: ClientSessionRequestOptions,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const stream = session.request({ ':path': path, ...headers }, options);
    let status: number | undefined;
    let body = '';
    stream.setEncoding('utf8');
    stream.on('response', (answer) => (status = answer[':status']));
    stream.on('data', (chunk: string) => (body += chunk));
    stream.on('error', reject);
    stream.on('close', () => resolve(`${status} ${body}`));
  });
}
