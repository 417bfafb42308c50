import { expect } from 'chai';
import { CircuitBreaker } from '../../src/breaker/circuit-breaker.js';
import type { BreakerOptions } from '../../src/breaker/options.js';
import { HttpStatusError } from '../../src/outcomes/http.js';
import { targetLabels } from '../../src/target.js';
import { startService, type Service } from '../console/service.js';
import {
  breakerWithClock,
  fail,
  ignore,
  lose,
  openCircuit,
  recordTransitions,
  refused,
  start,
  startProbe,
  succeed,
} from '../support/breakers.js';
import { ROOT } from '../support/child.js';
import { target } from '../support/targets.js';
import { Document, type Fence } from './documents.js';
import { runCommand } from './run-command.js';

const page = new Document('docs/why.md');
const TOKEN = 'token-of-this-test';

const commands = page.fences.filter(({ role }) => role === 'console');

/** The heading over a block. */
function headingOf({ line }: Fence): string {
  const before = page.text.split('\n').slice(0, line - 1);
  return before.findLast((text) => text.startsWith('#'))!.replace(/^#+ /, '');
}

/** The block after a command, which holds what it prints. */
function printedBy(command: Fence): string[] {
  const next = page.fences[page.fences.indexOf(command) + 1];
  if (next?.language !== 'text' || next.role !== '' || headingOf(next) !== headingOf(command)) return [];
  return next.content.trim().split('\n');
}

/** What makes the symptom of each section. */
const SYMPTOMS: Readonly<Record<string, (service: Service) => void>> = {
  'Which limit opened it': (service) => lose(service.breaker('payments')),
  'Which calls opened it': (service) => lose(service.breaker('payments')),
  'Its target is well': (service) => {
    const payments = service.breaker('payments');
    while (payments.state === 'closed') payments.acquire().failure(new HttpStatusError(500));
  },
  'Callers gave up': (service) => lose(service.breaker('payments', { preset: 'httpApi' })),
  'Only one instance opened it': (service) => lose(service.breaker('payments')),
  'The target is back': (service) => loseAgain(service, { initialOpenDuration: 1, openDuration: '1h' }),
  'Nobody calls it': (service) => {
    const payments = service.breaker('payments', { initialOpenDuration: 1, openDuration: 1 });
    succeed(payments);
    lose(payments);
    waitUntilDue(payments);
  },
  'Somebody opened it': (service) => service.breaker('payments').forceOpen(),
  'It stays half-open': (service) => {
    const payments = service.breaker('payments', { initialOpenDuration: 1, openDuration: 1 });
    lose(payments);
    waitUntilDue(payments);
    const [first] = start(payments, 2);
    first!.success();
  },
  'There is no such breaker': (service) => succeed(service.breaker('payments')),
  'Calls hang': (service) => void start(service.breaker('payments', { slowCallDuration: '1h' }), 7),
  'Its errors do not count': (service) => {
    succeed(service.breaker('payments'), 3);
    ignore(service.breaker('payments'), 4);
  },
  'Too few calls, or too few failures': (service) => {
    succeed(service.breaker('payments'));
    fail(service.breaker('payments'), 4);
  },
  'The rule is not the one you think of': (service) => succeed(service.breaker('payments')),
  'It only observes': (service) => {
    const payments = service.breaker('payments', { mode: 'observe' });
    openCircuit(payments);
    start(payments, 3);
  },
  Panic: (service) => {
    const breakers = ['http://a', 'http://b', 'http://c', 'http://d', 'redis://cache'].map((url) => {
      const breaker = new CircuitBreaker(url);
      breaker.labels = targetLabels(target(url));
      service.runtime.registry.register(breaker);
      succeed(breaker);
      return breaker;
    });
    for (const breaker of breakers.slice(0, 3)) lose(breaker);
  },
  'Healthy, though a circuit is open': (service) => lose(service.breaker('payments')),
};

/** Lost, and the first probe failed as well. */
function loseAgain(service: Service, options: BreakerOptions): void {
  const payments = service.breaker('payments', options);
  lose(payments);
  waitUntilDue(payments);
  payments.acquire().failure(refused());
}

/** A millisecond or two. */
function waitUntilDue(breaker: CircuitBreaker): void {
  while (breaker.stats().openUntil!.getTime() >= Date.now());
}

describe('docs/why.md', () => {
  it('has a symptom to try for each section with a command, and no other', () => {
    expect(Object.keys(SYMPTOMS)).to.have.members([...new Set(commands.map(headingOf))]);
  });

  it('leads to every section from its table', () => {
    const linked = page.links.map(({ target: link }) => link).filter((link) => link.startsWith('#'));
    const sections = page.sections.filter(({ level, text }) => level > 1 && text !== '');
    expect(linked).to.include.members(sections.map(({ anchor }) => `#${anchor}`));
  });

  describe('has commands that print what stands below them:', () => {
    let service: Service;
    beforeEach(async () => (service = await startService({ OTEL_BREAKER_ADMIN_TOKEN: TOKEN })));
    afterEach(() => service.stop());

    for (const command of commands) {
      it(`${headingOf(command)}: ${command.content.trim().split('\n', 1)[0]!}`, async () => {
        SYMPTOMS[headingOf(command)]!(service);
        const asked = command.content.replaceAll('localhost:9464', service.url);
        const { stdout, stderr } = await runCommand(asked, ROOT, { OTEL_BREAKER_ADMIN_TOKEN: TOKEN });
        expect(stderr).to.equal('');
        expect(stdout).not.to.equal('');
        for (const line of printedBy(command)) expect(stdout).to.contain(line);
        if (command.content.includes('/reset')) expect(service.breaker('payments').state).to.equal('closed');
      });
    }
  });

  it('has every reason for which a circuit opens, in its words', () => {
    const reasons: string[] = [];
    const record = (options: BreakerOptions, open: (breaker: CircuitBreaker) => void) => {
      const breaker = new CircuitBreaker('payments', options);
      const transitions = recordTransitions(breaker);
      open(breaker);
      reasons.push(transitions.find(({ to }) => to === 'open')!.reason);
    };
    record({}, (breaker) => fail(breaker, 5));
    record({}, (breaker) => {
      for (let pair = 0; pair < 5; pair++) {
        succeed(breaker);
        fail(breaker);
      }
    });
    record({ honorRetryAfter: true }, (breaker) => breaker.acquire().failure(new Error('full'), 7_000));
    record({}, (breaker) => breaker.forceOpen());

    const slow = breakerWithClock({ slowCallDuration: '1s', initialOpenDuration: '1s', openDuration: '1s' });
    const ofSlow = recordTransitions(slow.breaker);
    succeed(slow.breaker, 5);
    const calls = start(slow.breaker, 5);
    slow.clock.advance(2_000);
    for (const call of calls) call.success();
    slow.clock.advance(2_000);
    const [probe] = start(slow.breaker, 1);
    slow.clock.advance(2_000);
    probe!.success();
    reasons.push(...ofSlow.filter(({ to }) => to === 'open').map(({ reason }) => reason));

    const failing = breakerWithClock();
    const ofFailing = recordTransitions(failing.breaker);
    startProbe(failing.breaker, failing.clock).failure(refused());
    reasons.push(ofFailing.at(-1)!.reason);

    const said = page.tableOf('Which limit opened it').slice(1);
    for (const reason of reasons) {
      expect(
        said.some(([begins]) => reason.startsWith(begins!)),
        reason,
      ).to.be.true;
    }
    for (const [begins] of said) {
      expect(
        reasons.some((reason) => reason.startsWith(begins!)),
        begins,
      ).to.be.true;
    }
  });
});
