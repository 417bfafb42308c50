// Runs every probe with and without the preload, on this Node and on later lines, and writes what differs into
// docs/reliability.md: `npm run transparency [-- --client http2 --client nodemailer]`, of some clients only their lines.
import { parseArgs } from 'node:util';
import { installLaterLines, LATER_LINES } from '../support/node-lines.js';
import { writeFindings } from '../support/report.js';
import { compare, type Comparison } from './compare.js';
import { CASES, KNOWN_DIFFERENCES, World, type Case } from './subjects.js';

/** What was found for a client, in all the ways that it was loaded. */
interface Finding {
  readonly title: string;
  readonly family: string;
  readonly nodes: Set<string>;
  readonly results: Comparison[];
}

/** A row of the table for a client; the same on every Node. */
export function rowOf(title: string, family: string, results: readonly Comparison[]): string {
  const [first] = results as readonly [Comparison, ...Comparison[]];
  const known = Object.keys(KNOWN_DIFFERENCES[family] ?? {});
  const differing = new Set(results.flatMap(({ differences }) => differences.map(({ probe }) => probe)));
  const unknown = [...differing].filter((probe) => !known.includes(probe));
  const frames = Math.max(...results.map((result) => result.frames));
  return `| ${title} | ${first.probes.length} | ${first.exits.length} | ${unknown.length} | ${differing.size - unknown.length} | ${frames} |`;
}

/** @param earlier what was found of other clients, which stays */
function section(findings: readonly Finding[], earlier: string): string {
  const nodes = [...new Set(findings.flatMap((finding) => [...finding.nodes]))];
  const rows = linesOf(earlier, /^\| ([^|]*?) +\| +\d/);
  const changed = linesOf(earlier, /^- ([^:]*): `/);
  const probes = linesOf(earlier.slice(earlier.indexOf('The probes:')), /^- ([^:]*): /);
  for (const { title, family, results } of findings) {
    rows.set(title, rowOf(title, family, results));
    const paths = new Set(results.flatMap((result) => patchedFunctions(result.changed)));
    changed.delete(title);
    if (paths.size > 0) changed.set(title, `- ${title}: ${[...paths].map((path) => `\`${path}\``).join(', ')}`);
    probes.set(family, `- ${family}: ${results[0]!.probes.concat(results[0]!.exits).join('; ')}`);
  }
  return [
    `Loaded by \`require\` and by \`import\`, on ${nodes.join(', ')}.`,
    '',
    '| client | probes | programs run to their end | differences | known ones, below | frames of ours below a listener, at most |',
    '| --- | --: | --: | --: | --: | --: |',
    ...rows.values(),
    '',
    'What differs, and why it cannot be helped:',
    '',
    ...Object.values(KNOWN_DIFFERENCES).flatMap((known) =>
      Object.entries(known).map(([probe, reason]) => `- _${probe}_: ${reason}.`),
    ),
    '',
    'Functions that have another source text, since it is ours: `toString()` shows it, and where one was a method it can',
    'now be called with `new`. Name, length, place, and attributes are those of the original.',
    '',
    ...changed.values(),
    '',
    'The probes:',
    '',
    ...probes.values(),
  ].join('\n');
}

/** The lines that tell of one thing each, by what the first group of a pattern finds in them. */
function linesOf(text: string, pattern: RegExp): Map<string, string> {
  const found = text.split('\n').map((line) => [pattern.exec(line)?.[1], line] as const);
  return new Map(found.filter((entry): entry is readonly [string, string] => entry[0] !== undefined));
}

/** `ioredis.prototype.sendCommand`, and `(inherited before)` where it has become an own property. */
function patchedFunctions(changed: Comparison['changed']): string[] {
  const ownBefore = Object.keys(changed).filter(
    (path) => changed[path]!.includes('source') && !path.endsWith('.constructor'),
  );
  const isPartOf = (path: string, whole: string) => path.startsWith(`${whole}.`);
  const ownNow = Object.keys(changed).filter(
    (path) => changed[path]![0] === 'own' && !Object.keys(changed).some((other) => isPartOf(path, other)),
  );
  return [...ownBefore, ...ownNow.map((path) => `${path} (inherited before)`)].map((path) =>
    path.replaceAll('.__proto__', ''),
  );
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { client: { type: 'string', multiple: true } } });
  const cases = CASES.filter(({ title }) => values.client?.includes(title) ?? true);
  await installLaterLines();
  const world = new World();
  const findings = new Map<string, Finding>();
  let failed = false;
  const look = async (one: Case, line: string, node?: string) => {
    const result = await compare({ ...(await world.subject(one)), ...(node !== undefined && { node }) });
    const known = Object.keys(KNOWN_DIFFERENCES[one.family] ?? {});
    const unknown = result.differences.filter(({ probe }) => !known.includes(probe));
    failed ||= unknown.length > 0;
    console.log(`${line}, ${one.title}, ${one.kind}: ${result.probes.length} probes, ${unknown.length} differences`);
    if (unknown.length > 0) console.dir(unknown, { depth: 9 });
    let finding = findings.get(one.title);
    if (finding === undefined) findings.set(one.title, (finding = { ...one, nodes: new Set(), results: [] }));
    finding.nodes.add(line);
    finding.results.push(result);
  };
  try {
    const here = `Node ${process.versions.node.split('.')[0]}`;
    for (const one of cases) await look(one, here);
    const ofLaterNodes = (['cjs', 'mjs'] as const).map((kind): Case => {
      return { family: 'undici', packages: [LATER_LINES.undici8], title: 'undici 8', kind };
    });
    for (const [line, node] of Object.entries(LATER_LINES.nodes)) {
      if (line === here) continue;
      for (const one of values.client === undefined ? [...cases, ...ofLaterNodes] : cases) await look(one, line, node);
    }
  } finally {
    await world.stop();
  }
  await writeFindings('transparency', (report) => {
    const [, earlier = ''] = /<!-- transparency: .* -->([^]*)<!-- end of transparency -->/.exec(report) ?? [];
    return section([...findings.values()], values.client === undefined ? '' : earlier);
  });
  process.exit(failed ? 1 : 0);
}

if (require.main === module) void main();
