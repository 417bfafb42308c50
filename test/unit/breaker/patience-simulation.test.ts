import { expect } from 'chai';
import { CircuitBreaker } from '../../../src/breaker/circuit-breaker.js';
import { CircuitOpenError } from '../../../src/breaker/errors.js';
import type { BreakerOptions } from '../../../src/breaker/options.js';
import { VirtualTime } from '../../support/virtual-time.js';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

type End = 'answered' | 'abandoned' | 'rejected';

/** A target, its breaker, and callers that give up without saying why. */
class World extends VirtualTime {
  readonly breaker: CircuitBreaker;
  openings = 0;
  openedAt: number | undefined;
  /** From then on it never answers. */
  diesAt = Infinity;
  givenUp = 0;

  constructor(seed: number, options?: BreakerOptions) {
    super(seed);
    this.breaker = new CircuitBreaker('target', { preset: 'httpApi', ...options }, this);
    this.breaker.timeCalls();
    this.breaker.onTransition(({ from, to }) => {
      if (from !== 'closed' || to !== 'open') return;
      this.openings++;
      this.openedAt ??= this.now();
    });
  }

  /**
   * One call.
   *
   * @param answersAfter Infinity: never
   * @param patience the caller leaves then
   * @returns what makes its caller leave at once
   */
  call(answersAfter: number, patience: number, then?: (end: End) => void): () => void {
    const permit = this.breaker.tryAcquire();
    if (permit instanceof CircuitOpenError) {
      this.after(1, () => then?.('rejected'));
      return () => {};
    }
    const leave = () => {
      if (permit.settled) return;
      this.givenUp++;
      permit.abandon();
      then?.('abandoned');
    };
    const answeredAt = this.now() + answersAfter;
    if (answersAfter <= patience && answeredAt < this.diesAt) {
      this.after(answersAfter, () => {
        if (permit.settled) return;
        permit.success();
        then?.('answered');
      });
    } else this.after(patience, leave);
    return leave;
  }

  /** One caller: a call, a pause, the next call. */
  oneByOne(pause: () => number, answersAfter: () => number, patience: () => number): void {
    this.call(answersAfter(), patience(), () => {
      this.after(pause(), () => this.oneByOne(pause, answersAfter, patience));
    });
  }
}

interface Healthy {
  readonly options?: BreakerOptions;
  /** Openings an hour that are known and accepted; 0.1 elsewhere. */
  readonly atMost?: number;
  readonly play: (world: World) => void;
}

/** Keystrokes, each of which drops the search before: some seconds of typing, then a pause. */
function type(world: World, answersAfter: () => number, betweenKeys: () => number): void {
  const burst = (keys: number, drop: () => void): void => {
    drop();
    const leave = world.call(answersAfter(), Infinity);
    if (keys > 1) world.after(betweenKeys(), () => burst(keys - 1, leave));
  };
  world.often(20 * SECOND, () => burst(1 + Math.floor(world.between(2, 12)), () => {}));
}

/** The other replica answers first, nearly always, and then this one is given up. */
function loseRaces(world: World): void {
  world.often(3 * SECOND, () => world.call(world.around(4_000, 0.3), world.around(1_300, 0.2)));
}

const HEALTHY: Readonly<Record<string, Healthy>> = {
  'search as you type': {
    play: (world) =>
      type(
        world,
        () => world.around(120),
        () => world.between(80, 400),
      ),
  },
  'search as you type, slow index, slow typist': {
    play: (world) =>
      type(
        world,
        () => world.around(1_200),
        () => world.between(300, 2_500),
      ),
  },
  'many long polls': {
    play: (world) => {
      for (let client = 0; client < 10; client++) {
        world.oneByOne(
          () => world.between(0, 200),
          () => Math.min(25 * SECOND, world.untilNext(40 * SECOND)),
          () => world.untilNext(2 * MINUTE),
        );
      }
    },
  },
  'one long poll whose client often leaves': {
    play: (world) =>
      world.oneByOne(
        () => world.between(100, 5_000),
        () => Math.min(25 * SECOND, world.untilNext(60 * SECOND)),
        () => world.untilNext(20 * SECOND),
      ),
  },
  'long polls beside quick calls': {
    play: (world) => {
      world.often(SECOND, () => world.call(world.around(50), 5 * SECOND));
      for (let client = 0; client < 3; client++) {
        world.oneByOne(
          () => world.between(0, 200),
          () => 30 * SECOND,
          () => world.untilNext(40 * SECOND),
        );
      }
    },
  },
  'an LLM and a stop button': {
    options: { preset: 'llmService' },
    play: (world) =>
      world.often(4 * SECOND, () =>
        world.call(world.around(9 * SECOND, 0.7), world.chance(0.3) ? world.untilNext(12 * SECOND) : Infinity),
      ),
  },
  'an LLM under the options of any other target': {
    play: (world) =>
      world.often(4 * SECOND, () =>
        world.call(world.around(9 * SECOND, 0.7), world.chance(0.3) ? world.untilNext(12 * SECOND) : Infinity),
      ),
  },
  'an LLM that streams': {
    play: (world) =>
      world.often(3 * SECOND, () =>
        world.call(world.around(900, 0.6), world.chance(0.3) ? world.untilNext(5 * SECOND) : Infinity),
      ),
  },
  'an LLM that is seldom asked': {
    options: { preset: 'llmService' },
    play: (world) =>
      world.often(3 * MINUTE, () =>
        world.call(world.around(15 * SECOND, 0.7), world.chance(0.4) ? world.untilNext(20 * SECOND) : Infinity),
      ),
  },
  'closed tabs, six calls each': {
    play: (world) =>
      world.often(10 * SECOND, () => {
        const stays = world.chance(0.85) ? Infinity : world.untilNext(1_500);
        for (let call = 0; call < 6; call++) world.call(world.around(300, 0.9), stays);
      }),
  },
  'people on phones who leave': {
    play: (world) => world.often(SECOND, () => world.call(world.around(500, 0.8), world.untilNext(3 * SECOND))),
  },
  'people who leave a slow page': {
    play: (world) => world.often(20 * SECOND, () => world.call(world.around(2_500, 0.7), world.untilNext(6 * SECOND))),
  },
  'a second request where the first is late': {
    play: (world) =>
      world.often(SECOND, () => {
        let won = false;
        const legs: (() => void)[] = [];
        const win = (end: End) => {
          if (end !== 'answered' || won) return;
          won = true;
          for (const leave of legs) leave();
        };
        const latency = () => (world.chance(0.05) ? world.between(500, 3_000) : world.around(80));
        legs.push(world.call(latency(), Infinity, win));
        world.after(250, () => {
          if (!won) legs.push(world.call(latency(), Infinity, win));
        });
      }),
  },
  'a shutdown every five minutes': {
    play: (world) => {
      let underWay = new Set<() => void>();
      world.often(400, () => {
        const leave: () => void = world.call(world.around(1_500, 0.8), Infinity, () => underWay.delete(leave));
        underWay.add(leave);
      });
      world.every(5 * MINUTE, () => {
        const all = underWay;
        underWay = new Set();
        // One after the other: a loop with something to do between.
        let at = 0;
        for (const leave of all) world.after((at += 0.5), leave);
      });
    },
  },
  'one timer for a fan-out': {
    play: (world) =>
      world.often(15 * SECOND, () => {
        for (let call = 0; call < 12; call++) world.call(world.around(600, 0.6), 1_500);
      }),
  },
  'a target that starts, callers wait three seconds': {
    atMost: 0.5,
    play: (world) => {
      const ready = world.between(2 * SECOND, 10 * SECOND);
      const latency = () => Math.max(world.around(100), ready - world.now());
      world.often(700, () => world.call(latency(), 3 * SECOND));
      world.stopAfter(MINUTE);
    },
  },
  'a target that starts, patient callers': {
    play: (world) => {
      const ready = world.between(2 * SECOND, 20 * SECOND);
      const latency = () => Math.max(world.around(100), ready - world.now());
      world.often(500, () => world.call(latency(), world.chance(0.1) ? world.untilNext(8 * SECOND) : Infinity));
      world.stopAfter(MINUTE);
    },
  },
  'reports of a minute, cancelled by some': {
    play: (world) =>
      world.often(15 * SECOND, () =>
        world.call(
          world.around(25 * SECOND, 0.5),
          world.chance(0.3) ? world.between(2 * SECOND, 40 * SECOND) : Infinity,
        ),
      ),
  },
  'some queries too slow for their callers': {
    play: (world) =>
      world.often(SECOND, () =>
        world.call(world.chance(0.05) ? world.between(4_000, 8_000) : world.around(150), 3 * SECOND),
      ),
  },
  'some queries too slow for their callers, seldom asked': {
    play: (world) =>
      world.often(MINUTE, () =>
        world.call(world.chance(0.1) ? world.between(4_000, 8_000) : world.around(150), 3 * SECOND),
      ),
  },
  'a pause of 1.5 s each minute': {
    play: (world) =>
      world.often(500, () => {
        const inMinute = world.now() % MINUTE;
        world.call(world.around(60) + Math.max(0, 1_500 - inMinute), 2 * SECOND);
      }),
  },
  'growing slower for an hour': {
    play: (world) =>
      world.often(SECOND, () => world.call(world.around(300 + (world.now() % HOUR) / 600, 0.5), 10 * SECOND)),
  },
  'a cache that mostly wins the race': {
    play: (world) => world.often(SECOND, () => world.call(world.around(90), world.around(60))),
  },
  'fetched ahead while the mouse is over a link': {
    play: (world) => world.often(SECOND, () => world.call(world.around(700, 0.6), world.untilNext(900))),
  },
  'a replica that loses nearly every race, abandonedAfter off': {
    options: { abandonedAfter: 'off' },
    play: loseRaces,
  },
  'one call in five minutes': {
    play: (world) => world.often(5 * MINUTE, () => world.call(world.around(700, 0.8), world.between(1_500, 4_000))),
  },
};

interface Dead {
  readonly options?: BreakerOptions;
  /** It answers for so long first; 0: never. */
  readonly livesFor?: number;
  /** Seconds until the circuit opens, at most. */
  readonly opensWithin: number;
  readonly play: (world: World) => void;
}

const DEAD: Readonly<Record<string, Dead>> = {
  '5 calls a second': {
    opensWithin: 2.9,
    play: (world) => world.every(200, () => world.call(world.around(80), 2 * SECOND)),
  },
  '200 calls a second': {
    livesFor: 5 * SECOND,
    opensWithin: 2.1,
    play: (world) => world.every(5, () => world.call(world.around(80), 2 * SECOND)),
  },
  '200 calls a second, slow target': {
    livesFor: 5 * SECOND,
    opensWithin: 2.5,
    play: (world) => world.every(5, () => world.call(world.around(600, 0.2), 2 * SECOND)),
  },
  'one caller': {
    opensWithin: 7.1,
    play: (world) =>
      world.oneByOne(
        () => 100,
        () => world.around(80),
        () => 1_300,
      ),
  },
  'one call a minute': {
    livesFor: 10 * MINUTE + 30 * SECOND,
    opensWithin: 272,
    play: (world) => world.every(MINUTE, () => world.call(world.around(80), 2 * SECOND)),
  },
  'half-hung, 10 calls a second': {
    opensWithin: 10,
    play: (world) =>
      world.every(100, () =>
        world.call(world.now() > MINUTE && world.chance(0.55) ? Infinity : world.around(80), 2 * SECOND),
      ),
  },
  'after one answer of 30 s': {
    opensWithin: 310,
    play: (world) => {
      world.after(10 * SECOND, () => world.call(30 * SECOND, Infinity));
      world.every(200, () => world.call(world.around(80), 2 * SECOND));
    },
  },
  'never answered, 5 calls a second': {
    livesFor: 0,
    opensWithin: 5.5,
    play: (world) => world.every(200, () => world.call(80, 2 * SECOND)),
  },
  'never answered, one caller': {
    livesFor: 0,
    opensWithin: 6.95,
    play: (world) =>
      world.oneByOne(
        () => 100,
        () => 80,
        () => 1_300,
      ),
  },
  'people who leave when they have had enough': {
    opensWithin: 12,
    play: (world) => world.often(500, () => world.call(world.around(300), world.untilNext(3 * SECOND))),
  },
  'a page of six calls each 3 s, left together': {
    opensWithin: 16.1,
    play: (world) =>
      world.every(3 * SECOND, () => {
        for (let call = 0; call < 6; call++) world.call(world.around(300), 4 * SECOND);
      }),
  },
  'an LLM': {
    livesFor: 5 * MINUTE,
    options: { preset: 'llmService' },
    opensWithin: 100,
    play: (world) => world.often(4 * SECOND, () => world.call(world.around(9 * SECOND, 0.5), 60 * SECOND)),
  },
  'long polls of 25 s with a deadline of 30 s': {
    livesFor: 5 * MINUTE,
    opensWithin: 70,
    play: (world) => {
      for (let client = 0; client < 5; client++) {
        world.oneByOne(
          () => world.between(0, 200),
          () => world.between(1_000, 25 * SECOND),
          () => 30 * SECOND,
        );
      }
    },
  },
};

describe('Callers that give up without saying why', () => {
  for (const [what, { options, atMost = 0.1, play }] of Object.entries(HEALTHY)) {
    it(`do not open the circuit of a healthy target: ${what}`, () => {
      let openings = 0;
      const hours = 10;
      let givenUp = 0;
      for (let hour = 0; hour < hours; hour++) {
        const world = new World(hour + 1, options);
        play(world);
        world.pass(HOUR);
        openings += world.openings;
        givenUp += world.givenUp;
      }
      if (process.env.SHOW) console.log(`      ${openings / hours}/h, ${givenUp / hours} given up/h`);
      expect(openings / hours).to.be.at.most(atMost);
    });
  }

  it('open the circuit of a replica that loses nearly every race, which nothing tells from a dead one', () => {
    const world = new World(1);
    loseRaces(world);
    world.pass(HOUR);
    expect(world.openings).to.be.above(0);
  });

  for (const [what, { options, livesFor = MINUTE, opensWithin, play }] of Object.entries(DEAD)) {
    it(`open the circuit of a dead target: ${what}`, () => {
      const took: number[] = [];
      for (let seed = 1; seed <= 5; seed++) {
        const world = new World(seed, options);
        world.diesAt = livesFor;
        play(world);
        world.pass(livesFor);
        expect(world.openings).to.equal(0);
        world.pass((opensWithin + 1) * SECOND);
        took.push(((world.openedAt ?? Infinity) - livesFor) / SECOND);
      }
      if (process.env.SHOW) console.log(`      ${took.map((s) => s.toFixed(2)).join(' ')}`);
      expect(Math.max(...took)).to.be.at.most(opensWithin);
    });
  }
});
