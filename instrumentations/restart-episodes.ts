// A server that restarts resets its idle connections one by one: tells those resets from new failures.
import { OnAnother } from './hidden-property.js';

// Captured at load: the fake timers of an application's tests must not stretch an episode.
const now = performance.now.bind(performance);

// As long as a pool of idle connections may take to find out, one by one, that its server has restarted.
const EPISODE_MS = 60_000;

interface Episode {
  readonly until: number;
  readonly serial: number;
}

let serial = 0;
// On connections: the newest episode, of any target, at their last answer. A number that only grows does what a clock
// would do, without reading one for each answer.
class AnsweredIn extends OnAnother {
  #serial = 0;

  static get(connection: object): number | undefined {
    return #serial in connection ? connection.#serial : ofOwnStreams.get(connection);
  }

  static set(connection: object, serial: number): void {
    if (!(#serial in connection)) {
      if (isOwnStream(connection)) return void ofOwnStreams.set(connection, serial);
      new AnsweredIn(connection);
    }
    (connection as AnsweredIn).#serial = serial;
  }
}

// For a field more, V8 may turn an object of the application's own class into a dictionary, which is slow from then on.
const ofOwnStreams = new WeakMap<object, number>();

/** Whether a connection is a stream that the application has made in the place of a socket. */
function isOwnStream(connection: object): boolean {
  return 'pipe' in connection && !('_handle' in connection);
}

const episodes = new WeakMap<object, Episode>();

/** A connection has brought an answer. */
export function noteAnswer(connection: object): void {
  AnsweredIn.set(connection, serial);
}

/** Whether the reset of a connection is part of a restart of its server, and so nothing new, as `restartOf` has it. */
export function isPartOfRestart(target: object, connection: object | null | undefined, reused = false): boolean {
  return restartOf(target, connection, reused) !== undefined;
}

/**
 * Whether the reset of a connection is the first of a restart of its server, or a further one: connections that had
 * answered before are reset together, or one by one as they are taken from a pool. One that has answered since the first
 * of these resets tells of another one.
 *
 * @param target whose connections these are; anything that lasts as long as it is called
 * @param reused whether it must have answered before, also where nobody noted that
 * @returns nothing where it is no part of one
 */
export function restartOf(
  target: object,
  connection: object | null | undefined,
  reused = false,
): 'first' | 'further' | undefined {
  const answered = (connection && AnsweredIn.get(connection)) ?? (reused ? -1 : undefined);
  if (answered === undefined) return undefined;
  const at = now();
  const episode = episodes.get(target);
  if (episode === undefined || at >= episode.until) {
    episodes.set(target, { until: at + EPISODE_MS, serial: ++serial });
    return 'first';
  }
  return answered < episode.serial ? 'further' : undefined;
}
