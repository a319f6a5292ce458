import type { FinalLog, Violation } from '../../history/history.ts';
import { LASTING_TOPIC } from '../clients/client.ts';
import { KAFKA_WORKLOADS } from '../clients/over-kafka/produce-over-kafka.ts';
import { PRODUCE } from '../clients/produce.ts';
import { READERS } from '../clients/read-along.ts';
import { Chance } from '../world/chance.ts';
import { STREAM } from '../world/simulated-process.ts';
import type { World } from '../world/world.ts';
import type { PlannedClient, RunResult, Selection } from './run-in-world.ts';
import { runClients } from './run-seed.ts';

/** Faults are over after so many requests to the stores at the latest. */
const FAULTY_REQUESTS_MAX = 300;
const CLIENTS_MAX = 3;

/**
 * One run of producers that speak Kafka's protocol over connections to the gateways of several processes, beside others that use the
 * broker. It is judged as all runs are, and by the order in which each producer has sent.
 */
export function runKafkaSeed(
  seed: number,
  selection: Selection = {},
  log?: (line: string) => void,
): Promise<RunResult> {
  return runClients(seed, drawClients(seed), selection, log, {
    faultyRequestsMax: FAULTY_REQUESTS_MAX,
    mayHaveJobs: false,
    judge: (final, world) => [...judgeSendOrder(final), ...judgeLater(final, world)],
  });
}

function drawClients(seed: number): PlannedClient[] {
  const chance = new Chance(seed, STREAM.plan);
  const operations = chance.pick([1, 1, 2, 3]);
  const kafka = KAFKA_WORKLOADS.flatMap((workload) => new Array(workload.weight).fill(workload) as (typeof workload)[]);
  const count = 1 + chance.below(CLIENTS_MAX);
  return Array.from({ length: count }, (_, i) => {
    const workload = i > 0 && chance.chance(0.25) ? chance.pick([PRODUCE, ...READERS]) : chance.pick(kafka);
    return { workload, operations };
  });
}

/** A producer that goes on by the answer to a later batch has lost what is not there (R1). */
function judgeLater(final: ReadonlyMap<string, FinalLog>, { acknowledgedByLater }: World): Violation[] {
  const found = new Set([...(final.get(LASTING_TOPIC)?.values() ?? [])].flat().map(({ value }) => value));
  return acknowledgedByLater
    .filter((value) => !found.has(value))
    .map((value) => ({ promise: 'R1', message: `${value} was acknowledged by a later batch, and is not in the log.` }));
}

/** `client/partition/number/`: a Kafka producer numbers its records in the order in which it sends them first. */
const SENT = /^(.*)\/(\d+)\/(\d+)\//;

/** Also over the epochs of a producer, and where it begins anywhere with an old id (R4). */
function judgeSendOrder(final: ReadonlyMap<string, FinalLog>): Violation[] {
  const violations: Violation[] = [];
  for (const [partition, records] of final.get(LASTING_TOPIC) ?? []) {
    const last = new Map<string, number>();
    for (const { value, offset } of records) {
      const [, client, sentTo, number] = SENT.exec(value) ?? [];
      if (client === undefined) continue;
      if (Number(sentTo) !== partition)
        violations.push({ promise: 'R1', message: `${value} of partition ${sentTo} is in partition ${partition}.` });
      const before = last.get(client) ?? -1;
      if (Number(number) <= before)
        violations.push({
          promise: 'R4',
          message: `At ${partition}/${offset} is record ${number} of ${client}, after ${before}.`,
        });
      last.set(client, Number(number));
    }
  }
  return violations;
}
