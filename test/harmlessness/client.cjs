// One client under the preload, with a fault in one function of ours after the other. Prints what went wrong as JSON.
'use strict';
process.env.OTEL_BREAKER_METRICS = 'off';
const faults = require('./faults.cjs');
require('otel-breaker/register');
const { configure, globalRegistry } = require('otel-breaker');
const { diagnostics } = require('../../dist/src/breaker/diagnostics.js');
const { trace, context, SpanKind } = require('@opentelemetry/api');
const { NodeTracerProvider } = require('@opentelemetry/sdk-trace-node');

// No circuit opens but by hand.
configure({ defaults: { failureThreshold: 1_000_000, minimumCalls: 1_000_000 } });
new NodeTracerProvider().register();

const problems = [];
let messages = [];
let place = '';
diagnostics.report = (message) => messages.push(message);
process.on('unhandledRejection', (error) => problems.push(`${place}: unhandled rejection ${String(error)}`));
process.on('uncaughtException', (error) => problems.push(`${place}: uncaught ${error.stack}`));

// What reads errors and intrinsics that may be hostile, and so expects to fail; what runs by a timer, later than the call,
// or not with each call.
const MAY_BE_SILENT = /failure-note|values|limitStacks|event-loop-stalls|olderThan/;

const TOO_LONG = 5_000;
const soon = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** A call within a client span of somebody who gave no name, as JavaScript lets them. */
async function traced(call) {
  const span = trace.getTracer().startSpan('around', { kind: SpanKind.CLIENT });
  return context.with(trace.setSpan(context.active(), span), call).finally(() => span.end());
}

async function outcomeOf(call) {
  let timer;
  const tooLong = new Promise((resolve) => (timer = setTimeout(resolve, TOO_LONG, 'no end')));
  const outcome = await Promise.race([
    traced(call).then(
      (value) => `got ${value}`,
      (error) => `failed ${error.code ?? error.cause?.code ?? error.message}`,
    ),
    tooLong,
  ]);
  clearTimeout(timer);
  return outcome;
}

async function main() {
  const { calls, end } = await require(`./clients/${process.argv[2]}.cjs`)();
  let tried = 0;
  for (const { name, call, open } of calls) {
    const ready = () => {
      globalRegistry.resetAll();
      if (open) for (const breaker of globalRegistry) breaker.forceOpen();
    };
    // Twice: what is done at the first call is done.
    await outcomeOf(call);
    ready();
    const usual = await outcomeOf(call);
    ready();
    for (const { id, name: place_ } of await faults.record(() => outcomeOf(call))) {
      place = `${name}: ${place_}`;
      tried++;
      messages = [];
      ready();
      const inFlight = () => [...globalRegistry].reduce((sum, breaker) => sum + breaker.tally.inFlight, 0);
      const before = inFlight();
      const outcome = await faults.withFault(id, async () => {
        const result = await outcomeOf(call);
        await soon(5);
        return result;
      });
      // A rejected call may be made after all, if what rejects it is what fails.
      const allowed = open ? [usual, calls[0].usual] : [usual];
      if (!allowed.includes(outcome)) problems.push(`${place}: ${outcome}, not ${usual}`);
      // One for each place of ours that is struck: a connection of pg asks for its target in three.
      if (messages.length > 3 || (messages.length === 0 && faults.wasStruck() && !MAY_BE_SILENT.test(place))) {
        problems.push(`${place}: ${messages.length} messages`);
      }
      if (/instrumentations/.test(place) && inFlight() > before) problems.push(`${place}: a permit is not settled`);
    }
    calls[0].usual ??= usual;
  }
  await end();
  process.stdout.write(JSON.stringify({ tried, problems }));
}

main().then(
  () => process.exit(),
  (error) => {
    process.stderr.write(error.stack);
    process.exit(1);
  },
);
