import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const ROOT = fileURLToPath(new URL('../..', import.meta.url));

interface PackageJson {
  readonly files: readonly string[];
  readonly dependencies: Readonly<Record<string, string>>;
}

/** The package as it is published, and projects that have installed it. Everything goes with `close`. */
export interface PackedPackage {
  /** Paths in the tarball. */
  readonly files: readonly string[];
  /** Where the tarball is unpacked. */
  readonly folder: string;
  /** A new project with the package and its dependencies, and of the packages of this checkout those that are named. */
  install(packages?: readonly string[]): Promise<Project>;
  close(): Promise<void>;
}

export interface Project {
  readonly folder: string;
  write(name: string, text: string): Promise<void>;
  /** Runs Node in the folder, without the AWS settings of this process. @throws Error if it fails, with `stdout` and `stderr` */
  node(parameters: readonly string[], environment?: Readonly<Record<string, string>>): Promise<string>;
}

/** Compiles and packs the package as `npm pack` does, in a folder of its own, and asks no registry. */
export async function packPackage(): Promise<PackedPackage> {
  const root = await mkdtemp(join(tmpdir(), 'tailrace-package-'));
  const close = (): Promise<void> => rm(root, { recursive: true, force: true });
  try {
    const source = join(root, 'source');
    const { files, dependencies } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as PackageJson;
    await mkdir(source);
    for (const name of ['package.json', ...files.filter((each) => each !== 'dist')])
      await cp(join(ROOT, name), join(source, name), { recursive: true });
    const tsc = join(ROOT, 'node_modules/typescript/bin/tsc');
    await run(process.execPath, [tsc, '-p', join(ROOT, 'tsconfig.build.json'), '--outDir', join(source, 'dist')]);
    const packed = await run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', root], {
      cwd: source,
    });
    const [tarball] = JSON.parse(packed.stdout) as [{ filename: string; files: { path: string }[] }];
    await run('tar', ['-xzf', join(root, tarball.filename), '-C', root]);
    const folder = join(root, 'package');
    let projects = 0;
    const install = async (packages: readonly string[] = []): Promise<Project> => {
      const project = join(root, `project-${projects++}`);
      await cp(folder, join(project, 'node_modules/tailrace'), { recursive: true });
      for (const name of [...Object.keys(dependencies), ...packages]) {
        const link = join(project, 'node_modules', name);
        await mkdir(dirname(link), { recursive: true });
        await symlink(join(ROOT, 'node_modules', name), link);
      }
      return projectIn(project);
    };
    return { files: tarball.files.map(({ path }) => path), folder, install, close };
  } catch (error) {
    await close();
    throw error;
  }
}

function projectIn(folder: string): Project {
  return {
    folder,
    write: (name, text) => writeFile(join(folder, name), text),
    node: async (parameters, environment = {}) => {
      const inherited = Object.entries(process.env).filter(([name]) => !/^(?:AWS|CDK|NODE|TAILRACE)_/.test(name));
      const env = { ...Object.fromEntries(inherited), AWS_EC2_METADATA_DISABLED: 'true', ...environment };
      try {
        return (await run(process.execPath, [...parameters], { cwd: folder, env })).stdout;
      } catch (error) {
        // TypeScript says what is wrong on standard output.
        if (error instanceof Error && 'stdout' in error) error.message += `\n${error.stdout}`;
        throw error;
      }
    },
  };
}
