import { expect } from 'chai';
import { resolveConfig } from '../../../src/breaker/config.js';
import { whenOpenFor } from '../../../src/outcomes/when-open.js';

describe('whenOpenFor', () => {
  it('throws, except where an LLM service is called through undici', () => {
    const choices = (['http', 'undici'] as const).flatMap((client) =>
      (['httpApi', 'llmService'] as const).map((preset) => whenOpenFor(client, resolveConfig({ preset }))),
    );
    expect(choices).to.deep.equal(['throw', 'throw', 'throw', 'respond']);
  });

  it('does what the option says where it is set', () => {
    expect(whenOpenFor('http', resolveConfig({ whenOpen: 'respond' }))).to.equal('respond');
    expect(whenOpenFor('undici', resolveConfig({ preset: 'llmService', whenOpen: 'throw' }))).to.equal('throw');
  });
});
