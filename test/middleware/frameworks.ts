import 'reflect-metadata';
import { serve, type HttpBindings } from '@hono/node-server';
import { Controller, Get, Module, Query, Res, type MiddlewareConsumer } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import express, { type ErrorRequestHandler, type Express } from 'express';
import fastify from 'fastify';
import { Hono } from 'hono';
import { stream } from 'hono/streaming';
import Koa from 'koa';
import { once, type EventEmitter } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { PassThrough } from 'node:stream';
import type { CircuitBreakerMiddleware } from '../../src/middleware/index.js';
import { listen, type ListeningServer } from '../support/listen.js';

// The alias has no types of its own; those of Express 5 are right for what is used here.
const express4 = require('express4') as typeof express;

/**
 * What every framework's application does:
 * `/work?status=…` answers with that status, `/throw` fails with the error, `/hang` says `arrived` and never answers,
 * `/stream` sends a part and the rest when told `finish`, `/health` is a health check; each request says `route` first.
 */
export interface Story {
  readonly events: EventEmitter;
  readonly error: Error;
}

export interface Framework {
  readonly name: string;
  /** Whether it shows the middleware what a route has thrown. */
  readonly showsErrors: boolean;
  /** What a request gets whose route throws. */
  readonly statusOfError: number;
  start(guard: CircuitBreakerMiddleware, story: Story): Promise<ListeningServer>;
}

function expressApp(create: typeof express, guard: CircuitBreakerMiddleware, { events, error }: Story): Express {
  const app = create();
  // Keeps Express from printing the errors of routes.
  app.set('env', 'test');
  app.use(guard);
  app.use((_request, _response, next) => {
    events.emit('route');
    next();
  });
  app.get('/work', (request, response) => {
    response.status(Number(request.query.status)).send('work');
  });
  app.get(
    '/throw',
    create === express
      ? () => Promise.reject(error)
      : // Express 4 knows nothing of promises.
        guard.handler(() => Promise.reject(error)),
  );
  app.get('/hang', () => void events.emit('arrived'));
  app.get('/stream', (_request, response) => {
    response.write('part');
    events.once('finish', () => response.end('rest'));
  });
  app.get('/health', (_request, response) => void response.send('ok'));
  const quiet: ErrorRequestHandler = (_error, _request, response, _next) => void response.status(500).send('failed');
  app.use(quiet);
  return app;
}

const nodeHttp: Framework = {
  name: 'node:http',
  showsErrors: true,
  statusOfError: 502,
  start: (guard, { events, error }) =>
    listen(
      guard.handler(async (request: IncomingMessage, response: ServerResponse) => {
        events.emit('route');
        const { pathname, searchParams } = new URL(request.url!, 'http://localhost');
        if (pathname === '/throw') throw error;
        if (pathname === '/hang') events.emit('arrived');
        else if (pathname === '/stream') {
          response.write('part');
          events.once('finish', () => response.end('rest'));
        } else {
          response.statusCode = Number(searchParams.get('status') ?? 200);
          response.end('work');
        }
      }),
    ),
};

const express5: Framework = {
  name: 'Express 5',
  showsErrors: false,
  statusOfError: 500,
  start: (guard, story) => listen(createServer(expressApp(express, guard, story))),
};

const express4Framework: Framework = {
  name: 'Express 4',
  showsErrors: true,
  statusOfError: 500,
  start: (guard, story) => listen(createServer(expressApp(express4, guard, story))),
};

const fastify5: Framework = {
  name: 'Fastify 5',
  showsErrors: true,
  statusOfError: 500,
  async start(guard, { events, error }) {
    const app = fastify({ forceCloseConnections: true });
    await app.register(guard.fastify);
    app.addHook('onRequest', async () => void events.emit('route'));
    app.get<{ Querystring: { status: string } }>('/work', async (request, reply) =>
      reply.code(Number(request.query.status)).send('work'),
    );
    app.get('/throw', () => Promise.reject(error));
    app.get('/hang', () => {
      events.emit('arrived');
      return new Promise(() => {});
    });
    app.get('/stream', async (_request, reply) => {
      const body = new PassThrough();
      body.write('part');
      events.once('finish', () => body.end('rest'));
      return reply.send(body);
    });
    app.get('/health', async () => 'ok');
    const url = await app.listen({ port: 0, host: '127.0.0.1' });
    return { url, server: app.server, close: () => app.close() };
  },
};

const koa3: Framework = {
  name: 'Koa 3',
  showsErrors: true,
  statusOfError: 500,
  start(guard, { events, error }) {
    const app = new Koa();
    app.silent = true;
    app.use(guard.koa);
    app.use(async (context) => {
      events.emit('route');
      if (context.path === '/throw') throw error;
      if (context.path === '/hang') {
        events.emit('arrived');
        return new Promise<void>(() => {});
      }
      if (context.path === '/stream') {
        const body = new PassThrough();
        body.write('part');
        events.once('finish', () => body.end('rest'));
        context.body = body;
        return;
      }
      context.status = Number(context.query.status ?? 200);
      context.body = 'work';
    });
    return listen(createServer((request, response) => void app.callback()(request, response)));
  },
};

const hono: Framework = {
  name: 'Hono',
  showsErrors: true,
  statusOfError: 500,
  async start(guard, { events, error }) {
    const app = new Hono<{ Bindings: HttpBindings }>();
    app.onError((_error, context) => context.text('failed', 500));
    app.use(guard.hono);
    app.use(async (_context, next) => {
      events.emit('route');
      await next();
    });
    app.get('/work', (context) => new Response('work', { status: Number(context.req.query('status')) }));
    app.get('/throw', () => {
      throw error;
    });
    app.get('/hang', () => {
      events.emit('arrived');
      return new Promise<Response>(() => {});
    });
    app.get('/stream', (context) =>
      stream(context, async (body) => {
        const finish = once(events, 'finish');
        await body.write('part');
        await finish;
        await body.write('rest');
      }),
    );
    app.get('/health', (context) => context.text('ok'));
    const server = serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }) as Server;
    await once(server, 'listening');
    return {
      url: `http://127.0.0.1:${(server.address() as { port: number }).port}`,
      server,
      close: () =>
        new Promise<void>((closed) => {
          server.close(() => closed());
          server.closeAllConnections();
        }),
    };
  },
};

/** Nest's decorators are those of `experimentalDecorators`; called by hand they do the same. */
function decorate(type: new (...args: never[]) => object, key: string, decorators: readonly MethodDecorator[]): void {
  const descriptor = Object.getOwnPropertyDescriptor(type.prototype, key)!;
  for (const decorator of decorators) decorator(type.prototype as object, key, descriptor);
}

const nest: Framework = {
  name: 'NestJS',
  showsErrors: false,
  statusOfError: 500,
  async start(guard, { events, error }) {
    class Routes {
      work(status: string, response: ServerResponse): void {
        response.statusCode = Number(status);
        response.end('work');
      }
      throw(): Promise<never> {
        return Promise.reject(error);
      }
      hang(): Promise<never> {
        events.emit('arrived');
        return new Promise(() => {});
      }
      stream(response: ServerResponse): void {
        response.write('part');
        events.once('finish', () => response.end('rest'));
      }
      health(): string {
        return 'ok';
      }
    }
    for (const route of ['work', 'throw', 'hang', 'stream', 'health']) decorate(Routes, route, [Get(route)]);
    Query('status')(Routes.prototype, 'work', 0);
    Res()(Routes.prototype, 'work', 1);
    Res()(Routes.prototype, 'stream', 0);
    Controller()(Routes);
    class App {
      configure(consumer: MiddlewareConsumer): void {
        const tell = (_request: unknown, _response: unknown, next: () => void) => {
          events.emit('route');
          next();
        };
        consumer.apply(guard, tell).forRoutes(Routes);
      }
    }
    Module({ controllers: [Routes] })(App);
    const app = await NestFactory.create(App, { logger: false, forceCloseConnections: true });
    await app.listen(0, '127.0.0.1');
    return { url: await app.getUrl(), server: app.getHttpServer() as Server, close: () => app.close() };
  },
};

export const frameworks: readonly Framework[] = [nodeHttp, express5, express4Framework, fastify5, koa3, hono, nest];
