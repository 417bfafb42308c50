import { useState } from 'preact/hooks';
import { ACTIONS, type Action } from '../api.js';
import { addressOf } from './detail-source.js';

const ACTION_WORDS: Readonly<Record<Action, string>> = {
  open: 'Open the circuit',
  reset: 'Reset (close)',
  observe: 'Observe only',
  enforce: 'Enforce',
};

/** What comes of it: nobody should have to know that by heart at night. */
const CONSEQUENCES: Readonly<Record<Action, string>> = {
  open: 'Every call will be rejected, until somebody resets the circuit.',
  reset: 'All calls will go through again, and what led to the present state is forgotten.',
  observe: 'No call will be rejected any more, until the rules are read again.',
  enforce: 'Calls will be rejected while the circuit is open.',
};
const MAX_REASON = 200;

// Kept in memory only: a token must not be in the browser's storage.
let token = '';

/** Changes one breaker: asks before it does, and for a reason. */
export function Admin({ name, worker, others }: { name: string; worker: string | null; others: number }) {
  const [given, setGiven] = useState(token);
  const [asked, setAsked] = useState<Action>();
  const [reason, setReason] = useState('');
  const [everywhere, setEverywhere] = useState(true);
  const [answer, setAnswer] = useState('');

  async function act(action: Action) {
    token = given;
    setAsked(undefined);
    const parameters = new URLSearchParams(reason.trim() === '' ? {} : { reason: reason.trim() });
    if (!everywhere) parameters.set('worker', worker ?? '');
    const response = await fetch(`${addressOf(name, `/${action}`)}?${parameters}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${given}` },
    }).catch(() => undefined);
    if (response?.ok === true) {
      const { note, silent } = (await response.json()) as { note?: string; silent?: string[] };
      setReason('');
      setAnswer(
        [note ?? 'Done.', silent && `Not answered yet: worker ${silent.join(', ')}.`].filter(Boolean).join(' '),
      );
    } else if (response?.status === 401) setAnswer('The token was not accepted.');
    else setAnswer(response === undefined ? 'There was no answer.' : await response.text());
  }

  return (
    <fieldset class="admin">
      <legend>Change it</legend>
      <label>
        Token{' '}
        <input
          type="password"
          autocomplete="off"
          value={given}
          onInput={(event) => setGiven(event.currentTarget.value)}
        />
      </label>
      <div class="buttons">
        {ACTIONS.map((action) => (
          <button
            key={action}
            type="button"
            disabled={given === ''}
            aria-expanded={asked === action}
            onClick={() => {
              setAnswer('');
              setAsked(action);
            }}
          >
            {ACTION_WORDS[action]}
          </button>
        ))}
      </div>
      {asked !== undefined && (
        <form
          class="confirm"
          aria-label={`${ACTION_WORDS[asked]}?`}
          onSubmit={(event) => {
            event.preventDefault();
            void act(asked);
          }}
        >
          <p>
            <strong>{name}</strong>: {CONSEQUENCES[asked]}
          </p>
          {others > 0 && (
            <label class="check">
              <input
                type="checkbox"
                checked={everywhere}
                onChange={(event) => setEverywhere(event.currentTarget.checked)}
              />{' '}
              in all {others + 1} workers
            </label>
          )}
          <label>
            Reason, for the log and the timeline{' '}
            <input
              type="text"
              maxLength={MAX_REASON}
              value={reason}
              ref={(input) => input?.focus()}
              onInput={(event) => setReason(event.currentTarget.value)}
            />
          </label>
          <div class="buttons">
            <button type="submit" class="danger" disabled={reason.trim() === ''}>
              Yes, {ACTION_WORDS[asked].toLowerCase()}
            </button>
            <button type="button" onClick={() => setAsked(undefined)}>
              Cancel
            </button>
          </div>
        </form>
      )}
      <p role="status">{answer}</p>
    </fieldset>
  );
}
