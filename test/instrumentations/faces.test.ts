import http = require('node:http');
import { InstrumentationBase, registerInstrumentations } from '@opentelemetry/instrumentation';
import { HttpInstrumentation } from '@opentelemetry/instrumentation-http';
import { MeterProvider } from '@opentelemetry/sdk-metrics';
import { expect } from 'chai';
import { getBreakerInstrumentations, HttpBreakerInstrumentation } from '../../instrumentations/index.js';
import { PRELOAD, runNode } from '../support/child.js';
import { counts, TestGuard } from '../support/guarded.js';
import { finish } from '../support/http.js';
import { serve, stopServers } from '../support/servers.js';

describe('The face for OpenTelemetry', () => {
  after(stopServers);

  it('is an InstrumentationBase that defines no modules', () => {
    for (const instrumentation of getBreakerInstrumentations({ enabled: false })) {
      expect(instrumentation).to.be.instanceOf(InstrumentationBase);
      expect(instrumentation.getModuleDefinitions()).to.deep.equal([]);
    }
  });

  it('is attached by registerInstrumentations and detached by what it returns', async () => {
    const { origin } = await serve((_, res) => res.end('ok'));
    const guard = new TestGuard();
    const { addRequest } = http.Agent.prototype as unknown as { addRequest: unknown };
    const instrumentation = new HttpBreakerInstrumentation({ enabled: false }, guard);
    expect((http.Agent.prototype as unknown as { addRequest: unknown }).addRequest).to.equal(addRequest);

    const unregister = registerInstrumentations({
      instrumentations: [instrumentation],
      meterProvider: new MeterProvider(),
    });
    await finish(http.get(origin, { agent: false }));
    unregister();
    await finish(http.get(origin, { agent: false }));

    expect(guard.calls(origin)).to.deep.equal(counts({ success: 1 }));
    expect((http.Agent.prototype as unknown as { addRequest: unknown }).addRequest).to.equal(addRequest);
  });

  it('attaches once, beside the preload and beside another of its kind', async () => {
    const source = `
      const { getBreakerInstrumentations } = require('otel-breaker/instrumentations');
      const { globalRegistry } = require('otel-breaker');
      const { registerInstrumentations } = require('@opentelemetry/instrumentation');
      registerInstrumentations({ instrumentations: [...getBreakerInstrumentations(), ...getBreakerInstrumentations()] });
      const http = require('node:http');
      const server = http.createServer((_, res) => res.end('ok')).listen(0, '127.0.0.1', () => {
        const req = http.get({ port: server.address().port, host: '127.0.0.1', agent: false }, (res) => res.resume());
        req.on('close', () => {
          process.stdout.write(JSON.stringify(globalRegistry.getAllStats().map(({ calls }) => calls.success)));
          server.close();
        });
      });`;
    for (const nodeArgs of [[], PRELOAD]) {
      const { stdout } = await runNode({ nodeArgs, program: { kind: 'commonjs', source } });
      expect(stdout).to.equal('[1]');
    }
  });

  it('can stand in an array with an instrumentation of OpenTelemetry', () => {
    const all = [new HttpInstrumentation({ enabled: false }), new HttpBreakerInstrumentation({ enabled: false })];
    expect(all.map(({ instrumentationName }) => instrumentationName)).to.include('otel-breaker/http');
  });
});
