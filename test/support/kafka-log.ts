import { onTestFinished } from 'vitest';
import type { Broker } from '../../shared/broker/broker.ts';
import { ALL_RIGHTS } from '../../shared/kafka/access/rights.ts';
import { Session } from '../../shared/kafka/access/session.ts';
import { AnswerBytes } from '../../shared/kafka/answer-bytes.ts';
import { FetchSessions } from '../../shared/kafka/apis/records/fetch-sessions.ts';
import { DEFAULT_GATEWAY_SETTINGS, type Gateway } from '../../shared/kafka/gateway.ts';
import { type Call, ConnectionState } from '../../shared/kafka/handler.ts';
import type { Api } from '../../shared/kafka/protocol/api.ts';
import type { KafkaOptions } from '../../shared/local/kafka.ts';
import { startTailrace, type Tailrace } from '../../shared/local/start.ts';
import { KafkaClient } from './kafka-client.ts';
import { SeededRandom } from './memory-broker.ts';
import { SimulatedClock } from './simulated-clock.ts';

/** An embedded log in memory that listens for Kafka's clients, and a client of it. Both end with the test. */
export async function kafkaLog(kafka: KafkaOptions = {}): Promise<{
  log: Tailrace;
  broker: Broker;
  client: KafkaClient;
}> {
  const log = await startTailrace({ memory: true, kafka });
  const client = await KafkaClient.connect(log.bootstrapServers as string);
  onTestFinished(async () => {
    client.close();
    await log.close();
  });
  return { log, broker: log.broker, client };
}

export function versionsOf({ versions: [oldest, newest] }: Pick<Api, 'versions'>): number[] {
  return Array.from({ length: newest - oldest + 1 }, (_, i) => oldest + i);
}

/** A request as a handler gets it from the first of several gateways, whose ids are from 1 on. */
export function callOf(broker: Broker, version: number, gateways = 1): Call {
  const nodes = Array.from({ length: gateways }, (_, i) => ({ nodeId: i + 1, host: `gateway-${i + 1}`, port: 9_092 }));
  const gateway: Gateway = {
    broker,
    clock: new SimulatedClock(),
    random: new SeededRandom(1),
    settings: { ...DEFAULT_GATEWAY_SETTINGS, clusterId: 'cluster' },
    access: undefined,
    nodes: () => nodes,
    self: nodes[0] as Gateway['self'],
    stopping: new AbortController().signal,
  };
  return {
    gateway,
    version,
    clientId: 'test',
    clientHost: '127.0.0.1',
    rights: ALL_RIGHTS,
    session: new Session(undefined),
    connection: new ConnectionState(),
    fetchSessions: new FetchSessions(gateway.settings.fetchSessionBytesMax, gateway.random),
    answerBytes: new AnswerBytes(gateway.settings.answerBytesMax),
    signal: gateway.stopping,
    letNextBegin: () => {},
  };
}
