import { normalizePath } from '../target.js';
import type { PatternProblem } from './problem.js';

/** Whether a path, as `normalizePath` gives it, fits a pattern. */
export type PathTest = (path: string) => boolean;

/** A method of HTTP (RFC 9110, 9.1). No flags: it is also a pattern of the JSON schema. */
export const METHOD_PATTERN = /^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/;

/** What is wrong with a pattern for paths, or `undefined` where nothing is. */
export function checkPathPattern(pattern: string): PatternProblem | undefined {
  if (URL.canParse(pattern)) {
    const { pathname } = new URL(pattern);
    return {
      consequence: 'it is a URL, which no path is ever equal to',
      allowed: `Write the path alone: "${pathname}".`,
    };
  }
  if (!pattern.startsWith('/') || /\s/.test(pattern)) {
    return {
      consequence: 'no path is like this',
      allowed: 'Use a path that begins with a slash, such as "/v1/reports/**".',
    };
  }
  if (/[?#]/.test(pattern)) {
    return {
      consequence: 'rules look at the path alone, and it would fit no call',
      allowed: `Leave the query out: "${pattern.slice(0, pattern.search(/[?#]/))}".`,
    };
  }
  const segments = pattern.split('/');
  const wide = segments.filter((segment) => segment.includes('**'));
  if (wide.length > 1 || wide.some((segment) => segment !== '**')) {
    return {
      consequence: 'it is not clear which paths are meant',
      allowed:
        'Use * for characters between two slashes, and at most one **, alone between slashes, for any number of segments.',
    };
  }
  return undefined;
}

/**
 * `*` stands for one or more characters of a segment, `**` for any number of segments, none included: `/v1/reports/**`
 * fits `/v1/reports` too. No captures: strangers choose paths, and must not make breakers by them.
 *
 * Takes time in proportion to the length of the path, whatever the pattern.
 */
export function pathTest(pattern: string): PathTest {
  const path = normalizePath(pattern);
  if (!path.includes('*')) return (text) => text === path;
  const segments = path.split('/').slice(1);
  const wide = segments.indexOf('**');
  if (wide === segments.length - 1 && path.indexOf('*') === path.length - 2) {
    // What most patterns are like.
    const folder = path.slice(0, -2);
    const itself = folder.slice(0, -1);
    return (text) => text.startsWith(folder) || text === itself;
  }
  const tests = segments.map(segmentTest);
  if (wide < 0) {
    return (text) => {
      const parts = text.split('/').slice(1);
      return parts.length === tests.length && tests.every((test, at) => test(parts[at]!));
    };
  }
  const [head, tail] = [tests.slice(0, wide), tests.slice(wide + 1)];
  return (text) => {
    const parts = text.split('/').slice(1);
    if (parts.length < head.length + tail.length) return false;
    const from = parts.length - tail.length;
    return head.every((test, at) => test(parts[at]!)) && tail.every((test, at) => test(parts[from + at]!));
  };
}

function segmentTest(segment: string): PathTest {
  if (!segment.includes('*')) return (text) => text === segment;
  const pieces = segment.split('*');
  const [first, last] = [pieces[0]!, pieces.at(-1)!];
  return (text) => {
    if (!text.startsWith(first) || !text.endsWith(last)) return false;
    let at = first.length;
    for (const piece of pieces.slice(1, -1)) {
      // Each star stands for one character at least.
      const found = text.indexOf(piece, at + 1);
      if (found < 0) return false;
      at = found + piece.length;
    }
    return at < text.length - last.length;
  };
}
