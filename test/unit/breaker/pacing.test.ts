import { AsyncLocalStorage } from 'node:async_hooks';
import { expect } from 'chai';
import { deferRejection, Pacer, rejectedPromise } from '../../../src/breaker/pacing.js';

/** An event loop that turns when it is told to. */
class FakeLoop {
  readonly heard: string[] = [];
  ms = 0;
  #soon: (() => void)[] = [];
  #timers: [at: number, callback: () => void][] = [];
  readonly pacer = new Pacer({
    now: () => this.ms,
    soon: (callback) => this.#soon.push(callback),
    later: (callback, ms) => this.#timers.push([this.ms + ms, callback]),
    afterTurn: (callback) => this.#soon.push(callback),
  });

  reject(name: string, atOnce?: number): void {
    this.pacer.defer(() => this.heard.push(name), atOnce);
  }

  /** Callbacks that wait for the loop to turn. */
  get timersOfTurn(): number {
    return this.#soon.length;
  }

  /** Timers whose time is up, then what was to come soon. */
  turn(ms = 0): void {
    this.ms += ms;
    const due = this.#timers.filter(([at]) => at <= this.ms);
    this.#timers = this.#timers.filter(([at]) => at > this.ms);
    for (const [, callback] of due) callback();
    const soon = this.#soon;
    this.#soon = [];
    for (const callback of soon) callback();
  }

  /** How many turns of no length a loop goes through that is rejected, and calls again, until it has to wait. */
  turnsUntilPaced(): number {
    for (let turns = 0; turns < 1_000; turns++) {
      this.heard.length = 0;
      this.reject('again');
      this.turn();
      if (this.heard.length === 0) return turns;
    }
    throw new Error('never paced');
  }
}

describe('Pacer', () => {
  it('calls back when the event loop has turned', () => {
    const loop = new FakeLoop();
    loop.reject('first');
    loop.reject('second');
    expect(loop.heard).to.deep.equal([]);
    loop.turn();
    expect(loop.heard).to.deep.equal(['first', 'second']);
  });

  it('calls so many back at once as it is told to, in each turn anew', () => {
    const loop = new FakeLoop();
    for (let call = 1; call <= 3; call++) loop.reject(`${call}`, 2);
    expect(loop.heard).to.deep.equal(['1', '2']);
    loop.turn();
    loop.reject('4', 2);
    expect(loop.heard).to.deep.equal(['1', '2', '3', '4']);
  });

  it('counts turns and not rejections: any number within one turn use up one', () => {
    const loop = new FakeLoop();
    for (let call = 0; call < 10_000; call++) loop.reject('');
    loop.turn();
    expect(loop.heard).to.have.length(10_000);
    expect(loop.turnsUntilPaced()).to.equal(49);
  });

  it('lets 50 turns go, then holds each rejection back for 5 ms, for as long as they go on', () => {
    const loop = new FakeLoop();
    expect(loop.turnsUntilPaced()).to.equal(50);
    for (let round = 0; round < 20; round++) {
      loop.heard.length = 0;
      loop.turn(4.9);
      expect(loop.heard).to.deep.equal([]);
      loop.turn(0.2);
      expect(loop.heard).to.deep.equal(['again']);
      loop.reject('again');
    }
  });

  it('gives a turn back each 5 ms without rejections, and never more than 50', () => {
    const loop = new FakeLoop();
    loop.turnsUntilPaced();
    loop.turn(5);
    loop.turn(50);
    expect(loop.turnsUntilPaced()).to.equal(10);
    loop.turn(5);
    loop.turn(1e9);
    expect(loop.turnsUntilPaced()).to.equal(50);
  });

  it('rejects any number of promises of one turn by one timer, in their order', () => {
    const loop = new FakeLoop();
    for (let call = 1; call <= 1_000; call++) loop.pacer.deferPromise(() => loop.heard.push(`${call}`));
    // The other one ends the turn.
    expect(loop.timersOfTurn).to.equal(2);
    loop.turn();
    expect(loop.heard.slice(0, 2)).to.deep.equal(['1', '2']);
    expect(loop.heard).to.have.length(1_000);
    expect(loop.turnsUntilPaced()).to.equal(49);
  });

  it('holds promises back as everything else, once there is no credit', () => {
    const loop = new FakeLoop();
    loop.turnsUntilPaced();
    loop.turn(6);
    loop.turnsUntilPaced();
    loop.heard.length = 0;
    loop.pacer.deferPromise(() => loop.heard.push('late'));
    loop.turn(4.9);
    expect(loop.heard).not.to.include('late');
    loop.turn(0.2);
    expect(loop.heard).to.include('late');
  });
});

describe('rejectedPromise', () => {
  it('is heard of in the async context of whoever waits for it', async () => {
    const context = new AsyncLocalStorage<number>();
    const seen = await Promise.all(
      Array.from({ length: 500 }, (_, caller) =>
        context.run(caller, async () => {
          const error = new Error(`${caller}`);
          try {
            return await rejectedPromise(error, 32);
          } catch (reason) {
            return [reason === error, context.getStore()];
          }
        }),
      ),
    );
    expect(seen).to.deep.equal(Array.from({ length: 500 }, (_, caller) => [true, caller]));
  });
});

describe('deferRejection', () => {
  it('calls back in the async context it was called in', async () => {
    const context = new AsyncLocalStorage<number>();
    const seen = await Promise.all(
      Array.from({ length: 500 }, (_, caller) =>
        context.run(caller, () => new Promise((resolve) => deferRejection(() => resolve(context.getStore())))),
      ),
    );
    expect(seen).to.deep.equal(Array.from({ length: 500 }, (_, caller) => caller));
  });
});
