// Records all that an application can see of its clients. It runs inside the process under test and is the same with and
// without the preload, so that whatever differs between two records is the preload's doing.
'use strict';

const { AsyncLocalStorage, createHook } = require('node:async_hooks');
const { EventEmitter } = require('node:events');
const { inspect } = require('node:util');

// Where the application's code is, and where the code under test.
const APP = /[/\\]transparency[/\\]probes[/\\](?!witness|main)/;
const OURS = /[/\\]dist[/\\](?:src|instrumentations)[/\\]/;
// Once time ran out for a call, it looks for some seconds whether the event loop turns: by a timer, as is documented.
const LOOP_WATCH = /\bat Object\.(?:later|afterPoll) \(.*[/\\]dist[/\\]src[/\\]/;
// It comes with the first `fetch`, and with the preload at once.
const KNOWN_GLOBALS = new Set([1, 2].map((generation) => Symbol.for(`undici.globalDispatcher.${generation}`)));
// Ports, processes and connections that are others each time; and what a server of MySQL wants a password mixed with.
const CHANCE = new Set(['localPort', 'processID', 'processId', 'secretKey', 'connectionId']);
const SALT = /^authPluginData\d$/;
const OF_THE_NETWORK = new Set(['data', 'readable', 'session']);
const TOLD_TO_PROCESS = new Set(['warning', 'unhandledRejection', 'rejectionHandled', 'multipleResolves']);
const LONGEST_TEXT = 2_000;
// The number that Redis gives a connection, in its answer to HELLO.
const ID = /(\bid\r\n:)\d+/;
// As servers of HTTP/2 send it.
const DATE = /\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT/;

class Witness {
  /** By their labels, emitters whose events are left to chance. */
  unheard;
  /** The names of further properties that are others each time. */
  chance;
  /** Whether a promise is made so that we learn how a call ended, by the stack; counted apart from all others. */
  promiseOfOurs;
  #story = [];
  #labels = new Map();
  #counts = {};
  #running;
  #frames = 0;
  #asyncCounts = {};
  #context = new AsyncLocalStorage();
  #hook = createHook({
    init: (_id, type) => {
      if (type === 'PROMISE' && this.promiseOfOurs?.test(new Error().stack)) return;
      if ((type === 'Timeout' || type === 'Immediate') && LOOP_WATCH.test(new Error().stack)) return;
      this.#asyncCounts[type] = (this.#asyncCounts[type] ?? 0) + 1;
    },
  });

  constructor() {
    // Of the ten frames that an error keeps by default, ours would push the application's own off the end.
    Error.stackTraceLimit = 100;
    const witness = this;
    const { emit } = EventEmitter.prototype;
    EventEmitter.prototype.emit = function (event, ...args) {
      witness.#hear(this, event, args);
      return Reflect.apply(emit, this, [event, ...args]);
    };
    // Listened to, so that the process goes on; seen by the line above.
    process.on('unhandledRejection', () => {});
  }

  /**
   * Runs one probe and returns what was seen. `settle` waits until the far end has seen every connection closed, which a
   * probe leaves none of.
   */
  async watch(name, probe, settle) {
    const before = surroundings();
    this.#story = [];
    this.#labels = new Map();
    this.#counts = {};
    this.#asyncCounts = {};
    this.#frames = 0;
    this.#running = name;
    this.#hook.enable();
    await this.#context.run(name, probe);
    for (let turn = 0; turn < 3; turn++) await nextTurn();
    this.#hook.disable();
    this.#running = undefined;
    await settle();
    return {
      story: this.#story,
      asynchronous: this.#asyncCounts,
      left: changes(before, surroundings()),
      frames: this.#frames,
    };
  }

  /** Something the probe wants remembered: results, errors, states. */
  note(what, ...values) {
    this.#tell(what, ...values.map((value) => this.#describe(value, 3)));
  }

  /** What a promise comes to. */
  async outcome(what, promise) {
    try {
      const value = await promise;
      this.note(`${what} gives`, value);
      return value;
    } catch (error) {
      this.note(`${what} rejects`, error);
      return undefined;
    }
  }

  /** What a function call comes to at once. */
  attempt(what, act) {
    try {
      const value = act();
      this.note(`${what} returns`, value);
      return value;
    } catch (error) {
      this.note(`${what} throws`, error);
      return undefined;
    }
  }

  /** An object as developers look at it: printed with everything hidden, as JSON, its own keys, its listeners. */
  look(what, object, depth = 2) {
    // Ids, ports, counters and times of the day differ by themselves.
    const printed = inspect(object, { depth, showHidden: true, breakLength: Infinity, maxStringLength: 500 });
    this.#tell(`${what} printed`, printed.replace(/-?\d+/g, '#').replace(/#(\.#)+/g, '#'));
    this.#tell(`${what} has keys`, Reflect.ownKeys(object).map(String));
    this.#tell(`${what} as JSON`, asJson(object));
    this.listeners(what, object);
  }

  listeners(what, emitter) {
    if (!(emitter instanceof EventEmitter)) return;
    const counts = emitter.eventNames().map((event) => [String(event), emitter.listenerCount(event)]);
    this.#tell(`${what} has listeners`, Object.fromEntries(counts));
  }

  /** How the stack looks from here, the frames of the code under test left out, and counted. */
  stack(what) {
    const frames = framesOf(whole(() => new Error('here')));
    const ours = frames.filter((frame) => OURS.test(frame)).length;
    this.#frames = Math.max(this.#frames, ours);
    this.#tell(`${what}: stack`, frames.filter((frame) => !OURS.test(frame)).map(withoutPlace));
  }

  /** Counts microtasks from the next event of that name until `stop` is called. */
  microtasksAfter(event) {
    let count = 0;
    let counting = false;
    const tick = () => {
      if (!counting) return;
      count++;
      if (count < 1_000) Promise.resolve().then(tick);
    };
    this.#onEvent = (name) => {
      if (name !== event) return;
      count = 0;
      if (counting) return;
      counting = true;
      Promise.resolve().then(tick);
    };
    return (what) => {
      counting = false;
      this.#onEvent = undefined;
      this.#tell(`${what}: microtasks`, count);
    };
  }
  #onEvent;

  #tell(...entry) {
    if (this.#running !== undefined) this.#story.push(entry);
  }

  #hear(emitter, event, args) {
    if (this.#running === undefined) return;
    if (emitter === process && !TOLD_TO_PROCESS.has(event)) return;
    this.#onEvent?.(event);
    const entry = [this.#label(emitter), String(event), ...args.map((arg) => this.#describe(arg, 1))];
    // How the network cuts what it brings is nobody's doing; nor is a ticket of TLS.
    if (OF_THE_NETWORK.has(event) && /^(?:TLS)?Socket /.test(entry[0])) return;
    if (this.unheard?.test(entry[0])) return;
    // A monitor tells the time of the day and the port.
    if (event === 'monitor') entry.length = 2;
    // In which asynchronous context it came.
    const context = this.#context.getStore();
    if (context !== this.#running) entry.push(`in ${context}`);
    const last = this.#story.at(-1);
    if (event !== 'data' || last?.[0] !== entry[0] || last[1] !== 'data') this.#tell(...entry);
    else if (typeof last[2] === 'string') last[2] = shortened(last[2] + String(entry[2]).slice('bytes '.length));
  }

  #label(emitter) {
    let label = this.#labels.get(emitter);
    if (label === undefined) {
      const name = emitter.constructor?.name ?? 'object';
      this.#counts[name] = (this.#counts[name] ?? 0) + 1;
      label = `${name} ${this.#counts[name]}`;
      this.#labels.set(emitter, label);
    }
    return label;
  }

  #describe(value, depth) {
    if (value instanceof Error || Object.prototype.toString.call(value) === '[object DOMException]') {
      return this.#describeError(value, depth);
    }
    if (value instanceof Uint8Array)
      return shortened(`bytes ${Buffer.from(value).toString('latin1').replace(ID, '$1#')}`);
    if (value instanceof EventEmitter) return this.#label(value);
    if (typeof value === 'function') return `function ${value.name}/${value.length}`;
    if (typeof value === 'string') return shortened(value.replace(DATE, 'a date'));
    if (value instanceof URL) return String(value);
    if (typeof value !== 'object' || value === null) return String(value);
    if (value._bsontype === 'ObjectId') return 'ObjectId';
    if (value instanceof Promise || depth === 0) return value.constructor?.name ?? 'object';
    if (Array.isArray(value)) return value.map((item) => this.#describe(item, depth - 1));
    const entries = Reflect.ownKeys(value).map((key) => [
      String(key),
      // Behind symbols there are times of the day.
      typeof key === 'symbol' || CHANCE.has(key) || SALT.test(key) || this.chance?.has(key)
        ? 'something'
        : this.#describe(value[key], depth - 1),
    ]);
    return { [value.constructor?.name ?? 'null']: Object.fromEntries(entries) };
  }

  #describeError(error, depth) {
    const own = Object.getOwnPropertyNames(error).filter((key) => key !== 'stack');
    const stack = String(error.stack);
    return {
      class: [error.constructor.name, Object.getPrototypeOf(error.constructor.prototype)?.constructor.name],
      name: error.name,
      string: String(error),
      keys: Reflect.ownKeys(error).map(String),
      ...Object.fromEntries(own.map((key) => [`own ${key}`, this.#describe(error[key], Math.max(depth - 1, 0))])),
      ...(error.cause instanceof Error && { cause: this.#describeError(error.cause, 1) }),
      // Of a stack the application's own part: the rest is how clients are built.
      stack: [
        stack.split('\n')[0],
        ...framesOf(stack)
          .filter((frame) => APP.test(frame))
          .map(withoutPlace),
      ],
    };
  }
}

/** What a process has around it: what keeps it alive, who listens to it, what is global. */
function surroundings() {
  const counts = {};
  for (const resource of process.getActiveResourcesInfo()) counts[resource] = (counts[resource] ?? 0) + 1;
  for (const event of process.eventNames()) counts[`process on ${String(event)}`] = process.listenerCount(event);
  for (const key of Reflect.ownKeys(globalThis)) if (!KNOWN_GLOBALS.has(key)) counts[`global ${String(key)}`] = 1;
  return counts;
}

function changes(before, after) {
  const keys = new Set([...Object.keys(before), ...Object.keys(after)]);
  return Object.fromEntries(
    [...keys].map((key) => [key, (after[key] ?? 0) - (before[key] ?? 0)]).filter(([, change]) => change !== 0),
  );
}

function asJson(object) {
  try {
    return shortened(JSON.stringify(object)?.replace(/-?\d+/g, '#') ?? 'undefined');
  } catch (error) {
    return `throws ${error.name}`;
  }
}

function shortened(text) {
  return text.length <= LONGEST_TEXT ? text : `${text.slice(0, LONGEST_TEXT)}… (${text.length})`;
}

function whole(make) {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = Infinity;
  try {
    return make().stack;
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

function framesOf(stack) {
  return stack.split('\n').filter((line) => /^ +at /.test(line) && !line.includes('at Reflect.apply'));
}

/**
 * `Client client.js`, of `Client.query (/…/client.js:10:2)`: on what object, in which file. By the name of a function V8
 * says where an object keeps it, and which line it is, nobody's program depends on.
 */
function withoutPlace(frame) {
  const [, what, where] = /^ +at (?:(.*) \()?(.*?)(?::\d+)*\)?$/.exec(frame);
  const on = /^(?:async )?(?:new )?(?:\w+\.)?/.exec(what ?? '')[0].replace(/\.$/, '');
  return `${on} ${where.split('/').at(-1)}`.trim();
}

function nextTurn() {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Resolves at the next event of that name, whatever errors come before it. */
function heard(emitter, event) {
  return new Promise((resolve) => emitter.once(event, resolve));
}

module.exports = { Witness, heard, nextTurn };
