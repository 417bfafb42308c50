import { context } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { suppressTracing } from '@opentelemetry/core';
import { expect } from 'chai';
import type { Verdict } from '../../src/breaker/verdict.js';
import type { Target } from '../../src/target.js';
import { Attachment } from '../../instrumentations/attachment.js';
import { ClientCall, type Entry } from '../../instrumentations/client-call.js';
import { TestGuard } from '../support/guarded.js';

class NoClient extends Attachment {
  constructor(guard: TestGuard) {
    super('no-client', guard);
  }
  protected override patch(): void {}
}

class Call extends ClientCall {
  override spanName(): string {
    return 'call';
  }
  protected override verdictOf(): Verdict {
    return 'failure';
  }
}

const TARGET: Target = { system: 'postgresql', scheme: 'postgresql', host: 'db', port: 5432, database: 'd' };

describe('A client call under suppressed tracing', () => {
  let guard: TestGuard;
  let attachment: NoClient;
  beforeEach(() => {
    guard = new TestGuard();
    attachment = new NoClient(guard);
    attachment.attach();
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  });
  afterEach(() => attachment.detach());

  for (const [how, entry] of [
    ['', {}],
    [' although it must be made', { must: true }],
    [' although it is never a probe', { neverProbe: true }],
    [' although it came before', { begun: true }],
  ] as const satisfies (readonly [string, Entry])[]) {
    it(`is asked of no circuit${how}, and what follows it is`, () => {
      const [suppressed, other] = [new Call(attachment), new Call(attachment)];
      context.with(suppressTracing(context.active()), () => suppressed.enter(TARGET, entry));
      expect(suppressed.isOver).to.equal(true);
      expect(guard.breakers.size).to.equal(0);
      other.enter(TARGET, entry);
      expect(other.isOver).to.equal(false);
      other.succeed();
      expect(guard.only.stats().calls.success).to.equal(1);
    });
  }

  it('goes through where the circuit is open', () => {
    guard.breakerOf(TARGET).forceOpen();
    context.with(suppressTracing(context.active()), () => {
      expect(new Call(attachment).enter(TARGET)).to.equal(undefined);
    });
    expect(new Call(attachment).enter(TARGET)).to.be.instanceOf(Error);
  });
});
