import type { IncomingMessage, ServerResponse } from 'node:http';
import { nearestKey } from '../breaker/options.js';
import { countStates } from '../breaker/registry.js';
import { OPEN, STATE_NAMES } from '../breaker/state.js';
import type { HealthRule } from '../environment.js';
import { log } from '../telemetry/log.js';
import type { Standing } from '../telemetry/metrics/metrics.js';
import type { Health, HealthInFull } from './api.js';
import { LimitedLog } from './limited-log.js';
import { sendJson, sendText } from './respond.js';
import { Shared } from './shared-answer.js';

/** Where the answers come from. */
export interface HealthSource {
  /** All breakers of the process, its threads and its cluster workers. */
  standings(): Promise<readonly Standing[]>;
  readonly panic: { readonly reason: string | undefined };
  readonly rules: { readonly problem: string | null };
}

// Names come from whoever asks, so the log takes a bounded number of them, and a bounded length of each.
const MAX_NAMES_SAID = 20;
const MAX_NAME_LENGTH = 100;

/** What `/healthz` answers. */
export class HealthAnswers {
  readonly #failures = new LimitedLog('error');
  readonly #said = new Set<string>();
  readonly #standings: Shared<readonly Standing[]>;

  constructor(
    private readonly rule: HealthRule,
    private readonly source: HealthSource,
  ) {
    this.#standings = new Shared(() => source.standings());
  }

  /** @param inFull whether whoever asks may see the console; all others get no names */
  answer(request: IncomingMessage, response: ServerResponse, inFull: boolean): void {
    const names = new URL(request.url ?? '/', 'http://localhost').searchParams.getAll('breaker');
    this.#standings
      .get()
      .then((standings) => {
        if (response.destroyed) return;
        const health = this.#judge(standings, names);
        const { healthy, total, closed, open, halfOpen, unknown } = health;
        const brief: Health = { healthy, total, closed, open, halfOpen, unknown: unknown.length };
        sendJson(response, healthy ? 200 : 503, inFull ? health : brief);
      })
      .catch((error: unknown) => {
        this.#failures.write('the health could not be told', error);
        // Not unhealthy: it is we who do not know.
        if (!response.destroyed && !response.headersSent) {
          sendText(response, 500, 'The health could not be told. The log says why.\n');
        }
      });
  }

  #judge(standings: readonly Standing[], names: readonly string[]): HealthInFull {
    const { reason } = this.source.panic;
    const health = judgeHealth(this.rule, standings, names);
    if (health.unknown.length > 0) this.#sayUnknown(health.unknown, standings);
    return {
      ...health,
      panic: reason ?? null,
      rulesProblem: this.source.rules.problem,
    };
  }

  #sayUnknown(names: readonly string[], standings: readonly Standing[]): void {
    for (const name of names) {
      if (this.#said.has(name) || this.#said.size >= MAX_NAMES_SAID) continue;
      this.#said.add(name);
      const nearest = nearestKey(name, standings.map(nameOf));
      const shown = name.slice(0, MAX_NAME_LENGTH);
      const line = `/healthz was asked for "${shown}", and there is no breaker of that name (one exists from its first call on)`;
      if (nearest === undefined) log.info(line);
      else log.warn(`${line}. Did you mean "${nearest}"?`);
    }
  }
}

/**
 * Judges the health of a service by its breakers, as `registry.healthCheck()` does.
 *
 * A circuit speaks against it that keeps calls from a target which has answered before, as long as no call could be a
 * probe: who takes traffic away from an unhealthy service would else take away the calls that heal it. Breakers in mode
 * `observe` are counted, but have no say: they promise to change nothing.
 *
 * In panic nothing is rejected, and the verdict stays what it is by the circuits: something is wrong.
 *
 * @param names look at these alone; a breaker that does not exist yet has nothing against it
 */
export function judgeHealth(
  rule: HealthRule,
  standings: readonly Standing[],
  names: readonly string[],
): Omit<HealthInFull, 'panic' | 'rulesProblem'> {
  const asked = new Set(names);
  const chosen = asked.size === 0 ? standings : standings.filter((standing) => asked.has(nameOf(standing)));
  for (const standing of chosen) asked.delete(nameOf(standing));
  const unhealthy = chosen.filter(({ isUnhealthy }) => isUnhealthy);
  const verdicts = {
    any_open: unhealthy.length > 0,
    all_open: unhealthy.length > 0 && !chosen.some(isServing),
    never: false,
  };
  return {
    healthy: !verdicts[rule],
    rule,
    total: chosen.length,
    ...countStates(chosen.map(({ stateCode }) => ({ state: STATE_NAMES[stateCode] }))),
    unhealthy: unhealthy.map((standing) => {
      const { worker } = standing.labels;
      return { name: nameOf(standing), ...(typeof worker === 'string' && { worker }) };
    }),
    unknown: [...asked],
  };
}

/** Whether calls get through it, or a next one would. A target that never answered speaks neither for nor against. */
function isServing({ config, stateCode, hasAnswered, isUnhealthy }: Standing): boolean {
  return config.mode === 'enforce' && !isUnhealthy && (stateCode !== OPEN || hasAnswered);
}

function nameOf({ labels }: Standing): string {
  return String(labels.name);
}
