import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { SASL_AUTHENTICATE } from '../../../../shared/kafka/protocol/messages/access/sasl-authenticate.ts';
import { SASL_HANDSHAKE } from '../../../../shared/kafka/protocol/messages/access/sasl-handshake.ts';
import { PRODUCE } from '../../../../shared/kafka/protocol/messages/records/produce.ts';
import { CREATE_TOPICS } from '../../../../shared/kafka/protocol/messages/topics/create-topics.ts';
import { EventLogError } from '../../../../shared/log/errors.ts';
import { ALL_SCOPES } from '../../../../shared/log/scopes.ts';
import { type KafkaConnection, kafkaGateway, type TestGateway } from '../../../support/kafka-gateway.ts';
import { batchOf, produceRequest } from '../../../support/produced.ts';
import { clientFinal, clientFirst } from '../../../support/scram-client.ts';

/**
 * What a gateway reports as an error ends in a log, which more people read than may know keys and records. So neither must be
 * in it, in whatever form bytes are shown.
 */

let gateway: TestGateway;
let logged: unknown[];

beforeEach(async () => {
  logged = [];
  for (const method of ['log', 'info', 'warn', 'error', 'debug'] as const)
    vi.spyOn(console, method).mockImplementation((...words: unknown[]) => void logged.push(words));
  gateway = await kafkaGateway({ credentials: { apiKeys: true } });
});

afterEach(async () => {
  vi.restoreAllMocks();
  await gateway.close();
});

/** All that was reported, as a log shows it. */
function reported(): string {
  return inspect([gateway.errors, logged], {
    depth: null,
    maxArrayLength: null,
    maxStringLength: null,
    showHidden: true,
  });
}

function formsOf(secret: string): string[] {
  const bytes = Buffer.from(secret);
  const hex = bytes.toString('hex');
  const list = [...bytes].join(', ');
  return [secret, bytes.toString('base64'), hex, hex.match(/../g)?.join(' ') ?? hex, list];
}

function expectHidden(...secrets: readonly string[]): void {
  const text = reported();
  for (const secret of secrets) for (const form of formsOf(secret)) expect(text).not.toContain(form);
}

async function login(connection: KafkaConnection, mechanism: string, token: Uint8Array) {
  await connection.send(SASL_HANDSHAKE, 1, { mechanism });
  return connection.send(SASL_AUTHENTICATE, 2, { authBytes: token });
}

const DOWN = new EventLogError('storage_unavailable', 'Down.');
const BUG = new TypeError('A bug.');

describe('secrets', () => {
  it('are in no report of a login that fails, or that cannot be decided', async () => {
    const { id, key } = await gateway.broker.createApiKey({ name: 'a', scopes: ALL_SCOPES });
    const wrong = 'a-password-that-nobody-has';
    await login(await gateway.connect(), 'PLAIN', Buffer.from(`\0${id}\0${wrong}`));
    await login(await gateway.connect(), 'OAUTHBEARER', Buffer.from(`n,,\x01auth=Bearer ${wrong}\x01\x01`));
    for (const error of [DOWN, BUG]) {
      vi.spyOn(gateway.broker, 'verifyApiKey').mockRejectedValue(error);
      expect(await login(await gateway.connect(), 'PLAIN', Buffer.from(`\0${id}\0${key}`))).toBe('closed');
    }
    expect(gateway.errors).toMatchObject([{ code: 'storage_unavailable' }, BUG]);
    expectHidden(key, wrong);
  });

  it('are in no report of a proof that is wrong, or that cannot be checked', async () => {
    const { id, key } = await gateway.broker.createApiKey({ name: 'a', scopes: ALL_SCOPES });
    const client = { hash: 'sha256', user: id, password: `${key}x`, nonce: 'n' } as const;
    const connection = await gateway.connect();
    const first = await login(connection, 'SCRAM-SHA-256', clientFirst(client));
    if (first === 'closed') throw new Error('closed');
    const { message } = clientFinal(client, Buffer.from(first.authBytes).toString());
    await connection.send(SASL_AUTHENTICATE, 2, { authBytes: message });
    vi.spyOn(gateway.broker, 'findApiKey').mockRejectedValue(BUG);
    expect(await login(await gateway.connect(), 'SCRAM-SHA-256', clientFirst(client))).toBe('closed');
    expect(gateway.errors).toEqual([BUG]);
    const proof = message.toString().split(',p=')[1] as string;
    expectHidden(key, message.toString(), proof, Buffer.from(proof, 'base64').toString('latin1'));
  });

  it('are in no report of records that cannot be appended', async () => {
    const { id, key } = await gateway.broker.createApiKey({ name: 'a', scopes: ALL_SCOPES });
    const body = 'a-body-that-nobody-else-may-read';
    for (const error of [DOWN, BUG]) {
      const connection = await gateway.connect();
      await login(connection, 'PLAIN', Buffer.from(`\0${id}\0${key}`));
      const broken = batchOf({ values: [body] });
      broken[broken.length - 1] = (broken.at(-1) as number) ^ 1;
      await connection.send(PRODUCE, 12, produceRequest([{ topic: 'none', batch: broken }]) as never);
      vi.spyOn(gateway.broker, 'append').mockRejectedValue(error);
      await connection.send(PRODUCE, 12, produceRequest([{ topic: 't', batch: batchOf({ values: [body] }) }]) as never);
    }
    expect(gateway.errors).toContain(BUG);
    expectHidden(body, key);
  });

  it('are in no report of bytes that are no message', async () => {
    const { id, key } = await gateway.broker.createApiKey({ name: 'a', scopes: ALL_SCOPES });
    const connection = await gateway.connect();
    await login(connection, 'PLAIN', Buffer.from(`\0${id}\0${key}`));
    const body = 'a-body-that-nobody-else-may-read';
    const header = Buffer.from([0, PRODUCE.key, 0, 9, 0, 0, 0, 1, 0, 1, 0x61, 0]);
    expect(await connection.sendFrame(Buffer.concat([header, Buffer.from(body)]))).toBe('closed');
    const other = await gateway.connect();
    await login(other, 'PLAIN', Buffer.from(`\0${id}\0${key}`));
    vi.spyOn(gateway.broker, 'putTopic').mockRejectedValue(BUG);
    const configs = [{ name: 'sasl.jaas.config', value: body }];
    const topics = [{ name: 'a', numPartitions: 1, replicationFactor: 1, assignments: [], configs }];
    await other.send(CREATE_TOPICS, 7, { topics });
    expectHidden(body, key);
  });
});
