'use strict';

const { createTransport } = require('nodemailer');
const { timer } = require('../caller.cjs');
const { oneByOne, staggered } = require('../calls.cjs');

// What is sent from there meets with what happens.
const MARKED = 'verdict@example.com';
// As many failures as it takes to open, and more.
const CALLS = 12;
const MANY = 20;

const make = ({ port }, options) => createTransport({ host: '127.0.0.1', port, ...options }).on('error', () => {});
const send = (transport, from, options) =>
  transport.sendMail({ from, to: 'you@example.com', text: 'Hello', ...options });

/** By the port of what they send to, transports that have sent a message: with nothing else going on, so that it was fast. */
const warmed = new Map();

/** @param options by what happens to the messages of such a transport */
const warmUp = (options) => async (ends) => {
  for (const [happening, farEnd] of Object.entries(ends)) {
    if (options[happening] === undefined) continue;
    const transport = make(farEnd, options[happening]);
    await send(transport, 'warm@example.com');
    warmed.set(farEnd.port, transport);
  }
};

/** Messages of a transport that has sent one before. */
const warm = (use) => async (farEnd) => {
  const transport = warmed.get(farEnd.port);
  const seen = await use((options) => send(transport, MARKED, options));
  transport.close();
  return { before: 1, ...seen };
};

const atOnce = (calls, forEach = () => ({})) =>
  warm(async (sendMarked) => ({ calls, saw: await staggered(calls, 50, () => sendMarked(forEach())) }));

const inTurn = (calls) => warm(async (sendMarked) => ({ calls, saw: await oneByOne(calls, () => sendMarked()) }));

/** Connections that cannot be made; more than it takes, since some are excused where our own loop stands. */
const noConnection = (options) => async (farEnd) => {
  const transport = make(farEnd, { connectionTimeout: 1_200, greetingTimeout: 1_200, ...options });
  const saw = await staggered(MANY, 50, () => send(transport, MARKED));
  transport.close();
  return { before: 0, cold: true, calls: MANY, saw };
};

const cancelled = (calls, ms) => atOnce(calls, () => ({ signal: timer(ms) }));

const wayOf = (options, others = {}) => ({
  warmUp: warmUp({
    silent: { ...options, socketTimeout: 1_200 },
    timeout: { ...options, socketTimeout: 500 },
    ...Object.fromEntries(['cancel', 'reset', 'stale', 'cut'].map((happening) => [happening, options])),
  }),
  happenings: {
    silent: atOnce(MANY),
    timeout: atOnce(MANY),
    cancel: cancelled(3, 200),
    syn: noConnection(options),
    tls: noConnection({ ...options, secure: true }),
    reset: inTurn(CALLS),
    cut: inTurn(CALLS),
    ...others,
  },
});

module.exports = {
  'nodemailer, socketTimeout': wayOf({}),
  'nodemailer, signal': {
    warmUp: warmUp({ silent: {}, timeout: {}, cancel: {} }),
    happenings: { silent: cancelled(MANY, 1_200), timeout: cancelled(MANY, 500), cancel: cancelled(3, 200) },
  },
  'nodemailer, pool': wayOf({ pool: true, maxConnections: MANY }, { stale: inTurn(1) }),
};
