import type { RecordOutcome } from '../../shared/broker/append/outcomes.ts';
import type { Broker } from '../../shared/broker/broker.ts';
import { EventLogError } from '../../shared/log/errors.ts';
import type { AppendInvocation, ReadRecord, RecordFate } from '../history/history.ts';
import { readRecords, toRecord } from '../history/history-records.ts';
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
        records.push(...readRecords(batch, offset));
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
