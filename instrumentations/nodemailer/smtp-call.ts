import type { Verdict } from '../../src/breaker/verdict.js';
import { verdictOfSmtpError } from '../../src/outcomes/smtp.js';
import { ClientCall } from '../client-call.js';

/** One message: from when it would be sent until its sender hears of it, with what nodemailer does for it meanwhile. */
export class SmtpCall extends ClientCall {
  /** It has asked, in the queue of its pool or when its turn came. */
  hasAsked = false;

  override spanName(): string {
    return 'smtp.send';
  }

  protected override verdictOf(error: unknown): Verdict {
    return verdictOfSmtpError(error);
  }
}
