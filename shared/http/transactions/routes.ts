import type { Principal } from '../../access/credentials.ts';
import type { Broker } from '../../broker/broker.ts';
import { invalidField } from '../../log/errors.ts';
import { decodePollToken } from '../../log/group/poll-token.ts';
import { allowsGroup, allowsTopic } from '../../log/scopes.ts';
import { empty, json } from '../answer/respond.ts';
import { bodyWithEntries } from '../append/record-input.ts';
import { MEDIA } from '../contract.ts';
import { memberOf } from '../groups/routes.ts';
import type { Call, Handlers, HttpContext } from '../handler.ts';
import { readBody, readJson } from '../request/body.ts';
import { check } from '../request/input.ts';
import { requireMediaType } from '../request/media-type.ts';
import { accessDenied } from '../request/principal.ts';
import {
  endInput,
  type OffsetsOfGroup,
  TRANSACTION_TIMEOUT_MS_DEFAULT,
  type TransactionProducer,
  type TransactOutput,
  transactInput,
  transactionOffsetsInput,
  transactionRecordsInput,
} from './contract.ts';
import type { transactionOperations } from './operations.ts';

export function transactionHandlers({ broker }: HttpContext): Handlers<typeof transactionOperations> {
  const end = async (
    call: Call & { readonly params: { readonly transactionalId: string } },
    outcome: 'committed' | 'aborted',
  ): Promise<Response> => {
    requireMediaType(call.request.headers.get('content-type'), [MEDIA.json]);
    const producer = check(endInput, await readJson(call.request));
    const { transactionalId } = call.params;
    const next = await broker.endTransaction({ transactionalId, producer, outcome, raisesEpoch: true });
    const output: TransactionProducer = { transactionalId, ...next };
    return json(call, 200, output);
  };
  return {
    async transact(call) {
      requireMediaType(call.request.headers.get('content-type'), [MEDIA.json]);
      const { input, records } = bodyWithEntries(transactInput, await readBody(call.request));
      const entries = (input.entries ?? []).map(({ topic }, i) => ({ topic, records: records[i] ?? [] }));
      mustProduce(call.principal, entries);
      const offsets = (input.offsets ?? []).map((given, i) => offsetsOf(call.principal, given, `offsets[${i}].`));
      const mayRead = mayReadOf(call.principal);
      const idempotencyKey = call.headers['Idempotency-Key'];
      const appended = await broker.transact({ entries, offsets, idempotencyKey, mayRead });
      return json(call, 200, outputOf(entries, appended));
    },

    async beginTransaction(call) {
      const { transactionalId } = call.params;
      const { timeoutMs = TRANSACTION_TIMEOUT_MS_DEFAULT } = call.query;
      const producer = await broker.initialiseProducer({ transactionalId, timeoutMs });
      const output: TransactionProducer = { transactionalId, ...producer };
      return json(call, 200, output);
    },

    async appendInTransaction(call) {
      requireMediaType(call.request.headers.get('content-type'), [MEDIA.json]);
      const { input, records } = bodyWithEntries(transactionRecordsInput, await readBody(call.request));
      const { producerId, producerEpoch } = input;
      const entries = input.entries.map(({ topic, sequence }, i) => ({
        topic,
        records: records[i] ?? [],
        baseSequence: sequence ?? undefined,
      }));
      mustProduce(call.principal, entries);
      const { transactionalId } = call.params;
      const producer = { producerId, producerEpoch };
      const appended = await broker.appendRecordsInTransaction({ transactionalId, producer, entries });
      return json(call, 200, outputOf(entries, appended));
    },

    async commitOffsetsInTransaction(call) {
      requireMediaType(call.request.headers.get('content-type'), [MEDIA.json]);
      const { producerId, producerEpoch, ...given } = check(transactionOffsetsInput, await readJson(call.request));
      const ofGroup = offsetsOf(call.principal, given, '');
      const transaction = { transactionalId: call.params.transactionalId, producer: { producerId, producerEpoch } };
      const outcomes = await broker.commitOffsetsInTransaction(
        'after' in ofGroup
          ? { ...transaction, ...ofGroup, mayRead: mayReadOf(call.principal) }
          : {
              ...transaction,
              ...ofGroup,
              member: ofGroup.member && { protocol: 'consumer', ...ofGroup.member },
              onlyIfEmpty: true,
              enlists: true,
            },
      );
      for (const outcome of outcomes) if (!outcome.ok) throw outcome.error;
      return empty(call, 204);
    },

    commitTransaction: (call) => end(call, 'committed'),
    abortOwnTransaction: (call) => end(call, 'aborted'),
  };
}

type Transaction = Parameters<Broker['transact']>[0];

/** @throws EventLogError `access_denied` */
function mustProduce({ scopes }: Principal, entries: Transaction['entries']): void {
  if (!entries.every(({ topic }) => allowsTopic(scopes, 'produce', topic))) throw accessDenied();
}

function mayReadOf({ scopes }: Principal): (topic: string) => boolean {
  return (topic) => allowsTopic(scopes, 'consume', topic);
}

/** @throws EventLogError `access_denied`; `invalid_request` naming the field, which `path` precedes */
function offsetsOf(
  principal: Principal,
  { group, after, offsets, ...member }: OffsetsOfGroup,
  path: string,
): NonNullable<Transaction['offsets']>[number] {
  if (!allowsGroup(principal.scopes, 'consume', group)) throw accessDenied();
  if ((after == null) === (offsets == null))
    throw invalidField(`${path}after`, 'Give the token of a poll (after) or offsets, and not both.');
  if (after != null) {
    if (member.memberId != null || member.instanceId != null || member.memberEpoch != null)
      throw invalidField(`${path}memberId`, 'The token of a poll names its member. Leave the member out.');
    // A token that is none is refused before anything begins.
    decodePollToken(after, `${path}after`);
    return { group, after };
  }
  const mayRead = mayReadOf(principal);
  const given = offsets ?? [];
  if (!given.every(({ topic }) => mayRead(topic))) throw accessDenied();
  return {
    group,
    member: memberOf(member, path),
    offsets: given.map(({ leaderEpoch, metadata, ...where }) => ({
      ...where,
      leaderEpoch: leaderEpoch ?? undefined,
      metadata: metadata ?? undefined,
    })),
  };
}

function outputOf(entries: Transaction['entries'], appended: Awaited<ReturnType<Broker['transact']>>): TransactOutput {
  return {
    entries: entries.map(({ topic }, i) => ({
      topic,
      records: (appended[i] ?? []).map(({ partition, offset, timestampMs }) => ({
        partition,
        offset,
        timestamp: timestampMs,
      })),
    })),
  };
}
