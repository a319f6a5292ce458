import { setTimeout as sleep } from 'node:timers/promises';
import { Chance } from '../simulation/world/chance.ts';
import type { ServerProcess } from '../support/server-process.ts';
import { HttpLogClient } from './http-client.ts';
import type { LogClient } from './log-client.ts';
import type { ChaosPlan, Step } from './plan.ts';

const STREAM_TIMEOUTS = 4;
/** After which clients give up waiting: often before a server that was stopped goes on. */
const TIMEOUT_MS = { min: 500, max: 2_500 } as const;
const PATIENT_MS = 30_000;

/** A server that is killed and stopped, and each time started anew. */
export class DisturbedServer {
  /** Of clients that have little patience. */
  readonly way: LogClient;
  private readonly start: () => Promise<ServerProcess>;
  private process: ServerProcess;

  /** `start` makes one that goes on from what those before have left. */
  static async start(seed: number, start: () => Promise<ServerProcess>): Promise<DisturbedServer> {
    return new DisturbedServer(seed, start, await start());
  }

  private constructor(seed: number, start: () => Promise<ServerProcess>, first: ServerProcess) {
    this.start = start;
    this.process = first;
    const chance = new Chance(seed, STREAM_TIMEOUTS);
    const timeoutMs = (): number => TIMEOUT_MS.min + chance.below(TIMEOUT_MS.max - TIMEOUT_MS.min);
    this.way = new HttpLogClient(() => this.process.url, timeoutMs);
  }

  get current(): ServerProcess {
    return this.process;
  }

  /** A way to it for those who would rather wait. */
  patientWay(): LogClient {
    return new HttpLogClient(
      () => this.process.url,
      () => PATIENT_MS,
    );
  }

  /** @throws Error for a step that is not about a process */
  async perform(step: Step): Promise<void> {
    switch (step.do) {
      case 'kill':
        return this.restart('SIGKILL');
      case 'restart':
        return this.restart('SIGTERM');
      case 'pause':
        return this.process.pause(step.forMs);
      case 'pause_and_kill': {
        const { process } = this;
        await Promise.all([process.pause(step.forMs), sleep(step.forMs * 0.9).then(() => process.end())]);
        return this.restart('SIGKILL');
      }
      default:
        throw new Error(`A server knows nothing of '${step.do}'.`);
    }
  }

  async restart(signal: NodeJS.Signals): Promise<void> {
    await this.process.end(signal);
    this.process = await this.start();
  }

  async close(): Promise<void> {
    await this.process.end();
  }
}

/** Does the steps one after the other, each after its wait, until their time is up, and counts them in `done`. */
export async function performSteps(
  { steps, seconds }: ChaosPlan,
  done: Map<string, number>,
  perform: (step: Step) => Promise<void>,
): Promise<void> {
  const endMs = Date.now() + seconds * 1_000;
  for (const step of steps) {
    await sleep(Math.max(0, Math.min(step.waitMs, endMs - Date.now())));
    if (Date.now() >= endMs) break;
    done.set(step.do, (done.get(step.do) ?? 0) + 1);
    await perform(step);
  }
}
