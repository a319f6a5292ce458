import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Completion } from '../history/history.ts';
import { startServer } from '../support/server-process.ts';
import { DisturbedServer, performSteps } from './disturbed-server.ts';
import type { LogClient } from './log-client.ts';
import { type ChaosPlan, PARTITIONS, type Step } from './plan.ts';
import { type ChaosSystem, TOPIC } from './run.ts';
import { makeSmallDisk, type SmallDisk } from './small-disk.ts';

/** The embedded server in a process of its own, over HTTP: killed, stopped, and on a disk that is full. */

/** Takes a folder and a process; `close` gives them back. */
export async function startEmbedded(plan: ChaosPlan): Promise<ChaosSystem> {
  const folder = await mkdtemp(join(tmpdir(), 'tailrace-chaos-'));
  let disk: SmallDisk | undefined;
  let server: DisturbedServer | undefined;
  try {
    disk = plan.kind === 'full-disk' ? await makeSmallDisk(folder) : undefined;
    const prefix = disk?.prefix;
    server = await DisturbedServer.start(plan.seed, () => startServer(join(folder, 'data'), { prefix }));
    await makeTopic(server.current.url);
    return new EmbeddedSystem(plan, folder, disk, server);
  } catch (error) {
    await server?.close();
    await disk?.close();
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

async function makeTopic(url: string): Promise<void> {
  const response = await fetch(`${url}/v1/topics/${TOPIC}`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ partitions: PARTITIONS }),
  });
  if (response.status !== 201) throw new Error(`The topic was not made: ${response.status} ${await response.text()}`);
}

/** What happened while there was no room on the disk. */
interface FullTime {
  refused: number;
  readsAnswered: number;
}

class EmbeddedSystem implements ChaosSystem {
  readonly ways: readonly LogClient[];
  private readonly plan: ChaosPlan;
  private readonly folder: string;
  private readonly disk: SmallDisk | undefined;
  private readonly server: DisturbedServer;
  private readonly done = new Map<string, number>();
  private readonly fullTimes: FullTime[] = [];
  private isFull = false;

  constructor(plan: ChaosPlan, folder: string, disk: SmallDisk | undefined, server: DisturbedServer) {
    this.plan = plan;
    this.folder = folder;
    this.disk = disk;
    this.server = server;
    this.ways = [server.way];
  }

  get faults(): ReadonlyMap<string, number> {
    const { disk, done } = this;
    return disk === undefined ? done : new Map([...done].map(([name, count]) => [`${name} (${disk.way})`, count]));
  }

  disturb(): Promise<void> {
    return performSteps(this.plan, this.done, (step) => this.perform(step));
  }

  private async perform(step: Step): Promise<void> {
    const { disk, server } = this;
    if (disk === undefined || (step.do !== 'fill' && step.do !== 'fill_and_kill')) return server.perform(step);
    await disk.fill(server.current);
    this.fullTimes.push({ refused: 0, readsAnswered: 0 });
    this.isFull = true;
    await sleep(step.forMs / 2);
    if (step.do === 'fill_and_kill') {
      await server.restart('SIGKILL');
      await disk.fill(server.current);
    }
    await sleep(step.forMs / 2);
    this.isFull = false;
    await disk.free(server.current);
  }

  /** Reads want no room. */
  accountsFor(f: Completion['f'], error: string): boolean {
    return f === 'append' && this.disk?.refusals.includes(error) === true;
  }

  observe({ f, type, error }: Completion): void {
    const now = this.fullTimes.at(-1);
    if (!this.isFull || now === undefined) return;
    if (f === 'append' && error === 'storage_full') now.refused++;
    if (f === 'read' && type === 'ok') now.readsAnswered++;
  }

  findings(): string[] {
    const findings: string[] = [];
    if (this.fullTimes.some(({ readsAnswered }) => readsAnswered === 0)) {
      findings.push('no read was answered while the disk was full');
    }
    if (this.disk?.refusals[0] === 'storage_full' && this.fullTimes.every(({ refused }) => refused === 0)) {
      findings.push('no append was refused for want of room: the disk was never full');
    }
    return findings;
  }

  /** What a process had not done when it was killed, no other does. */
  async settle(): Promise<void> {}

  async startAnew(): Promise<LogClient> {
    await this.server.restart('SIGKILL');
    return this.server.patientWay();
  }

  async close(): Promise<void> {
    await this.server.close();
    await this.disk?.close();
    await rm(this.folder, { recursive: true, force: true });
  }
}
