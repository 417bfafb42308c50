import { expect } from 'chai';
import { STATE_NAMES, TRANSITIONS } from '../../src/breaker/state.js';
import { Document } from './documents.js';

describe('docs/implementation.md', () => {
  it('has every change of state, and no other', () => {
    const documented = new Document('docs/implementation.md')
      .tableOf('The circuit')
      .slice(1)
      .map(([from, to]) => [from, to]);
    const possible = TRANSITIONS.map(([from, to]) => [STATE_NAMES[from], STATE_NAMES[to]]);
    expect(documented).to.have.deep.members(possible);
  });
});
