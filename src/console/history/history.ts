import { RecentCalls } from './recent-calls.js';
import { createTraceRing, type TraceRing } from './trace-ring.js';
import { TransitionLog } from './transition-log.js';

/** What the console can show of the past: the one way into this folder. */
export interface History {
  /** The last changes of state. */
  readonly transitions: TransitionLog;
  /** The latest traces in which breakers did something. */
  readonly traces: TraceRing;
  /** How many calls there were in the last minutes. */
  readonly recent: RecentCalls;
}

export function createHistory(): History {
  return { transitions: new TransitionLog(), traces: createTraceRing(), recent: new RecentCalls() };
}
