import type { RecordOutcome, RecordToAppend } from '../../shared/broker/append-records.ts';
import type { Broker } from '../../shared/broker/broker.ts';
import { EventLogError } from '../../shared/log/errors.ts';
import { decodeRecords } from '../../shared/log/record-batch.ts';
import type { AppendInvocation, ReadRecord, RecordFate } from '../simulation/history.ts';
import { bytes, text } from '../support/memory-broker.ts';
import { type AnswerTo, answerOf, type LogClient, type ReadAsked } from './log-client.ts';

/** A client in the broker's own process. */
export class BrokerLogClient implements LogClient {
  private readonly broker: Broker;

  constructor(broker: Broker) {
    this.broker = broker;
  }

  async append(topic: string, append: AppendInvocation): Promise<AnswerTo<'append'>> {
    const { producer, atomic, idempotencyKey, expectedOffset } = append;
    try {
      const outcomes = await this.broker.appendRecords({
        topic,
        records: append.records.map(toRecord),
        atomic,
        idempotencyKey,
        expectedOffset,
        producer: producer && {
          producerId: producer.id,
          producerEpoch: producer.epoch,
          baseSequence: producer.sequence,
        },
      });
      const mismatch = outcomes.find((outcome) => !outcome.ok && 'nextOffset' in outcome.error.details);
      return { ...answerOf(outcomes.map(toFate)), ...(mismatch?.ok === false ? nextOffsetOf(mismatch.error) : {}) };
    } catch (error) {
      const { code, outcome } = ours(error);
      return { type: outcome === 'not_applied' ? 'fail' : 'info', error: code };
    }
  }

  async read(topic: string, { partition, offset, waitMs }: ReadAsked): Promise<AnswerTo<'read'>> {
    try {
      const result = await this.broker.read({ topic, partition, from: { offset }, waitMs });
      const { nextOffset, logStartOffset, highWatermark } = result;
      const records: ReadRecord[] = [];
      for await (const batch of result.batches) {
        for (const record of decodeRecords(batch.bytes, 0, batch.header, batch.baseOffset)) {
          if (record.offset < offset) continue;
          const headers = record.headers.map(({ key, value }) => [key, text(value)] as const);
          records.push({
            offset: record.offset,
            value: text(record.value),
            timestampMs: record.timestampMs,
            ...(record.key === null ? {} : { key: text(record.key) }),
            ...(headers.length === 0 ? {} : { headers: Object.fromEntries(headers) }),
          });
        }
      }
      return { type: 'ok', records, nextOffset, logStartOffset, highWatermark };
    } catch (error) {
      return { type: 'fail', error: ours(error).code };
    }
  }

  async end(topic: string, partition: number): Promise<AnswerTo<'end'>> {
    try {
      const { highWatermark } = await this.broker.read({ topic, partition, from: { tail: 0 } });
      return { type: 'ok', highWatermark };
    } catch (error) {
      return { type: 'fail', error: ours(error).code };
    }
  }
}

function toRecord({
  value,
  key,
  headers,
  timestampMs,
  partition,
}: AppendInvocation['records'][number]): RecordToAppend {
  return {
    value: bytes(value),
    key: key === undefined ? null : bytes(key),
    headers: Object.entries(headers ?? {}).map(([name, text]) => ({ key: name, value: bytes(text) })),
    timestampMs,
    partition,
  };
}

function toFate(outcome: RecordOutcome): RecordFate {
  if (!outcome.ok)
    return { type: outcome.error.outcome === 'not_applied' ? 'fail' : 'info', error: outcome.error.code };
  const { partition, offset, duplicate } = outcome;
  return { type: 'ok', partition, offset, duplicate };
}

function nextOffsetOf({ details }: EventLogError): { readonly nextOffset: number } {
  return { nextOffset: Number(details.nextOffset) };
}

/** Anything else is a bug, of the broker or of ours, and ends the run. */
function ours(error: unknown): EventLogError {
  if (error instanceof EventLogError) return error;
  throw error;
}
