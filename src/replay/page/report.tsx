import { render } from 'preact';
import { StateBadge } from '../../console/page/row.js';
import {
  LEFT_OUT,
  type BreakerReport,
  type Episode,
  type LeftOut,
  type ReplayReport,
  type RulesReport,
} from '../report.js';
import { count, length, moment, numbersOf, plural } from '../words.js';
import { History } from './history.js';

const MAX_BREAKERS = 100;
const MAX_EPISODES = 50;

function Report({ report }: { report: ReplayReport }) {
  const kept = report.sampling?.share ?? 1;
  return (
    <>
      <header>
        <h1>Circuit breakers, replayed</h1>
      </header>
      <main class="replay">
        <Summary report={report} kept={kept} />
        {report.suggestions !== null && <Suggestions report={report} kept={kept} />}
        {breakersOf(report).map((breakers) => (
          <Breaker key={breakers[0]!.name} report={report} breakers={breakers} kept={kept} />
        ))}
      </main>
      <footer>Times are UTC. Made by otel-breaker replay.</footer>
    </>
  );
}

/** Each breaker by the new rules, and by those that they were compared with. */
function breakersOf({ rules }: ReplayReport): (BreakerReport | undefined)[][] {
  const [first, ...others] = rules;
  return (first?.breakers ?? [])
    .filter(({ opened, failed }) => opened > 0 || failed > 0)
    .slice(0, MAX_BREAKERS)
    .map((breaker) => [breaker, ...others.map(({ breakers }) => breakers.find(({ name }) => name === breaker.name))]);
}

function Summary({ report, kept }: { report: ReplayReport; kept: number }) {
  const { files, spans, calls, fromMs, toMs, rules, sampling, leftOut } = report;
  const reasons = Object.keys(LEFT_OUT) as LeftOut[];
  const left = reasons.filter((reason) => reason !== 'other' && leftOut[reason] > 0);
  return (
    <section class="card" aria-labelledby="summary">
      <h2 id="summary">What these rules would have done</h2>
      <p>
        {files.join(', ')}: {plural(spans, 'span')}, {plural(calls, 'call')}
        {calls > 0 && `, ${moment(fromMs)} to ${moment(toMs)} (${length(toMs - fromMs)})`}
      </p>
      {sampling !== null && (
        <p class="panic" role="note">
          1 call in {Number((1 / sampling.share).toPrecision(3))} was recorded ({sampling.source}). Counts are
          estimates, and so are streaks and rates: circuits saw fewer calls than they would have, and open later or not
          at all.
        </p>
      )}
      <div class="scrolls">
        <table>
          <thead>
            <tr>
              <th scope="col">Breaker</th>
              {rules.length > 1 && <th scope="col">Rules</th>}
              <NumberHeads
                titles={['Calls', 'Failed', 'Opened', 'Open for', 'Saved', 'Time saved', 'Price', 'Noticed after']}
              />
            </tr>
          </thead>
          <tbody>
            {rules[0]!.breakers
              .slice(0, MAX_BREAKERS)
              .flatMap((breaker) =>
                rules.map((some, index) => (
                  <SummaryRow
                    key={`${breaker.name} ${index}`}
                    name={index === 0 ? breaker.name : ''}
                    rules={rules.length > 1 ? some : undefined}
                    breaker={index === 0 ? breaker : some.breakers.find(({ name }) => name === breaker.name)}
                    kept={kept}
                  />
                )),
              )}
          </tbody>
        </table>
      </div>
      <p class="quiet">
        Saved: calls rejected that had failed, and the time they had taken. Price: calls rejected that had succeeded.
      </p>
      {left.length > 0 && (
        <>
          <h3>Left out</h3>
          <ul>
            {left.map((reason) => (
              <li key={reason}>
                {leftOut[reason].toLocaleString('en')} {LEFT_OUT[reason]}
              </li>
            ))}
          </ul>
        </>
      )}
      {rules.map(({ name, unguarded, panics }) => (
        <p key={name} class="quiet">
          {unguarded > 0 && `${name}: ${plural(unguarded, 'call')} to targets in mode off. `}
          {panics > 0 && `${name}: ${plural(panics, 'panic')}, in which nothing is rejected.`}
        </p>
      ))}
    </section>
  );
}

function NumberHeads({ titles }: { titles: readonly string[] }) {
  return (
    <>
      {titles.map((title) => (
        <th key={title} scope="col" class="number">
          {title}
        </th>
      ))}
    </>
  );
}

function SummaryRow({
  name,
  rules,
  breaker,
  kept,
}: {
  name: string;
  rules: RulesReport | undefined;
  breaker: BreakerReport | undefined;
  kept: number;
}) {
  return (
    <tr>
      <th scope="row">{name}</th>
      {rules !== undefined && <td>{rules.name}</td>}
      {breaker === undefined ? (
        <td colSpan={8}>no breaker of this name</td>
      ) : (
        numbersOf(breaker, kept).map((cell, index) => (
          <td key={index} class="number">
            {cell}
          </td>
        ))
      )}
    </tr>
  );
}

function Suggestions({ report, kept }: { report: ReplayReport; kept: number }) {
  const shown = report.suggestions!.filter(({ best }) => best.length > 1 || best[0]?.options !== null);
  return (
    <section class="card" aria-labelledby="suggestions">
      <h2 id="suggestions">Suggestions</h2>
      {shown.length === 0 ? (
        <p>No setting that was tried beats the rules as they are.</p>
      ) : (
        <div class="scrolls">
          <table>
            <caption>No other setting that was tried saves more for the same price.</caption>
            <thead>
              <tr>
                <th scope="col">Breaker</th>
                {['failureThreshold', 'failureRateThreshold', 'minimumCalls', 'openDuration'].map((key) => (
                  <th key={key} scope="col" class="number">
                    <code>{key}</code>
                  </th>
                ))}
                <NumberHeads titles={['Opened', 'Saved', 'Price']} />
              </tr>
            </thead>
            <tbody>
              {shown.flatMap(({ name, best }) =>
                best.map(({ options, opened, saved, price }, index) => (
                  <tr key={`${name} ${index}`}>
                    <th scope="row">{index === 0 ? name : ''}</th>
                    {options === null ? (
                      <td colSpan={4}>as it is</td>
                    ) : (
                      [
                        options.failureThreshold,
                        options.failureRateThreshold,
                        options.minimumCalls,
                        `${options.openDuration / 1_000}s`,
                      ].map((value, column) => (
                        <td key={column} class="number">
                          {value}
                        </td>
                      ))
                    )}
                    <td class="number">{opened}</td>
                    <td class="number">{count(saved, kept)}</td>
                    <td class="number">{count(price, kept)}</td>
                  </tr>
                )),
              )}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}

function Breaker({
  report,
  breakers,
  kept,
}: {
  report: ReplayReport;
  breakers: readonly (BreakerReport | undefined)[];
  kept: number;
}) {
  const [first] = breakers as readonly [BreakerReport];
  return (
    <section class="card" aria-label={first.name}>
      <h2>{first.name}</h2>
      {breakers.map(
        (breaker, index) =>
          breaker !== undefined && (
            <div key={index}>
              {breakers.length > 1 && <h3>{report.rules[index]!.name}</h3>}
              <History breaker={breaker} />
              <Episodes breaker={breaker} kept={kept} />
            </div>
          ),
      )}
    </section>
  );
}

function Episodes({ breaker: { episodes, opened }, kept }: { breaker: BreakerReport; kept: number }) {
  if (opened === 0) return <p class="empty">It would not have opened.</p>;
  return (
    <>
      <ol class="timeline">
        {episodes.slice(0, MAX_EPISODES).map((episode) => (
          <EpisodeItem key={episode.openedAt} episode={episode} kept={kept} />
        ))}
      </ol>
      {opened > MAX_EPISODES && <p class="quiet">… and {opened - MAX_EPISODES} more</p>}
    </>
  );
}

function EpisodeItem({ episode, kept }: { episode: Episode; kept: number }) {
  const { openedAt, closedAt, reason, noticedAfterMs, reopened, rejected } = episode;
  const at = (ms: number) => <time dateTime={new Date(ms).toISOString()}>{moment(ms)}</time>;
  return (
    <li class="open">
      {at(openedAt)}
      <div>
        <StateBadge state="open" /> {reason}
        <p>
          noticed {length(noticedAfterMs)} after the first failure ·{' '}
          {closedAt === null ? (
            'not closed again'
          ) : (
            <>
              closed {at(closedAt)}, after {length(closedAt - openedAt)}
            </>
          )}
          {reopened > 0 && ` · ${plural(reopened, 'probe')} failed`} · rejected {count(rejected.failed, kept)} that had
          failed, {count(rejected.succeeded, kept)} that had succeeded
        </p>
      </div>
    </li>
  );
}

const data = JSON.parse(document.getElementById('report')!.textContent) as ReplayReport;
render(<Report report={data} />, document.getElementById('app')!);
