import { KAFKA_ERRORS } from '../../../shared/kafka/error-codes.ts';
import type { KafkaClient } from '../../support/kafka-client.ts';

/** What questions share. */
export interface World {
  readonly client: KafkaClient;
  /** The ids of the topics that `prepareWorld` makes. */
  readonly topicIds: Readonly<Record<string, string>>;
  /** The member of the group `busy`. */
  readonly memberId: string;
}

/** What a server answered: errors by their names, other values as they are. */
export type Answer = readonly (string | number | null)[];

export type Questions = Readonly<Record<string, (world: World) => Promise<Answer>>>;

const NAMES = new Map<number, string>(Object.entries(KAFKA_ERRORS).map(([name, code]) => [code, name]));

export function nameOf(code: number): string {
  return NAMES.get(code) ?? `error ${code}`;
}

export function errorsOf(answered: readonly { readonly errorCode: number }[]): Answer {
  return answered.map(({ errorCode }) => nameOf(errorCode));
}
