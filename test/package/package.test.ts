import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SDK_PACKAGES } from '../../shared/aws/sdk-packages.ts';
import { type DocExample, docExamples } from '../support/doc-examples.ts';
import { type PackedPackage, type Project, packPackage } from '../support/packed-package.ts';

/** The package as users have it: packed, unpacked in a project, compiled against by theirs, and run. */

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const CDK = ['aws-cdk-lib', 'constructs'];
const TYPES = ['@types/node', 'undici-types'];
const TYPESCRIPT_7 = join(ROOT, 'node_modules/typescript/bin/tsc');
const TYPESCRIPT_5_6 = join(ROOT, 'node_modules/typescript-5.6/bin/tsc');

let packed: PackedPackage;
/** What the package brings along, and nothing else. */
let bare: Project;

beforeAll(async () => {
  packed = await packPackage();
  bare = await packed.install(TYPES);
});
afterAll(() => packed?.close());

describe('the tarball', () => {
  test('holds what package.json points to, and the documents', () => {
    const { bin, exports } = packageJson();
    const targets = Object.values(exports).flatMap((target) =>
      typeof target === 'string' ? [target] : Object.values(target),
    );
    expect(targets.length).toBeGreaterThan(6);
    for (const target of [...targets, ...Object.values(bin)]) expect(packed.files).toContain(target.replace('./', ''));
    for (const name of ['README.md', 'CHANGELOG.md', 'LICENSE', 'docs/operations.md'])
      expect(packed.files).toContain(name);
    expect(readFileSync(join(packed.folder, bin.tailrace), 'utf8')).toMatch(/^#!\/usr\/bin\/env node\n/);
  });

  test('holds neither sources, tests, nor the tools of a checkout', () => {
    const others = packed.files.filter((path) => !/^(?:dist\/(?:shared|functions|infra)|docs)\/|^[^/]+$/.test(path));
    expect(others).toEqual([]);
    expect(packed.files.filter((path) => /(?<!\.d)\.ts$|\.test\.|^dist\/infra\/(?:deploy|stacks)/.test(path))).toEqual(
      [],
    );
  });
});

describe('a project without the AWS SDK, esbuild and the CDK', () => {
  test('runs the local log from an ES module and from CommonJS', async () => {
    const code = `startTailrace({ memory: true }).then(async (tailrace) => {
      console.log(await (await fetch(tailrace.url + '/v1/health')).text());
      await tailrace.close();
    });`;
    await bare.write('local.mjs', `import { startTailrace } from 'tailrace/local'; ${code}`);
    await bare.write('local.cjs', `const { startTailrace } = require('tailrace/local'); ${code}`);
    const { version } = packageJson();
    for (const name of ['local.mjs', 'local.cjs'])
      expect(JSON.parse(await bare.node([name]))).toEqual({ status: 'ok', version });
    expect(await bare.node(['-p', 'require("tailrace/package.json").version'])).toBe(`${version}\n`);
  });

  test('is told how to install the AWS SDK by openEventLog', async () => {
    const code = "openEventLog({ tableName: 't', bucketName: 'b' })";
    await bare.write('direct.mjs', `import { openEventLog } from 'tailrace'; await ${code}`);
    await bare.write('direct.cjs', `const { openEventLog } = require('tailrace'); ${code}`);
    for (const name of ['direct.mjs', 'direct.cjs'])
      await expect(bare.node([name])).rejects.toMatchObject({
        stderr: expect.stringContaining(
          `Error: openEventLog needs the AWS SDK, and '${SDK_PACKAGES[0]}' is not installed. Run: npm install ${SDK_PACKAGES.join(' ')}\n`,
        ),
      });
  });

  test('is told how to install the CDK by tailrace/cdk', async () => {
    await expect(bare.node(['-e', "require('tailrace/cdk')"])).rejects.toMatchObject({
      stderr: expect.stringMatching(
        /Error: tailrace\/cdk needs the AWS CDK, .* Run: npm install aws-cdk-lib constructs\n/,
      ),
    });
  });

  test('is told how to install what the functions are bundled with', async () => {
    const project = await packed.install([...CDK, SDK_PACKAGES[1]]);
    await project.write('app.mts', cdkExample());
    const out = join(project.folder, 'cdk.out');
    await expect(project.node(['app.mts'], { CDK_OUTDIR: out })).rejects.toMatchObject({
      stderr: expect.stringContaining(`npm install --save-dev esbuild ${SDK_PACKAGES[0]} ${SDK_PACKAGES[2]}\n`),
    });
  });
});

describe('the command tailrace', () => {
  test('starts the server, on a data folder, as the README shows it', async () => {
    const folder = join(bare.folder, 'data');
    const server = spawn(process.execPath, [command(), '--port', '0', '--kafka-port', '0', '--data', folder], {
      cwd: bare.folder,
    });
    try {
      const banner = await printed(server, 'Ctrl-C stops it.\n');
      const bootstrapServers = /Kafka {6}(\S+)/.exec(banner)?.[1] as string;
      const url = /HTTP API {3}(http:\S+)\/v1/.exec(banner)?.[1] as string;
      const shown = /```\n(Tailrace is running in this process[\s\S]+?)```/.exec(readme())?.[1];
      expect(
        banner
          .replaceAll(url, 'http://127.0.0.1:8080')
          .replaceAll(bootstrapServers, '127.0.0.1:9092')
          .replace(folder, './.tailrace')
          .replace(/\(\d+\)/, '(4711)'),
      ).toBe(shown);
      expect((await fetch(`${url}/v1/topics/a`, { method: 'PUT' })).status).toBe(201);
      const posted = await fetch(`${url}/v1/topics/a?key=k`, { method: 'POST', body: 'v' });
      expect(await posted.json()).toMatchObject({ offset: 0 });
    } finally {
      server.kill('SIGTERM');
    }
    expect(await once(server, 'exit')).toEqual([0, null]);
  });

  test('says all that it can do', async () => {
    const help = await bare.node([command(), '--help']);
    for (const each of [
      'npx tailrace [options]',
      '--port',
      '--host',
      '--data',
      '--memory',
      '--keys',
      '--make-key',
      '--version',
      'tailrace/local',
      'tailrace/cdk',
    ])
      expect(help).toContain(each);
    expect(await bare.node([command(), '--version'])).toBe(`${packageJson().version}\n`);
  });

  test('names the option that is wrong', async () => {
    for (const [parameters, says] of [
      [['--port', '99999'], "--port takes a whole number from 0 to 65535, not '99999'.\n"],
      [['--colour'], "Unknown option '--colour'.\n"],
      [['up'], "Unexpected argument 'up'.\n"],
    ] as const)
      await expect(bare.node([command(), ...parameters])).rejects.toMatchObject({
        code: 2,
        stderr: expect.stringContaining(says),
      });
  });
});

describe('the types', () => {
  const options = ['--strict', '--target', 'es2022', '--lib', 'es2023', '--types', 'node'];
  // Tells ES modules from CommonJS by the file's name, so that one program has both.
  const nodenext = [...options, '--module', 'nodenext'];
  const bundler = [...options, '--module', 'esnext', '--moduleResolution', 'bundler', '--noEmit'];
  // The types of the CDK don't fit these, those of this package do.
  const strictest = ['--exactOptionalPropertyTypes', '--noUncheckedIndexedAccess', '--skipLibCheck'];

  test('are those of TypeScript 7, in ES modules, CommonJS and every example of the docs', async () => {
    const project = await packed.install([...TYPES, ...SDK_PACKAGES, ...CDK]);
    const names = await writeExamples(project, () => true);
    await project.write('common.cts', `import { startTailrace, type Tailrace } from 'tailrace/local';\n${CONSUMER}`);
    await project.node([TYPESCRIPT_7, ...nodenext, ...strictest, ...names, 'common.cts']);
    expect(await project.node(['common.cjs'])).toBe('0 v\n');
    await project.node([TYPESCRIPT_7, ...bundler, ...(await writeExamples(project, isWithoutCdk))]);
  });

  test('are those of TypeScript 5.6, in ES modules and CommonJS', async () => {
    const names = await writeExamples(bare, isWithoutCdk);
    const load = "const { startTailrace } = await import('tailrace/local');";
    await bare.write(
      'common.cts',
      CONSUMER.replace('{\n', `{\n${load}\n`).replace(
        'Tailrace =',
        "import('tailrace/local', { with: { 'resolution-mode': 'import' } }).Tailrace =",
      ),
    );
    await bare.node([TYPESCRIPT_5_6, ...nodenext, ...names, 'common.cts']);
    expect(await bare.node(['common.cjs'])).toBe('0 v\n');
    await bare.node([TYPESCRIPT_5_6, ...bundler, ...strictest, ...names]);
  });

  test('reject what does not fit', async () => {
    await bare.write(
      'wrong.mts',
      "import { startTailrace } from 'tailrace/local';\nawait startTailrace({ port: '80' });\n",
    );
    await expect(bare.node([TYPESCRIPT_7, ...nodenext, '--noEmit', 'wrong.mts'])).rejects.toMatchObject({
      stdout: expect.stringMatching(/^wrong\.mts\(2,23\): error TS2322/),
    });
  });
});

describe('the examples of README and docs', () => {
  test('are there for each entry of the package', () => {
    expect(new Set(docExamples().map(({ entry }) => entry))).toEqual(
      new Set(['tailrace', 'tailrace/client', 'tailrace/local', 'tailrace/cdk']),
    );
  });

  test('run the local log', async () => {
    for (const { entry, code } of docExamples()) {
      if (entry !== 'tailrace/local' && entry !== 'tailrace/client') continue;
      await bare.write('example.mts', `${code}\nconsole.log('done');`);
      expect(await bare.node(['example.mts'])).toMatch(/^(?:(?:0 )?9\.9\n|\{ total: 9\.9 \}\n)?done\n$/);
    }
  });

  test('synthesize stacks whose functions are bundled from the package', async () => {
    const project = await packed.install([...CDK, ...SDK_PACKAGES, 'esbuild']);
    await mkdir(join(project.folder, 'shop'));
    await project.write('shop/index.mjs', 'export const handler = () => {};');
    const names = await writeExamples(project, (example) => !isWithoutCdk(example));
    await project.write('app.mts', names.map((name) => `import './${name}';`).join('\n'));
    const out = join(project.folder, 'cdk.out');
    await project.node(['app.mts'], { CDK_OUTDIR: out });
    const made = readdirSync(out);
    const stacks = made.filter((name) => name.endsWith('.template.json')).map((name) => name.split('.')[0]);
    expect(stacks.sort()).toEqual(['Orders', 'Records', 'Service']);
    expect(made.filter((name) => existsSync(join(out, name, 'index.mjs'))).length).toBeGreaterThanOrEqual(3);
  });
});

const CONSUMER = `
async function main(): Promise<void> {
  const tailrace: Tailrace = await startTailrace({ memory: true });
  await tailrace.broker.putTopic({ name: 'orders' });
  const value = new TextEncoder().encode('v');
  const [outcome] = await tailrace.broker.appendRecords({ topic: 'orders', records: [{ key: null, value, headers: [] }] });
  if (outcome?.ok) console.log(outcome.offset, new TextDecoder().decode(value));
  await tailrace.close();
}
main();
`;

function packageJson(): {
  version: string;
  bin: { tailrace: string };
  exports: Readonly<Record<string, string | Readonly<Record<string, string>>>>;
} {
  return JSON.parse(readFileSync(join(packed.folder, 'package.json'), 'utf8'));
}

function readme(): string {
  return readFileSync(join(packed.folder, 'README.md'), 'utf8');
}

function command(): string {
  return join('node_modules/tailrace', packageJson().bin.tailrace);
}

function cdkExample(): string {
  return docExamples().find(({ entry, code }) => entry === 'tailrace/cdk' && !code.includes('shop'))?.code as string;
}

function isWithoutCdk({ entry }: DocExample): boolean {
  return entry !== 'tailrace/cdk';
}

async function writeExamples(project: Project, fits: (example: DocExample) => boolean): Promise<string[]> {
  const files = docExamples()
    .filter(fits)
    .map(({ code }, i) => ({ name: `example-${i}.mts`, code }));
  for (const { name, code } of files) await project.write(name, code);
  return files.map(({ name }) => name);
}

/** What a process prints, up to a text. Goes on reading, so that the process can go on printing. */
function printed(child: ChildProcess, end: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    child.once('exit', () => reject(new Error(`It ended after: ${text}`)));
    child.stdout?.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      if (text.endsWith(end)) resolve(text);
    });
  });
}
