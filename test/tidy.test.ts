import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { archaicPhrases } from './support/archaic-phrases.ts';
import { AWS, RULES } from './support/import-rules.ts';
import { BY_PATH, FILES, FOLDERS, ROOT } from './support/source-files.ts';
import { WAITING_FILES } from './support/waiting-files.ts';

/** Checks that the repository is built as `docs` describe. Paths are relative to the repository. */

/** This file, which contains the patterns that it searches for. */
const SELF = 'test/tidy.test.ts';

/** The maximum number of source files directly in a folder: a fuller folder needs subfolders, or a reason here. */
const FILES_PER_FOLDER_MAX = 12;
const FULLER_FOLDERS: Readonly<{ [folder: string]: string }> = {
  'test/chaos': 'one kind of run',
  'test/localstack': 'one tool',
  'test/support': 'helpers that know nothing of each other',
};

function isWithin(name: string, places: readonly string[]): boolean {
  return places.some((place) => {
    if (place.endsWith('/') || place.endsWith(':')) return name.startsWith(place);
    return name === place || name.startsWith(`${place}/`);
  });
}

/** The shortest path from a file through its imports back to the file, including imports of types. */
function circleFrom(start: string): string | undefined {
  const from = new Map<string, string>();
  const queue = [start];
  for (let path = queue.shift(); path !== undefined; path = queue.shift()) {
    for (const name of BY_PATH.get(path)?.imports ?? []) {
      if (name === start) {
        const way = [path, start];
        for (let at = from.get(path); at !== undefined; at = from.get(at)) way.unshift(at);
        return way.join(' → ');
      }
      if (!BY_PATH.has(name) || from.has(name)) continue;
      from.set(name, path);
      queue.push(name);
    }
  }
  return undefined;
}

type Names = Readonly<Record<string, string>>;

const PACKAGE = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  readonly name: string;
  readonly exports: Readonly<Record<string, string | { readonly default: string }>>;
  readonly dependencies: Names;
  readonly devDependencies: Names;
  readonly peerDependencies: Names;
};
/** The folders that may import optional peers: users who do not use these folders need not install the peers. */
const PEER_IMPORTERS = ['shared/aws/open.ts', ...AWS, 'infra/constructs/'];

/** Files that no file imports, because something else runs them; each with the reason. */
const ENTRY_POINTS: readonly { readonly path: string; readonly why: string }[] = [
  { path: 'shared/cli/tailrace.js', why: 'npm start, and the bin of package.json' },
  { path: 'shared/storage/file/item-worker.ts', why: 'the worker thread of item-store.ts, by URL' },
  { path: 'infra/app.ts', why: 'cdk.json' },
  { path: 'infra/deploy/deploy.ts', why: 'npm scripts' },
];

const LINES_MAX = 500;

/** The documents for people, relative to the repository. */
function documents(): string[] {
  const inDocs = readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => join('docs', name));
  return ['README.md', 'CHANGELOG.md', ...inDocs.sort()];
}

describe('the tree', () => {
  it('is the one that is meant, and is read', () => {
    expect(FILES.length).toBeGreaterThan(80);
    for (const folder of ['shared/log/', 'shared/broker/', 'shared/storage/', 'shared/http/', 'functions/', 'test/']) {
      expect(FILES.filter(({ path }) => path.startsWith(folder)).length, folder).toBeGreaterThan(3);
    }
    expect(BY_PATH.get('shared/broker/append/append-batches.ts')?.imports).toContain(
      'shared/broker/append/group-commit.ts',
    );
    expect(BY_PATH.get('shared/log/batch/compression.ts')?.imports).toContain('node:zlib');
    expect(FILES.reduce((sum, { imports }) => sum + imports.length, 0)).toBeGreaterThan(300);
  });

  it('has every folder that a rule speaks of', () => {
    for (const { of, exists } of RULES) {
      expect(
        FILES.some(({ path }) => path === of || path.startsWith(of)),
        `${of}: set \`exists\` to match`,
      ).toBe(exists);
    }
  });
});

describe('dependencies', () => {
  it('point inwards', () => {
    const wrong: string[] = [];
    for (const { path, imports } of FILES) {
      if (path.startsWith('test/')) continue;
      const rule = RULES.find(({ of }) => path === of || (of.endsWith('/') && path.startsWith(of)));
      if (rule === undefined) {
        wrong.push(`${path} has no rule`);
        continue;
      }
      for (const name of imports) {
        if (!isWithin(name, rule.may) || isWithin(name, rule.not ?? [])) wrong.push(`${path} imports ${name}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  it('do not run in circles', () => {
    const circles = FILES.filter(({ path }) => !path.startsWith('test/'))
      .map(({ path }) => circleFrom(path))
      .filter((circle) => circle !== undefined);
    expect(circles).toEqual([]);
  });

  it('are of files that exist, named with their ending', () => {
    const wrong = FILES.flatMap(({ path, imports }) =>
      imports
        .filter((name) => isWithin(name, FOLDERS) && !existsSync(join(ROOT, name)))
        .map((name) => `${path} imports ${name}`),
    );
    expect(wrong).toEqual([]);
  });

  it('are in package.json, for running where shared and functions need them', () => {
    const { name: own, dependencies, devDependencies, peerDependencies } = PACKAGE;
    const wrong: string[] = [];
    for (const { path, imports } of FILES) {
      for (const name of imports) {
        if (isWithin(name, FOLDERS) || name.startsWith('node:')) continue;
        const packageName = name
          .split('/')
          .slice(0, name.startsWith('@') ? 2 : 1)
          .join('/');
        const needed = ['shared/', 'functions/', 'infra/constructs/'].some((folder) => path.startsWith(folder));
        const isPeer = PEER_IMPORTERS.some((place) => isWithin(path, [place])) && packageName in peerDependencies;
        if (packageName === own || packageName in dependencies || isPeer || (!needed && packageName in devDependencies))
          continue;
        wrong.push(`${path} imports ${name}`);
      }
    }
    expect(wrong).toEqual([]);
  });
});

describe('the core', () => {
  it('asks neither a clock nor chance, and waits for nothing by itself', () => {
    const forbidden =
      /\b(?:Date\.now|new Date\(\)|performance\.|process\.hrtime|Math\.random|randomBytes|randomUUID|randomInt|randomFill\w*|getRandomValues|setTimeout|setInterval|setImmediate|AbortSignal\.timeout)\b|new Date\(\)/;
    const core = FILES.filter(({ path }) =>
      /^shared\/(?:log|broker|access|http|client|kafka|storage\/[\w-]+\.ts)/.test(path),
    );
    expect(core.length).toBeGreaterThan(40);
    expect(core.filter(({ code }) => forbidden.test(code)).map(({ path }) => path)).toEqual([]);
    expect(
      forbidden.test('const now = Date.now();') && forbidden.test('x = new Date()') && !forbidden.test('new Date(ms)'),
    ).toBe(true);
  });

  it('of shared/log does not wait at all', () => {
    const waiting = FILES.filter(
      ({ path, code }) => path.startsWith('shared/log/') && /\b(?:await|async|Promise)\b/.test(code),
    );
    expect(waiting.map(({ path }) => path)).toEqual([]);
  });
});

describe('files', () => {
  it('are all used: by what is exported, what is run, or a test', () => {
    const roots = [
      ...Object.values(PACKAGE.exports)
        .filter((target) => typeof target !== 'string')
        .map((target) => target.default.replace(/^\.\/dist\//, '').replace(/\.js$/, '.ts')),
      ...ENTRY_POINTS.map(({ path }) => path),
      ...FILES.map(({ path }) => path).filter((path) => /^functions\/[^/]+\/(?:handler|main)\.ts$/.test(path)),
    ];
    for (const root of roots) expect(BY_PATH.has(root), `${root} is an entry point`).toBe(true);
    const used = new Set<string>();
    const visit = (path: string): void => {
      if (used.has(path)) return;
      used.add(path);
      for (const name of BY_PATH.get(path)?.imports ?? []) if (BY_PATH.has(name)) visit(name);
    };
    for (const root of roots) visit(root);
    const unused = FILES.map(({ path }) => path).filter(
      (path) => !path.startsWith('test/') && !path.endsWith('.d.ts') && !used.has(path),
    );
    expect(unused.sort(), 'unused, and not waiting').toEqual(Object.keys(WAITING_FILES).sort());
    for (const { path } of ENTRY_POINTS) {
      const importers = FILES.filter((file) => !file.path.startsWith('test/') && file.imports.includes(path));
      expect(importers, `${path} is imported, so it is no entry point`).toEqual([]);
    }
  });

  it(`are shorter than ${LINES_MAX} lines`, () => {
    const lengths = FILES.map(({ path, text }) => ({ path, lines: text.split('\n').length - 1 }));
    const long = lengths.filter(({ lines }) => lines >= LINES_MAX);
    expect(long).toEqual([]);
  });

  it(`are at most ${FILES_PER_FOLDER_MAX} in a folder, unless it says why`, () => {
    const counts = new Map<string, number>();
    for (const { path } of FILES.filter((file) => !/\.test\.ts$|\.d\.ts$/.test(file.path))) {
      const folder = dirname(path);
      counts.set(folder, (counts.get(folder) ?? 0) + 1);
    }
    const full = [...counts].filter(([, count]) => count > FILES_PER_FOLDER_MAX).map(([folder]) => folder);
    expect(full.sort()).toEqual(Object.keys(FULLER_FOLDERS).sort());
  });

  it('have names in kebab case', () => {
    const wrong = FILES.map(({ path }) => path).filter(
      (path) => !/^(?:[a-z0-9]+(?:-[a-z0-9]+)*\/)*[a-z0-9]+(?:-[a-z0-9]+)*(?:(?:\.test|\.d)?\.ts|\.js)$/.test(path),
    );
    expect(wrong).toEqual([]);
  });

  it('are written in plain modern English', () => {
    const sources = FILES.filter(({ path }) => /^(?:shared|functions|infra)\//.test(path));
    const texts = documents().map((path) => ({ path, text: readFileSync(join(ROOT, path), 'utf8') }));
    expect(texts.length).toBeGreaterThan(5);
    expect([...sources, ...texts].flatMap(({ path, text }) => archaicPhrases(path, text))).toEqual([]);
    expect(archaicPhrases('a.ts', '/**\n * The key can\n * not be read, lest it is lost. At least once.\n */')).toEqual(
      ['a.ts:2: can\n * not', 'a.ts:3: lest'],
    );
  });

  it('let the compiler see everything', () => {
    const directive = /@ts-(?:ignore|nocheck|expect-error)/;
    const untyped = /(?:[:<,|&(]|\bas)\s*any\b\s*(?:[;,)>|&=[\]{]|$)/m;
    const wrong = FILES.filter(({ text, code }) => directive.test(text) || untyped.test(code));
    expect(wrong.map(({ path }) => path).filter((path) => path !== SELF)).toEqual([]);
    for (const bad of ['x: any;', 'f(x: any)', 'Array<any>', 'y as any;', 'Record<string, any>'])
      expect(untyped.test(bad), bad).toBe(true);
  });
});

describe('tests', () => {
  const tests = FILES.filter(({ path }) => path.endsWith('.test.ts'));

  it('all run: none is singled out, left out, or empty', () => {
    const forbidden = /\b(?:describe|it|test|suite)\.(?:only|skip|todo|fails)\b|\b(?:xit|fit|xdescribe|fdescribe)\(/;
    expect(tests.length).toBeGreaterThan(10);
    const wrong = FILES.filter(({ path, code }) => path.startsWith('test/') && path !== SELF && forbidden.test(code));
    expect(wrong.map(({ path }) => path)).toEqual([]);
    const empty = tests.filter(
      ({ code }) =>
        !/\b(?:it|test|\w+Suite)(?:\.each|\.for)?[(`]/.test(code) || !/\b(?:expect|assert|\w+Suite)\b/.test(code),
    );
    expect(empty.map(({ path }) => path)).toEqual([]);
  });

  it('stand where what they test stands', () => {
    // A unit test's folder mirrors the source's; its file may take one side of it.
    const wrong = tests
      .map(({ path }) => /^test\/unit\/(.+)\/[^/]+$/.exec(path)?.[1])
      .filter(
        (folder) =>
          folder !== undefined && !existsSync(join(ROOT, 'shared', folder)) && !existsSync(join(ROOT, folder)),
      );
    expect(wrong).toEqual([]);
  });

  it('helpers are used', () => {
    const helpers = FILES.map(({ path }) => path).filter((path) => path.startsWith('test/support/'));
    const imported = new Set(FILES.flatMap(({ imports }) => imports));
    const named = FILES.map(({ text }) => text).join('\n');
    const unused = helpers.filter((path) => !imported.has(path) && !named.includes(path.slice('test/'.length)));
    expect(unused).toEqual([]);
  });
});
