/** A question to the text of a statement; what is no text answers no. */
export type SqlQuestion = (text: unknown) => boolean;

export function asks(pattern: RegExp): SqlQuestion {
  return (text) => typeof text === 'string' && pattern.test(text);
}
