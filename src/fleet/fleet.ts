import { context as contexts, ROOT_CONTEXT } from '@opentelemetry/api';
import { randomBytes } from 'node:crypto';
import { threadId } from 'node:worker_threads';
import type { CircuitBreaker } from '../breaker/circuit-breaker.js';
import type { Transition } from '../breaker/observer.js';
import { isShared } from '../rules/shared.js';
import { log } from '../telemetry/log.js';
import type { FleetNumbers } from '../telemetry/metrics/metrics.js';
import { connectByUrl, findIoredis, IoredisEngine, type RedisClient } from './ioredis-engine.js';
import type { Engine } from './engine.js';
import { Link, type FleetView, type LinkListener } from './link.js';
import { createLocalEngine } from './local-engine.js';
import { LOCAL, type FleetSettings } from './settings.js';
import { setTimeout, clearTimeout, setImmediate } from '../breaker/real-time.js';

export type { FleetView } from './link.js';
export { resolveFleet } from './settings.js';

/** What a fleet needs of this process. */
export interface FleetHost {
  /** All breakers there are. */
  readonly breakers: Iterable<CircuitBreaker>;
  /** The span of the last failing call of a breaker, as a `traceparent`; empty where there is none. */
  readonly traceOf: (breaker: CircuitBreaker) => string;
}

/** What the console shows of the fleet as a whole. */
export interface FleetState {
  readonly mode: FleetSettings['mode'];
  readonly connected: boolean;
  readonly replicas: number;
  readonly hosts: number;
  /** Milliseconds that the last answer took. */
  readonly delay: number;
}

/** What the console shows of one breaker: plain data. */
export type FleetStanding = Omit<FleetView, 'trace'> & Pick<FleetState, 'mode' | 'connected' | 'replicas'>;

/** This process as a part of a fleet. */
export class Fleet {
  readonly #host: FleetHost;
  readonly #link: Link;
  #errors = 0;
  #isAway = false;

  private constructor(host: FleetHost, settings: FleetSettings, engine: (id: string, fleet: Fleet) => Engine) {
    this.#host = host;
    const id = `${settings.domain.slice(0, 64)}:${process.pid}:${threadId}:${randomBytes(3).toString('hex')}`;
    // On one machine each process is a voter.
    const own = settings.url === LOCAL ? { ...settings, domain: id } : settings;
    const listener: LinkListener = {
      traceOf: host.traceOf,
      onAdvice: (breaker, advice) =>
        log.info(`circuit "${breaker.name}" would be open by the fleet, which is in mode observe: ${advice}`),
      onReach: (isReached) => this.#reach(isReached),
    };
    this.#link = new Link(id, own, engine(id, this), listener, {
      now: performance.now.bind(performance),
      random: Math.random,
      later: (ms, run) => {
        const timer = setTimeout(() => {
          try {
            // What is done here belongs to no call, although a call may have brought it about.
            contexts.with(ROOT_CONTEXT, run);
          } catch (error) {
            log.error('the fleet failed; circuits decide by themselves where it does', error);
          }
        }, ms).unref();
        return () => clearTimeout(timer);
      },
    });
  }

  /** @returns `undefined` where it cannot be a part of one; the log says why */
  static start(host: FleetHost, settings: FleetSettings): Fleet | undefined {
    const engine = engineFor(settings);
    if (engine === undefined) return undefined;
    const fleet = new Fleet(host, settings, engine);
    for (const breaker of host.breakers) fleet.watch(breaker);
    // Not while the application is loaded: it brings ioredis with it.
    setImmediate(() => {
      try {
        fleet.#link.start();
      } catch (error) {
        log.error('the fleet could not start; circuits decide by themselves', error);
      }
    }).unref();
    return fleet;
  }

  watch(breaker: CircuitBreaker): void {
    if (isShared(breaker)) this.#link.watch(breaker);
  }

  forget(breaker: CircuitBreaker): void {
    this.#link.forget(breaker);
  }

  onFailure(breaker: CircuitBreaker): void {
    this.#link.onFailure(breaker);
  }

  onTransition(breaker: CircuitBreaker, transition: Transition): void {
    this.#link.onTransition(breaker, transition);
  }

  onProbeSuccess(breaker: CircuitBreaker): void {
    this.#link.onProbeSuccess(breaker);
  }

  /** What it says of a breaker; `undefined` where it does not share it. */
  viewOf(breaker: CircuitBreaker): FleetView | undefined {
    return this.#link.viewOf(breaker);
  }

  /** How a breaker stands to it, for the console; `undefined` where it does not share it. */
  standingOf(breaker: CircuitBreaker): FleetStanding | undefined {
    const view = this.viewOf(breaker);
    if (view === undefined) return undefined;
    const { mode, connected, replicas } = this.state;
    const { hosts, verdict, failing, against, stance, prober } = view;
    return { mode, connected, replicas, hosts, verdict, failing, against, stance, prober };
  }

  get numbers(): FleetNumbers {
    const { isReached, replicas, commands } = this.#link;
    return { connected: isReached, replicas: isReached ? replicas : 1, ...commands };
  }

  get state(): FleetState {
    const { settings, isReached, replicas, hosts, delay } = this.#link;
    return { mode: settings.mode, connected: isReached, replicas, hosts, delay };
  }

  /**
   * Takes new settings, and looks again at which breakers are shared.
   *
   * @returns false where they need another fleet
   */
  update(settings: FleetSettings): boolean {
    const { url, connect, namespace, domain } = this.#link.settings;
    const isSame = url === settings.url && connect === settings.connect && namespace === settings.namespace;
    if (!isSame || (url !== LOCAL && domain !== settings.domain)) return false;
    this.#link.settings = { ...settings, domain };
    for (const breaker of this.#host.breakers) {
      if (isShared(breaker)) this.#link.watch(breaker);
      else this.#link.forget(breaker);
    }
    return true;
  }

  stop(): void {
    this.#link.stop();
  }

  /** @internal Why the engine could not be asked; the first reason of each outage is told. */
  failed(error: Error): void {
    if (++this.#errors > 1) return;
    log.warn('the fleet cannot be reached; circuits decide by themselves until it can', error);
    this.#isAway = true;
  }

  #reach(isReached: boolean): void {
    if (!isReached) {
      if (!this.#isAway) log.warn('the fleet does not answer in time; circuits decide by themselves until it does');
      this.#isAway = true;
      return;
    }
    const { replicas, hosts, settings } = this.#link;
    const who = `${replicas} replica${replicas === 1 ? '' : 's'} on ${hosts} host${hosts === 1 ? '' : 's'}`;
    log[this.#isAway ? 'info' : 'debug'](`the fleet "${settings.namespace}" is reached: ${who}, mode ${settings.mode}`);
    this.#isAway = false;
    this.#errors = 0;
  }
}

function engineFor({ url, connect, namespace }: FleetSettings): ((id: string, fleet: Fleet) => Engine) | undefined {
  if (url === LOCAL && connect === undefined) return (id) => createLocalEngine(id);
  const options = { namespace, reconnects: connect === undefined };
  if (connect !== undefined) {
    return (_id, fleet) =>
      new IoredisEngine({ ...options, connect: connect as () => RedisClient, onError: (error) => fleet.failed(error) });
  }
  const ioredis = findIoredis();
  if (ioredis === undefined) {
    log.error(
      'the fleet needs ioredis, and it is not installed: circuits decide by themselves. Run: npm install ioredis',
    );
    return undefined;
  }
  return (_id, fleet) =>
    new IoredisEngine({
      ...options,
      connect: () => connectByUrl(ioredis.load(), url!)(),
      onError: (error) => fleet.failed(error),
    });
}
