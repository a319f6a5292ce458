import type { Broker } from '../broker/broker.ts';
import { SESSION_TIMEOUT_MS_DEFAULT } from '../log/limits.ts';
import type { Clock, Random } from '../storage/ports.ts';
import type { SaslAccess } from './access/session.ts';

/** A process that answers Kafka's clients, as metadata describes it. */
export interface GatewayNode {
  readonly nodeId: number;
  /** Where clients reach it. */
  readonly host: string;
  readonly port: number;
}

export interface GatewaySettings {
  /** What `kafka-topics` and others show as the cluster. All gateways of one log have the same. */
  readonly clusterId: string;
  /** Make topics that clients name in metadata requests and allow to be made, as Kafka's `auto.create.topics.enable`. */
  readonly autoCreateTopics: boolean;
  /** The partitions of a topic that is made without a number: Kafka's `num.partitions`. */
  readonly partitionsDefault: number;
  /** The shortest session that a member of a classic group can ask for: Kafka's `group.min.session.timeout.ms`. */
  readonly groupMinSessionTimeoutMs: number;
  /** The session of members of KIP-848 groups, which do not ask for one: Kafka's `group.consumer.session.timeout.ms`. */
  readonly groupConsumerSessionTimeoutMs: number;
  /** The longest frame that is accepted, in bytes: Kafka's `socket.request.max.bytes`. */
  readonly frameBytesMax: number;
  /** The bytes of all requests in work. A connection waits with a frame that does not fit. */
  readonly requestBytesMax: number;
  /** The bytes of all answers that clients have not taken. The more there are, the smaller are answers with records. */
  readonly answerBytesMax: number;
  /** While there are many of them, a client that takes nothing for so long is cut off. */
  readonly stuckMs: number;
  /** A connection on which nothing comes for so long is closed, also in the middle of a frame. */
  readonly idleMs: number;
  readonly frameMs: number;
  readonly connectionsMax: number;
  /** The memory of all fetch sessions together, in bytes. Who finds no room reads without a session. */
  readonly fetchSessionBytesMax: number;
}

export const DEFAULT_GATEWAY_SETTINGS: Omit<GatewaySettings, 'clusterId'> = {
  autoCreateTopics: true,
  partitionsDefault: 1,
  groupMinSessionTimeoutMs: 6_000,
  groupConsumerSessionTimeoutMs: SESSION_TIMEOUT_MS_DEFAULT,
  frameBytesMax: 16 * 1024 * 1024,
  requestBytesMax: 48 * 1024 * 1024,
  answerBytesMax: 64 * 1024 * 1024,
  stuckMs: 30_000,
  // Kafka's connections.max.idle.ms.
  idleMs: 600_000,
  frameMs: 30_000,
  connectionsMax: 20_000,
  // More than a million partitions.
  fetchSessionBytesMax: 48 * 1024 * 1024,
};

/** What the handlers of all APIs share. It holds nothing that must not be lost. */
export interface Gateway {
  readonly broker: Broker;
  readonly clock: Clock;
  readonly random: Random;
  readonly settings: GatewaySettings;
  /** How callers show who they are; `undefined`: every caller may do everything. */
  readonly access: SaslAccess | undefined;
  /** The gateways of this log, this one among them. */
  nodes(): readonly GatewayNode[];
  readonly self: GatewayNode;
  /** Aborted when the gateway closes: long polls end. */
  readonly stopping: AbortSignal;
}

/** Hears of each request when it is answered, and never of what is in it. Must not throw. */
export type RequestObserver = (request: ObservedRequest) => void;

export interface ObservedRequest {
  /** The name of the API, such as `Produce`. */
  readonly api: string;
  /** From the begin of the work to its end. A fetch that waits for records takes as long as it waits. */
  readonly ms: number;
  /** Whether the handler threw what it should not, so that the connection is closed without an answer. */
  readonly failed: boolean;
}
