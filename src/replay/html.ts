import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { PACKAGE } from '../version.js';
import type { ReplayReport } from './report.js';

/** Writes a report as one page that needs no other file and no network. */
export function writePage(path: string, report: ReplayReport): void {
  const folder = join(dirname(require.resolve('otel-breaker/package.json')), 'dist', 'page');
  const read = (name: string) => readFileSync(join(folder, name), 'utf8');
  writeFileSync(path, pageOf(report, read('report.css'), read('report.js')));
}

function pageOf(report: ReplayReport, style: string, script: string): string {
  // No "<" in data can end the element that it stands in.
  const data = JSON.stringify(report).replaceAll('<', '\\u003c');
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="${PACKAGE.name} ${PACKAGE.version}">
<meta http-equiv="content-security-policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:">
<title>Circuit breakers, replayed</title>
<style>${style}</style>
</head>
<body>
<div id="app"></div>
<noscript>This page needs JavaScript. The same in text: otel-breaker replay without --html.</noscript>
<script type="application/json" id="report">${data}</script>
<script>${script.replaceAll('</script', '<\\/script')}</script>
</body>
</html>
`;
}
