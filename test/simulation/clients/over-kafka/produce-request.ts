import { KAFKA_ERRORS } from '../../../../shared/kafka/error-codes.ts';
import { PRODUCE } from '../../../../shared/kafka/protocol/messages/records/produce.ts';
import { ZERO_UUID } from '../../../../shared/kafka/protocol/types.ts';
import { encodeBatch } from '../../../../shared/log/batch/record-batch.ts';
import type { ErrorCode } from '../../../../shared/log/errors.ts';
import { EPOCH_MS } from '../../world/simulated-process.ts';
import { type Client, type ClientAppend, type Judged, LASTING_TOPIC } from '../client.ts';
import { KafkaConnection } from './kafka-connection.ts';

/** One batch of a produce request: how it ended, for the client and for the history. */
export interface Answered {
  /** `undefined`: it was not answered. */
  readonly errorCode: number | undefined;
  readonly judged: Judged;
}

type ProduceAnswer = Awaited<ReturnType<typeof ask>>;

const TOPIC_IDS_FROM = 13;

/** Notes that the appends begin, and sends them in one request. `after`: see the history. */
export function sendBatches(
  client: Client,
  connection: KafkaConnection,
  appends: readonly ClientAppend[],
  version: number,
  { name = client.name, after }: { readonly name?: string; readonly after?: number | undefined } = {},
): { readonly ops: readonly number[]; readonly answer: Promise<ProduceAnswer> } {
  const begun = appends.map((append) => client.begin(append, name, after));
  const partitions = begun.map(({ request: { records, producer } }) => ({
    index: records[0]?.partition ?? 0,
    records: [
      encodeBatch(
        records.map((record) => ({ ...record, timestampMs: record.timestampMs ?? EPOCH_MS })),
        producer === undefined ? {} : { producer },
      ),
    ],
  }));
  return { ops: begun.map(({ op }) => op), answer: ask(client, connection, partitions, version) };
}

function ask(
  client: Client,
  connection: KafkaConnection,
  partitionData: readonly { readonly index: number; readonly records: readonly Uint8Array[] }[],
  version: number,
) {
  const topicId = version >= TOPIC_IDS_FROM ? client.world.watch.topicId(LASTING_TOPIC) : undefined;
  return connection.request(PRODUCE, version, {
    acks: -1,
    timeoutMs: 1_000,
    topicData: [{ name: LASTING_TOPIC, topicId: topicId ?? ZERO_UUID, partitionData }],
  });
}

/** The same request over another connection, at once or later, as if the first had been held up on its way. Nobody hears the answer. */
export async function sendCopy(client: Client, appends: readonly ClientAppend[], version: number): Promise<void> {
  const { chance } = client;
  client.mark('delivered twice over Kafka');
  const slot = chance.pick(client.slots);
  const afterMs = chance.chance(0.5) ? 0 : chance.next() * SECOND_DELIVERY_MS_MAX;
  await client.sleep(afterMs);
  const connection = new KafkaConnection(client, slot);
  const { ops, answer } = sendBatches(client, connection, appends, version, { name: `${client.name}'` });
  const answered = await answer;
  for (const [i, append] of appends.entries()) {
    const { judged } = answerOf(answered, append.records.length, append.records[0]?.partition ?? 0);
    client.finish(ops[i] as number, append, `${client.name}'`, judged);
  }
  connection.close();
}

const SECOND_DELIVERY_MS_MAX = 60_000;

/** What the answer says of a partition. */
export function answerOf(answer: ProduceAnswer, records: number, partition: number): Answered {
  const found = answer?.responses.flatMap((each) => each.partitionResponses).find(({ index }) => index === partition);
  if (found === undefined) return { errorCode: undefined, judged: UNKNOWN };
  const { errorCode, baseOffset } = found;
  if (errorCode === KAFKA_ERRORS.NONE) {
    const outcomes = Array.from({ length: records }, (_, i) => ({
      type: 'ok' as const,
      partition,
      offset: baseOffset + i,
    }));
    return { errorCode, judged: { type: 'ok', codes: [], nextOffset: undefined, outcomes } };
  }
  const refused = REFUSALS.get(errorCode);
  if (refused === undefined) return { errorCode, judged: UNKNOWN };
  return { errorCode, judged: { type: 'fail', codes: [refused], nextOffset: undefined } };
}

const UNKNOWN: Judged = { type: 'info', codes: [], nextOffset: undefined };

/** Errors after which this try has certainly not appended anything. */
const REFUSALS = new Map<number, ErrorCode>([
  [KAFKA_ERRORS.OUT_OF_ORDER_SEQUENCE_NUMBER, 'out_of_order_sequence'],
  [KAFKA_ERRORS.INVALID_PRODUCER_EPOCH, 'producer_fenced'],
]);
