import type { ClientName } from './clients.ts';

type Reasons = Readonly<Record<string, string>>;

const CLASSIC_ONLY = 'knows the classic group protocol only';

function each(names: readonly string[], reason: string): Reasons {
  return Object.fromEntries(names.map((name) => [name, reason]));
}

const KIP_848 = [
  ...['shared', 'member-killed', 'member-leaves', 'resumes'].map((name) => `group-consumer-${name}`),
  'group-upgrade',
];

const TRANSACTIONS = ['commit', 'abort', 'offsets', 'fencing', 'mixed', 'cuts'].map((name) => `transaction-${name}`);
const UNTRIED = 'its agent has no transactions';
const NO_PRODUCER_KEPT = { 'idempotent-topic-made-again': 'its agent makes a producer for each request' };

/** What a client can't do, whatever the server: by client and case, with the reason. */
export const UNSUPPORTED: Readonly<Partial<Record<ClientName, Reasons>>> = {
  confluent: {
    'transactions-admin': 'its admin client has no such operations',
  },
  kcat: {
    ...NO_PRODUCER_KEPT,
    ...each([...TRANSACTIONS, 'transactions-admin'], 'has no transactions'),
    ...each(KIP_848, 'librdkafka 2.0, with which Debian builds it, knows the classic group protocol only'),
    ...each(['topic-create-delete', 'topic-configs', 'topic-add-partitions', 'delete-records'], 'has no such command'),
    ...each(['group-offsets-reset', 'group-described', 'group-deleted'], 'has no such command'),
    'list-offsets-max-timestamp': 'asks for earliest, latest and times only',
    timestamps: 'sets no timestamps',
    ...each(
      ['sasl-scram-sha-256', 'sasl-scram-sha-512'],
      'before librdkafka 2.6.1 it sends its own nonce twice, which Kafka 4 and RFC 5802 refuse',
    ),
    'sasl-oauthbearer': 'takes its tokens only from the HTTP endpoint of an issuer',
    'group-uncommitted': 'commits what it has read, even with enable.auto.commit=false',
    'idempotent-cuts': 'gives up when all its connections are down, so that nothing is sent again',
    'idempotent-refused': 'does not tell which records were refused, and ends with the first',
    'null-key-and-value': '-Z makes a null of an empty value only where a key goes before it',
  },
  kafkajs: {
    ...NO_PRODUCER_KEPT,
    'transactions-admin': 'its admin client has no such operations',
    'transaction-cuts': 'where an answer ends in its middle it waits for ever, or ends with a RangeError',
    ...each(KIP_848, CLASSIC_ONLY),
    'list-offsets-max-timestamp': 'asks for earliest, latest and times only',
    'header-null-value': 'writes no header without a value',
    'group-static-member': 'has no group.instance.id',
  },
  platformatic: { ...NO_PRODUCER_KEPT, ...each([...TRANSACTIONS, 'transactions-admin'], UNTRIED) },
  aiokafka: {
    ...NO_PRODUCER_KEPT,
    'transactions-admin': 'its admin client has no such operations',
    ...each(KIP_848, CLASSIC_ONLY),
    'group-deleted': 'its admin client has no such operation',
    'list-offsets-max-timestamp': 'asks for earliest, latest and times only',
    'null-key-and-value': 'its producer wants a key or a value',
  },
  sarama: {
    ...NO_PRODUCER_KEPT,
    ...each(KIP_848, CLASSIC_ONLY),
    'list-offsets-max-timestamp': 'its ListOffsets is too old for it, and it says so itself',
  },
};
