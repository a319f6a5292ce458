import { EventLogError } from '../../shared/log/errors.ts';
import { type DataFolder, openDataFolderOn } from '../../shared/storage/file/data-folder.ts';
import { MemoryItemStore } from '../../shared/storage/memory/item-store.ts';
import { Chance } from '../simulation/world/chance.ts';
import { EventLoop } from '../simulation/world/event-loop.ts';
import { Disk, Folder } from './disk.ts';
import { Ledger } from './ledger.ts';
import { type DiskFaults, Mount, NO_FAULTS } from './mount.ts';

/** New, with a folder above it that is new as well; only `/var` was there before, or nothing is ever durable. */
const PATH = '/var/lib/log';
/** Two folders of an hour, one that lies deep, and none. */
const FOLDERS = ['hot/2026010100/', 'hot/2026010101/', 'segments/t/0/', ''];
/** The fewer names there are, the more puts race for one. */
const NAMES = [['a'], ['a', 'b', 'c', 'd'], ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']];
const CLIENTS_MAX = 6;
const PUTS_MAX = 8;
const CUTS_MAX = 4;
const URL_EXPIRES_MS = 1e15;

export interface PowerCutResult {
  readonly violations: readonly string[];
  readonly acknowledged: number;
  /** Power cuts, and processes that were killed on a disk that kept its power. */
  readonly cuts: number;
  readonly kills: number;
  readonly faults: number;
}

/** Streams of chance, so that one part of a run can change without the others. */
const STREAM = { plan: 1, disk: 2, cut: 3, client: 10 } as const;

/** How one process ends. A closed one has ended by itself; its disk may lose power all the same. */
type Ending = 'power cut' | 'killed' | 'closed';

/**
 * Some processes in turn over one disk: each opens the data folder, puts and gets objects, and ends at any of its calls.
 * With `cutAt`, the first ends by a power cut at just that step.
 */
export async function runPowerCuts(seed: number, cutAt?: number): Promise<PowerCutResult & { readonly steps: number }> {
  const run = new Run(seed);
  const plan = new Chance(seed, STREAM.plan);
  const rounds = 1 + plan.below(CUTS_MAX);
  let steps = 0;
  for (let round = 0; round < rounds; round++) {
    const isGiven = round === 0 && cutAt !== undefined;
    const ending: Ending = isGiven ? 'power cut' : plan.pick(ENDINGS);
    const until = isGiven ? { steps: cutAt } : drawEnd(ending, plan);
    const ended = await run.process(round, until, drawFaults(plan));
    if (round === 0) steps = ended;
    run.end(ending, plan.chance(0.5));
  }
  // Twice, as the first opening may have written.
  for (const round of [rounds, rounds + 1]) {
    await run.inspect(round);
    run.end('closed', true);
  }
  return { ...run.result(), steps };
}

/** A process ends after so many steps, or as soon as so many puts were acknowledged: whichever comes first. */
interface End {
  readonly steps?: number;
  readonly puts?: number;
}

function drawEnd(ending: Ending, chance: Chance): End {
  if (ending === 'closed') return {};
  // Early ones meet the opening, late ones a process at rest; nothing is worse than right after a promise.
  return chance.chance(0.5) ? { steps: Math.floor(chance.next() ** 2 * 1_200) } : { puts: 1 + chance.below(12) };
}

const ENDINGS: readonly Ending[] = ['power cut', 'power cut', 'killed', 'killed', 'closed'];

function drawFaults(chance: Chance): DiskFaults {
  const syncMsMax = chance.pick([1, 30, 300]);
  const shortWriteRate = chance.pick([0, 0.2]);
  if (chance.chance(0.6)) return { ...NO_FAULTS, shortWriteRate, syncMsMax };
  return { shortWriteRate, syncMsMax, noSpaceRate: chance.pick([0, 0.1]), ioErrorRate: chance.pick([0, 0.02, 0.1]) };
}

class Run {
  private readonly seed: number;
  private readonly ledger = new Ledger();
  private readonly urls: string[] = [];
  private disk = new Disk();
  private puts = 0;
  private acknowledged = 0;
  private cuts = 0;
  private kills = 0;
  private failures = 0;

  constructor(seed: number) {
    this.seed = seed;
    const base = new Folder();
    this.disk.root.set('var', base);
    this.disk.root.sync()();
  }

  /** A process until it has done what it was to do, or is ended. Answers how many steps it came to. */
  async process(round: number, { steps, puts }: End, faults: DiskFaults): Promise<number> {
    const loop = new EventLoop();
    const mount = new Mount(this.disk, loop, new Chance(this.seed, STREAM.disk, round), faults);
    const work = watched(this.serve(round, mount));
    const stepsMax = steps ?? Number.POSITIVE_INFINITY;
    const putsMax = puts === undefined ? Number.POSITIVE_INFINITY : this.acknowledged + puts;
    await loop.run(() => work.settled() || mount.steps >= stepsMax || this.acknowledged >= putsMax);
    if (work.settled()) await work.done;
    return mount.steps;
  }

  private async serve(round: number, mount: Mount): Promise<void> {
    const folder = await this.open(mount);
    if (folder === undefined) return;
    const plan = new Chance(this.seed, STREAM.client, round * 100);
    const folders = plan.pick([FOLDERS, [plan.pick(FOLDERS)]]);
    const names = plan.pick(NAMES);
    const keys = folders.flatMap((prefix) => names.map((name) => `${prefix}${name}`));
    const clients = Array.from({ length: 1 + plan.below(CLIENTS_MAX) }, (_, client) =>
      this.client(folder, keys, new Chance(this.seed, STREAM.client, round * 100 + client + 1)),
    );
    await Promise.all(clients);
    // Whatever failed must not keep on failing. A first put may still join what began before.
    mount.faults = NO_FAULTS;
    for (const prefix of FOLDERS) {
      for (const mustSucceed of [false, true])
        await this.put(folder, `${prefix}${round}`, new Chance(this.seed, 0, this.puts), mustSucceed);
    }
    await folder.close();
  }

  private async open(mount: Mount): Promise<DataFolder<unknown> | undefined> {
    try {
      const openItems = async () => Object.assign(new MemoryItemStore(), { close: async () => {} });
      const components = { fileSystem: mount, openItems };
      const folder = await openDataFolderOn(components, PATH, { baseUrl: () => 'http://localhost' });
      const left = await mount.readdir(`${PATH}/tmp`);
      if (left.length > 0) this.ledger.broken(`An opened folder has ${left.length} files in tmp.`);
      for (const url of this.urls) {
        if (!folder.signer.verify('key', new URL(url).searchParams, 0))
          this.ledger.broken('A URL that was signed before is no longer valid.');
      }
      this.urls.push(folder.signer.sign('key', { start: 0, end: 1 }, URL_EXPIRES_MS).url);
      return folder;
    } catch (error) {
      const faulty = mount.faults.ioErrorRate > 0 || mount.faults.noSpaceRate > 0;
      if (!(error instanceof EventLogError) || !faulty) throw error;
      this.failures++;
      return undefined;
    }
  }

  private async client(folder: DataFolder<unknown>, keys: readonly string[], chance: Chance): Promise<void> {
    const count = chance.below(PUTS_MAX + 1);
    for (let i = 0; i < count; i++) {
      const key = chance.pick(keys);
      if (chance.chance(0.3)) await this.get(folder, key);
      else await this.put(folder, key, chance, false);
    }
  }

  private async put(folder: DataFolder<unknown>, key: string, chance: Chance, mustSucceed: boolean): Promise<void> {
    const content = contentOf(++this.puts, chance.pick([0, 8, 100, 511, 512, 2_000, 9_000]));
    const attempt = this.ledger.begin(key, content);
    const cut = chance.below(content.length + 1);
    try {
      const result = await folder.objects.put(key, [content.subarray(0, cut), content.subarray(cut)]);
      this.ledger.answered(attempt, result);
      this.acknowledged++;
    } catch (error) {
      if (mustSucceed) throw error;
      this.failures++;
      this.ledger.failed(attempt, error);
    }
  }

  private async get(folder: DataFolder<unknown>, key: string): Promise<void> {
    const check = this.ledger.expectation(key);
    check(await folder.objects.get(key, { start: 0, end: Number.MAX_SAFE_INTEGER }));
  }

  /** What becomes of the disk, and of what nothing may ever be seen of. */
  end(ending: Ending, losesPower: boolean): void {
    if (ending === 'killed') {
      this.kills++;
      return;
    }
    if (ending === 'closed' && !losesPower) return;
    this.disk = this.disk.cut(new Chance(this.seed, STREAM.cut, this.cuts++));
    this.checkFiles();
  }

  /** Opens the folder as whoever comes next, and looks at all that was ever tried. */
  async inspect(round: number): Promise<void> {
    const loop = new EventLoop();
    const mount = new Mount(this.disk, loop, new Chance(this.seed, STREAM.disk, round), NO_FAULTS);
    const work = watched(this.look(mount));
    await loop.run(() => work.settled());
    await work.done;
  }

  private async look(mount: Mount): Promise<void> {
    const folder = await this.open(mount);
    for (const key of this.ledger.keys) {
      const found = await folder?.objects.get(key, { start: 0, end: Number.MAX_SAFE_INTEGER });
      this.ledger.check(key, found, 'after a power cut');
    }
    await folder?.close();
  }

  /** By the files themselves, before anything is opened: each object is whole or not there, and nothing else is there. */
  private checkFiles(): void {
    const files = filesBelow(this.disk.root, '');
    const objects = `${PATH}/objects/`;
    for (const [path, content] of files) {
      if (!path.startsWith(objects)) continue;
      const key = path.slice(objects.length);
      if (this.ledger.keys.includes(key)) this.ledger.check(key, content, 'on the disk');
      else this.ledger.broken(`${path} is no object.`);
    }
    for (const key of this.ledger.keys) {
      if (!files.has(`${objects}${key}`)) this.ledger.check(key, undefined, 'on the disk');
    }
    const holder = files.get(`${PATH}/holder.json`);
    if (holder !== undefined && !/^\{"pid":\d+,.*\}\n$/.test(new TextDecoder().decode(holder)))
      this.ledger.broken('holder.json is not whole.');
  }

  result(): PowerCutResult {
    const { cuts, kills, acknowledged, failures } = this;
    return { violations: this.ledger.violations, cuts, kills, acknowledged, faults: failures };
  }
}

/** Bytes of one put: no other has the same, and no zero is among them, so that what a disk makes up shows. */
function contentOf(number: number, length: number): Uint8Array {
  const chance = new Chance(number, length);
  return chance.bytes(length).map((byte) => byte || 1);
}

function filesBelow(folder: Folder, path: string): Map<string, Uint8Array> {
  const files = new Map<string, Uint8Array>();
  for (const [name, node] of folder.names) {
    if (node instanceof Folder)
      for (const [below, content] of filesBelow(node, `${path}/${name}`)) files.set(below, content);
    else files.set(`${path}/${name}`, node.content);
  }
  return files;
}

function watched(work: Promise<void>): { readonly done: Promise<void>; settled(): boolean } {
  let settled = false;
  const mark = (): void => {
    settled = true;
  };
  work.then(mark, mark);
  return { done: work, settled: () => settled };
}
