import type { Broker } from '../../../../shared/broker/broker.ts';
import { encodeBatch } from '../../../../shared/log/batch/record-batch.ts';
import type { EventLogError } from '../../../../shared/log/errors.ts';
import { headOf } from '../../../../shared/log/topic/topic.ts';
import type { ProducerName, TransactionOutcome } from '../../../../shared/log/transaction/transaction.ts';
import type { Reply } from '../../world/world.ts';
import type { Client } from '../client.ts';
import type { Workload } from '../workload.ts';
import { GroupMember } from './group-member.ts';
import { recordsOf } from './records.ts';
import { type ClientTransaction, GROUP, type TransactionBook } from './transaction-book.ts';
import { bookOf, PASSING, PLACES, type TopicPlace } from './transaction-topics.ts';

export const TRANSACTION_KEYS = ['txn#', 'head#', 'node#', 'offsets#', 'aborted#', 'producer-name#', 'batch#'];
const SECOND_DELIVERY_MS_MAX = 120_000;
const TRIES = 6;
/** In runs with jobs: longer than the longest time of a transaction. */
const PAUSE_IN_TRANSACTION_MS_MAX = 20 * 60_000;

/** A producer with a transactional id that others may use too, one transaction after the other. */
export class TransactionalProducer {
  private readonly client: Client;
  private readonly book: TransactionBook;
  private readonly transactionalId: string;
  /** Kafka's transaction.version 2. */
  private readonly isSecondVersion: boolean;
  private readonly sequences = new Map<string, number>();
  private producer: ProducerName | undefined;
  /** A request was not answered: it may still be under way. */
  private isUncertain = false;
  private readonly isAlone: boolean;
  /** Commits offsets as this member of the group. */
  private readonly member: GroupMember | undefined;
  private offset = 0;

  constructor(client: Client, transactionalId: string, isSecondVersion: boolean, isAlone = false) {
    this.isAlone = isAlone;
    this.member = client.world.conditions.transactions?.hasMembers && !isAlone ? new GroupMember(client) : undefined;
    this.client = client;
    this.book = bookOf(client.world);
    this.transactionalId = transactionalId;
    this.isSecondVersion = isSecondVersion;
  }

  /** Answers whether it has a producer id and an epoch now. */
  async initialise(goesOn = false): Promise<boolean> {
    const { transactionalId } = this;
    const { timeoutMs = 0 } = this.client.world.conditions.transactions ?? {};
    const given = goesOn ? this.producer : undefined;
    this.producer = undefined;
    this.sequences.clear();
    this.isUncertain = false;
    for (let tries = 0; tries < TRIES; tries++) {
      const request = { transactionalId, timeoutMs, ...(given && { producer: given }) };
      const reply = await this.send((broker) => broker.initialiseProducer(request));
      if (reply.type === 'answer') {
        this.producer = reply.value;
        this.isUncertain = false;
        this.client.mark(goesOn ? 'epoch raised after an error' : 'producer initialised');
        return true;
      }
      if (reply.type === 'error' && this.isOver(reply.error)) return false;
      await this.client.rest();
    }
    return false;
  }

  /** One transaction; answers how it ended as far as the client was told. */
  async transact(places: readonly TopicPlace[], wantsOffsets: boolean, outcome: TransactionOutcome): Promise<boolean> {
    const { client } = this;
    const needsEpoch = this.producer === undefined || (this.isUncertain && !this.isSecondVersion);
    if (needsEpoch && !(await this.initialise(this.producer !== undefined && client.chance.chance(0.7)))) return false;
    const transaction = this.book.begin(`${client.name}/${this.book.transactions.length}`);
    let isWhole = true;
    for (const place of places) {
      if (!(await this.write(transaction, place))) isWhole = false;
      if (this.producer === undefined || !isWhole) break;
      if (client.chance.chance(0.1) && !client.world.fates.healed)
        await client.sleep(client.chance.next() ** 3 * 20_000);
      if (client.world.conditions.jobs !== undefined && client.chance.chance(0.2))
        await client.world.pause(client.chance.next() * PAUSE_IN_TRANSACTION_MS_MAX);
    }
    if (isWhole && wantsOffsets && !(await this.commitOffset(transaction))) isWhole = false;
    if (client.chance.chance(0.1) && !client.world.fates.healed) {
      client.mark('producer died in a transaction');
      transaction.told = 'not_committed';
      this.producer = undefined;
      return false;
    }
    return this.end(transaction, isWhole ? outcome : 'aborted');
  }

  private async write(transaction: ClientTransaction, { topic, partition }: TopicPlace): Promise<boolean> {
    const { client, producer, transactionalId } = this;
    if (producer === undefined) return false;
    const values = Array.from({ length: 1 + client.chance.below(3) }, () => client.value());
    for (const value of values) transaction.records.set(value, { topic });
    const key = `${topic}/${partition}`;
    const sequence = this.sequences.get(key) ?? 0;
    const batch = encodeBatch(recordsOf(client, values), {
      producer: { ...producer, baseSequence: sequence },
      transactional: true,
    });
    if (!this.isSecondVersion && !(await this.add(producer, { topic, partition }))) return false;
    for (let tries = 0; tries < TRIES; tries++) {
      const reply = await this.send((broker) =>
        broker.appendInTransaction({
          transactionalId,
          batches: [{ topic, partition, batch }],
          atomic: false,
          enlists: this.isSecondVersion,
        }),
      );
      const outcome = reply.type === 'answer' ? reply.value[0] : undefined;
      if (outcome?.ok) {
        this.sequences.set(key, sequence + values.length);
        const slot = this.book.slotOf(topic, partition);
        if (slot !== undefined)
          for (const [i, value] of values.entries())
            transaction.records.set(value, { topic, slot, offset: outcome.baseOffset + i });
        return true;
      }
      const error = reply.type === 'error' ? reply.error : outcome?.ok === false ? outcome.error : undefined;
      if (error !== undefined && this.isOver(error, topic)) break;
      await client.rest();
    }
    this.isUncertain = true;
    return false;
  }

  /** AddPartitionsToTxn. */
  private async add(producer: ProducerName, { topic, partition }: TopicPlace): Promise<boolean> {
    const { transactionalId } = this;
    for (let tries = 0; tries < TRIES; tries++) {
      const reply = await this.send(async (broker) => {
        const known = await broker.knownTopic(topic);
        const { headNumber } = headOf(known, partition);
        const heads = [{ topic, topicId: known.topicId, headNumber }];
        return broker.enlist({ transactionalId, producer, participants: { heads } });
      });
      if (reply.type === 'answer') return true;
      if (reply.type === 'error' && this.isOver(reply.error, topic)) return false;
      await this.client.rest();
    }
    return false;
  }

  private async commitOffset(transaction: ClientTransaction): Promise<boolean> {
    const { client, producer, transactionalId, isSecondVersion: enlists } = this;
    if (producer === undefined) return false;
    await this.member?.settle();
    const places = this.member?.owned ?? PLACES;
    if (places.length === 0) {
      client.mark('member without a partition');
      return true;
    }
    const { topic, partition } = client.chance.pick(places);
    const metadata = `${this.member?.memberId ?? ''}|${client.value(false)}`;
    const member = this.member && {
      protocol: 'consumer' as const,
      memberId: this.member.memberId,
      memberEpoch: this.member.memberEpoch,
    };
    transaction.offsets.set(metadata, false);
    const offsets = [{ topic, partition, offset: ++this.offset, metadata }];
    for (let tries = 0; tries < TRIES; tries++) {
      const reply = await this.send(async (broker) => {
        if (!enlists) await broker.enlist({ transactionalId, producer, participants: { groups: [GROUP] } });
        return broker.commitOffsetsInTransaction({ transactionalId, producer, group: GROUP, member, offsets, enlists });
      });
      const outcome = reply.type === 'answer' ? reply.value[0] : undefined;
      if (outcome?.ok) {
        transaction.offsets.set(metadata, true);
        client.mark(`offset committed in a transaction${member === undefined ? '' : ' by a member'}`);
        return true;
      }
      const error = reply.type === 'error' ? reply.error : outcome?.ok === false ? outcome.error : undefined;
      if (error !== undefined && this.isOver(error)) break;
      await client.rest();
    }
    this.isUncertain = true;
    return false;
  }

  private async end(transaction: ClientTransaction, outcome: TransactionOutcome): Promise<boolean> {
    const { client, producer, transactionalId, isSecondVersion: raisesEpoch } = this;
    if (outcome === 'aborted') transaction.told = 'not_committed';
    if (producer === undefined) {
      transaction.told = 'not_committed';
      return false;
    }
    if (transaction.records.size === 0 && transaction.offsets.size === 0) return true;
    let mayBeDone = false;
    for (let tries = 0; tries < TRIES; tries++) {
      const request = { transactionalId, producer, outcome, raisesEpoch };
      const reply = await this.send(
        (broker) => broker.endTransaction(request),
        () => {
          mayBeDone = true;
        },
      );
      if (reply.type === 'answer') {
        if (outcome === 'committed') this.book.committed(transaction);
        else transaction.told = 'aborted';
        client.mark(`told: ${outcome}`);
        this.producer = reply.value;
        if (raisesEpoch) this.sequences.clear();
        return true;
      }
      if (reply.type === 'nothing' || reply.error.outcome !== 'not_applied') mayBeDone = true;
      if (reply.type === 'error' && this.isOver(reply.error)) {
        if (!mayBeDone) transaction.told = 'not_committed';
        this.producer = undefined;
        return false;
      }
      await client.rest();
    }
    this.producer = undefined;
    return false;
  }

  private async send<T>(run: (broker: Broker) => Promise<T>, sentTwice = (): void => {}): Promise<Reply<T>> {
    const { client } = this;
    // The requests of transaction.version 1 do not say which transaction they belong to: no copy of them may come late.
    const fault = client.nextFault();
    if (fault === 'delivered_twice' && this.isSecondVersion) {
      client.mark('delivered twice in a transaction');
      sentTwice();
      const slot = client.slot();
      const afterMs = client.chance.chance(0.5) ? 0 : client.chance.next() * SECOND_DELIVERY_MS_MAX;
      client.world.loop.at(afterMs, () => void client.world.request(slot, run));
    }
    const reply = await client.world.request(client.slot(), run, fault);
    if (reply.type === 'nothing') this.isUncertain = true;
    return reply;
  }

  /** Whether it is of no use to send the request again; another producer may have taken over. */
  private isOver(error: EventLogError, topic?: string): boolean {
    const { code, message } = error;
    const { client } = this;
    switch (code) {
      case 'throttled':
      case 'storage_unavailable':
      case 'concurrent_transactions':
        return false;
      case 'producer_fenced':
        client.mark('producer fenced');
        this.producer = undefined;
        return true;
      case 'unknown_transactional_id': {
        // Its producer id was used up, or its transactional id was not used for a week.
        const { firstEpoch = 0, unusedMs = 0 } = client.world.conditions.transactions ?? {};
        if (firstEpoch === 0 && unusedMs === 0) client.surprise(`${code}: ${message}`);
        client.mark('producer id is not the one of the transactional id any more');
        this.producer = undefined;
        return true;
      }
      case 'fenced_member_epoch':
        client.mark('member fenced in a transaction');
        if (this.member === undefined) client.surprise(`${code}: ${message}`);
        return true;
      case 'unknown_topic':
      case 'unknown_partition':
        if (topic !== PASSING) client.surprise(`${code}: ${message}`);
        return true;
      case 'invalid_transaction_state':
      case 'out_of_order_sequence':
        // Whoever has just begun, without faults, cannot be refused.
        if (this.isAlone) client.surprise(`${code}: ${message}`);
        client.mark(`transaction: ${code}`);
        return true;
      default:
        client.surprise(`${code}: ${message} ${causesOf(error)}`);
        return true;
    }
  }
}

async function transact(client: Client, operations: number): Promise<void> {
  const { chance, world } = client;
  const { transactionalIds = 1, hasMembers } = world.conditions.transactions ?? {};
  const id = `id-${chance.below(transactionalIds)}`;
  const producer = new TransactionalProducer(client, id, chance.chance(0.6));
  for (let i = 0; i < operations && !world.fates.healed; i++) {
    const count = chance.below(4);
    const places = Array.from({ length: count }, () => (chance.chance(0.15) ? TO_PASSING : chance.pick(PLACES)));
    const wantsOffsets = count === 0 || chance.chance(hasMembers ? 0.8 : 0.4);
    await producer.transact(places, wantsOffsets, chance.chance(0.7) ? 'committed' : 'aborted');
    // A zombie comes back after a while.
    if (chance.chance(0.2)) await client.sleep(chance.next() ** 2 * 40_000);
    else await client.rest();
    await client.pause();
  }
}

const TO_PASSING: TopicPlace = { topic: PASSING, partition: 0 };

export const TRANSACT: Workload = { name: 'transact', weight: 4, keys: TRANSACTION_KEYS, run: transact };

function causesOf(error: Error): string {
  return error.cause instanceof Error ? `: ${error.cause.stack} ${causesOf(error.cause)}` : '';
}
