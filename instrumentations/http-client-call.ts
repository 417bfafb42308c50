import { reportOnce } from '../src/breaker/diagnostics.js';
import { ANSWERED } from '../src/breaker/permit.js';
import { isGoodStatus, settleByStatus, type HeaderReader } from '../src/outcomes/http.js';
import { ClientCall } from './client-call.js';

/** A call whose answer is one of HTTP: its headers decide a bad one, its end a good one. */
export abstract class HttpClientCall extends ClientCall {
  /** Headers with a good status came: a caller that leaves from here on had what it wanted. */
  get answeredWell(): boolean {
    return (this.flags & ANSWERED) !== 0;
  }

  /**
   * Final headers came, of which the status is known so far.
   *
   * @returns whether it says all there is to know; else `judgeHeaders` is for them
   */
  protected judgeStatus(status: number): boolean {
    if (this.settled) return true;
    if (!isGoodStatus(this.breaker.config, status)) return false;
    this.answered();
    return true;
  }

  /** Final headers came. A bad status ends the call, a good one leaves the rest to the body. */
  protected judgeHeaders(status: number, header: HeaderReader, reasonPhrase?: string): void {
    const { permit } = this;
    if (permit.settled) return;
    try {
      settleByStatus(permit, status, header, reasonPhrase);
    } catch (error) {
      reportOnce('Judging the status of an answer failed', error);
      this.forgo();
    }
    if (permit.settled) return;
    this.answered();
  }
}
