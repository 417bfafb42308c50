import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

// The application's own files and sockets come from the same few thousand.
const MAX_CONNECTIONS = 100;

/**
 * The connections of the port: so many at most, each with one request at a time.
 *
 * Whoever holds connections and says nothing must not keep others out: for a new one, the one that has been idle for longest
 * makes room; where none is idle, the one that has had its answer for longest and does not take it.
 */
export class Connections {
  /** Those without a request, the one that has been idle for longest first. */
  readonly #idle = new Set<Socket>();
  /** The oldest request first. */
  readonly #busy = new Map<Socket, ServerResponse>();
  readonly #next = new Map<Socket, () => void>();

  add(socket: Socket): void {
    if (this.#idle.size + this.#busy.size >= MAX_CONNECTIONS && !this.#makeRoom()) {
      socket.destroy();
      return;
    }
    this.#idle.add(socket);
    socket.once('close', () => {
      this.#idle.delete(socket);
      this.#busy.delete(socket);
      this.#next.delete(socket);
    });
  }

  /**
   * Answers a request, unless it is a second one before the first is answered: that ends the connection. No scraper and no
   * browser sends one, and a thousand of them fit into one packet.
   */
  serve({ socket }: IncomingMessage, response: ServerResponse, answer: () => void): void {
    if (socket.destroyed) return;
    const before = this.#busy.get(socket);
    if (before === undefined) {
      this.#begin(socket, response);
      answer();
    } else if (before.writableEnded && !this.#next.has(socket)) {
      // The other end may have read all of an answer before we hear that it was sent.
      this.#next.set(socket, () => {
        this.#begin(socket, response);
        answer();
      });
    } else socket.destroy();
  }

  #begin(socket: Socket, response: ServerResponse): void {
    this.#idle.delete(socket);
    this.#busy.set(socket, response);
    const end = () => {
      if (this.#busy.get(socket) !== response) return;
      this.#busy.delete(socket);
      if (socket.destroyed) return;
      this.#idle.add(socket);
      const next = this.#next.get(socket);
      this.#next.delete(socket);
      next?.();
    };
    response.once('finish', end).once('close', end);
  }

  #makeRoom(): boolean {
    let least = this.#idle.values().next().value;
    if (least === undefined) {
      for (const [socket, response] of this.#busy) {
        if (!response.writableEnded) continue;
        least = socket;
        break;
      }
    }
    if (least === undefined) return false;
    this.#idle.delete(least);
    this.#busy.delete(least);
    least.destroy();
    return true;
  }
}
