import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

// The application's own files and sockets come from the same few thousand.
const MAX_CONNECTIONS = 100;

/**
 * The connections of the port: a bounded number, each with one request at a time.
 *
 * Whoever holds connections and says nothing must not keep others out. For a new one, the oldest that has never asked for
 * anything makes room, then the one that has been idle for longest, as scrapers keep them; then the one that has had its
 * answer for longest and does not take it.
 */
export class Connections {
  /** Those that have not asked for anything yet, the oldest first. */
  readonly #silent = new Set<Socket>();
  /** Those that have had an answer, the one that has been idle for longest first. */
  readonly #idle = new Set<Socket>();
  /** The oldest request first. */
  readonly #busy = new Map<Socket, ServerResponse>();
  readonly #next = new Map<Socket, () => void>();

  add(socket: Socket): void {
    if (this.#silent.size + this.#idle.size + this.#busy.size >= MAX_CONNECTIONS && !this.#makeRoom()) {
      socket.destroy();
      return;
    }
    this.#silent.add(socket);
    socket.once('close', () => {
      this.#silent.delete(socket);
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
    this.#silent.delete(socket);
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
    let least = this.#silent.values().next().value ?? this.#idle.values().next().value;
    if (least === undefined) {
      for (const [socket, response] of this.#busy) {
        if (!response.writableEnded) continue;
        least = socket;
        break;
      }
    }
    if (least === undefined) return false;
    this.#silent.delete(least);
    this.#idle.delete(least);
    this.#busy.delete(least);
    least.destroy();
    return true;
  }
}
