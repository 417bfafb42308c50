import { expect } from 'chai';
import { METRICS_ADDRESS, startApp, stopApps } from '../support/app.js';
import { PRELOAD } from '../support/child.js';
import { serveCollector } from '../support/collector.js';
import { findDeadPort, stopServers } from '../support/servers.js';

/** Calls a dead target whenever it is asked to; an SDK of its own, where it is to have one, comes with the preload. */
const source = `
  const http = require('node:http');
  const call = () => new Promise((resolve) => http.get(process.env.TARGET).on('error', resolve));
  process.on('message', async () => {
    for (let i = 0; i < 6; i++) await call();
    console.log('called');
  });
  setInterval(() => {}, 1_000);
`;

/** An application's own SDK, for traces alone, so that metrics leave at the port of the preload. */
const OWN_SDK = `
  const { NodeSDK } = require('@opentelemetry/sdk-node');
  const { HttpInstrumentation } = require('@opentelemetry/instrumentation-http');
  new NodeSDK({ instrumentations: [new HttpInstrumentation()], metricReaders: [] }).start();
`;

interface Traces {
  readonly traces: { readonly spans: { readonly kind: string; readonly events: { readonly name: string }[] }[] }[];
}

describe('traces of the console', () => {
  afterEach(async () => {
    await stopApps();
    await stopServers();
  });

  const setups: Readonly<Record<string, string>> = {
    'stand-alone tracing': source,
    'an SDK of the application': OWN_SDK + source,
  };
  for (const [name, program] of Object.entries(setups)) {
    it(`are those of the process, with ${name}, and still reach their exporter`, async () => {
      const collector = await serveCollector();
      const app = startApp({
        nodeArgs: PRELOAD,
        ipc: true,
        env: {
          TARGET: `http://127.0.0.1:${await findDeadPort()}/`,
          OTEL_TRACES_EXPORTER: 'otlp',
          OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
          OTEL_EXPORTER_OTLP_ENDPOINT: collector.endpoint,
          OTEL_LOGS_EXPORTER: 'none',
          OTEL_METRICS_EXPORTER: 'none',
          OTEL_NODE_RESOURCE_DETECTORS: 'none',
          OTEL_BSP_SCHEDULE_DELAY: '50',
        },
        program: { kind: 'commonjs', source: program },
      });
      const [, address] = await app.prints('stderr', METRICS_ADDRESS);
      app.child.send('go');
      await app.prints('stdout', /called/);
      const { traces } = (await (await fetch(address!.replace('/metrics', '/traces'))).json()) as Traces;
      // The newest first: the rejected call, and the one that opened the circuit.
      const spans = traces.map(({ spans: [span, ...others] }) => {
        expect(others).to.be.empty;
        return [span!.kind, ...span!.events.map((event) => event.name).filter((event) => event !== 'exception')];
      });
      expect(spans).to.deep.equal([
        ['client', 'circuit_breaker.rejected'],
        ['client', 'circuit_breaker.state_transition'],
      ]);
      await collector.until(() => collector.spans.length >= 6);
    });
  }
});
