// Puts a fault into each function of the build, to be turned on one at a time: `require` this before anything of ours.
'use strict';
const { readFileSync } = require('node:fs');
const Module = require('node:module');
const { join, relative, sep } = require('node:path');
const ts = require('typescript');

const ROOT = join(__dirname, '../..');
const DIST = join(ROOT, 'dist');
// What runs within a client's own function. A hidden property is as a field: it has no way to fail.
const ROOMS = /^(instrumentations|src\/(guard|breaker|rules|outcomes|telemetry))\//;
// What reports a fault cannot be asked to report its own, and what hands a rejection to an undici handler has no other way.
const NOT_ASKED =
  /^(instrumentations\/hidden-property|instrumentations\/undici\/refusal|src\/breaker\/diagnostics|src\/telemetry\/log)\.js$/;

// `read` takes whatever a hostile getter throws, and so a fault of its own; the others assign a field, read the client's own
// queue, or call its own function between two that are tried; a rejected stream has nothing to `_read`.
const INFALLIBLE =
  /^(read|_read|#endTurn|#endPacedTurn|takeCarried|pending|checkOut|onReceive(Metadata|Message|Status))$/;

/** Names of the functions, by their numbers: `instrumentations/http/http-call.js:42 onResponse`. */
const names = [];
const hits = new Set();
let recording = false;
let active = -1;
let struck = false;

class InjectedFault extends Error {}

globalThis.__fault = (id) => {
  if (recording) hits.add(id);
  if (id !== active) return;
  struck = true;
  throw new InjectedFault(`injected into ${names[id]}`);
};

function instrument(source, file) {
  const tree = ts.createSourceFile(file, source, ts.ScriptTarget.ES2022, true);
  const edits = [];

  function add(position, text) {
    edits.push([position, text]);
  }

  function visit(node) {
    if (ts.isFunctionLike(node) && node.body && isFallible(node)) {
      const { line } = tree.getLineAndCharacterOfPosition(node.getStart(tree));
      const id = names.push(`${file}:${line + 1} ${nameOf(node)}`) - 1;
      if (!ts.isBlock(node.body)) {
        add(node.body.getStart(tree), `(__fault(${id}), `);
        add(node.body.getEnd(), ')');
      } else {
        // A function that catches is asked about what it catches.
        const caught = node.body.statements.find((statement) => ts.isTryStatement(statement) && statement.catchClause);
        add((caught?.tryBlock ?? node.body).getStart(tree) + 1, ` __fault(${id}); `);
      }
    }
    ts.forEachChild(node, visit);
  }
  visit(tree);
  // From the end, so that positions hold; of two at one place, the outer one opens first.
  edits.sort((a, b) => b[0] - a[0]);
  return edits.reduce((text, [at, insert]) => text.slice(0, at) + insert + text.slice(at), source);
}

/** All but what stands in a client's place itself, and does nothing but call what is tried here; and all but accessors. */
function isFallible(node) {
  if (ts.isGetAccessor(node) || ts.isSetAccessor(node)) return false;
  // A name that a module hands on.
  if (ts.isPropertyAssignment(node.parent) && node.parent.name.getText() === 'get') return false;
  // A field of ours on an object of the client, written out where a call passes.
  if (ts.isClassDeclaration(node.parent) && /^extends .*\bOnAnother$/.test(node.parent.heritageClauses?.[0]?.getText()))
    return false;
  return !isReplacement(node);
}

function isReplacement(node) {
  if (ts.isVariableDeclaration(node.parent) && node.parent.name.getText() === 'watched') return true;
  let outer = node.parent;
  while (ts.isParenthesizedExpression(outer) || ts.isReturnStatement(outer) || ts.isBlock(outer)) outer = outer.parent;
  if (ts.isFunctionDeclaration(outer) && /^(guardedDispatch|harmless)$/.test(outer.name.text)) return true;
  if (ts.isBinaryExpression(node.parent) && node.parent.left.getText() === 'internals._load') return true;
  if (INFALLIBLE.test(nameOf(node))) return true;
  // The ends of a command, and the callback of a connection.
  if (ts.isBinaryExpression(node.parent) && /\.(resolve|reject|outerReject|onResult)$/.test(node.parent.left.getText()))
    return true;
  // What stands between undici and a handler, and the abort that it hands on.
  if (ts.isMethodDeclaration(node) && node.parent.parent.name?.getText() === 'watching') return true;
  if (nameOf(node) === 'endRequest') return true;
  const maker = ts.isArrowFunction(outer) || ts.isFunctionExpression(outer) ? outer : node;
  const call = maker.parent;
  return (ts.isCallExpression(call) || ts.isNewExpression(call)) && isHandedOn(call);
}

function isHandedOn(call) {
  const callee = call.expression.getText();
  return (
    (/\.replace$/.test(callee) && call.arguments.length === 3) ||
    /(deferRejection|deliverLater|checkOut|nextTick|queueMicrotask)\)?$|^connect\.call$|_Promise$|^Promise$|^result\.then$/.test(
      callee,
    )
  );
}

function nameOf(node) {
  const named =
    node.name ??
    (ts.isVariableDeclaration(node.parent) || ts.isPropertyDeclaration(node.parent) ? node.parent.name : undefined);
  return named?.getText() ?? (ts.isConstructorDeclaration(node) ? 'constructor' : '(anonymous)');
}

const { compilerOptions } = ts.parseConfigFileTextToJson('', readFileSync(join(ROOT, 'tsconfig.json'), 'utf8')).config;

/** What the compiler makes of a file: in the build, those that every start loads are doors to one that holds them all. */
function compiled(filename, file) {
  const built = readFileSync(filename, 'utf8');
  if (!/^module\.exports = require\(".*at-start\.js"\)/m.test(built)) return built;
  const fileName = join(ROOT, file.replace(/\.js$/, '.ts'));
  const options = { ...compilerOptions, module: 'commonjs' };
  return ts.transpileModule(readFileSync(fileName, 'utf8'), { compilerOptions: options, fileName }).outputText;
}

const load = Module._extensions['.js'];
Module._extensions['.js'] = function (module, filename) {
  const file = relative(DIST, filename).split(sep).join('/');
  if (file.startsWith('..')) return load(module, filename);
  const source = compiled(filename, file);
  module._compile(ROOMS.test(file) && !NOT_ASKED.test(file) ? instrument(source, file) : source, filename);
};

module.exports = {
  InjectedFault,
  /** Runs something and returns the functions it has gone through. */
  async record(run) {
    hits.clear();
    recording = true;
    try {
      await run();
    } finally {
      recording = false;
    }
    return [...hits].map((id) => ({ id, name: names[id] }));
  },
  /** Whether the function that was to fail was called: some are not with each call. */
  wasStruck: () => struck,
  /** Runs something while one function fails. */
  async withFault(id, run) {
    require(join(DIST, 'src/breaker/diagnostics.js')).forgetReports();
    active = id;
    struck = false;
    try {
      return await run();
    } finally {
      active = -1;
    }
  },
};
