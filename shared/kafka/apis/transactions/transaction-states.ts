import type { Broker } from '../../../broker/broker.ts';

export type State = Awaited<ReturnType<Broker['describeTransaction']>>['state'];

/** Kafka's names of the states (`TransactionState`). */
export const KAFKA_STATES: Readonly<Record<State, string>> = {
  empty: 'Empty',
  ongoing: 'Ongoing',
  prepare_commit: 'PrepareCommit',
  prepare_abort: 'PrepareAbort',
  complete_commit: 'CompleteCommit',
  complete_abort: 'CompleteAbort',
};

/** Those that Kafka has, and no transactional id has here: an id that is out of use is gone. */
const NEVER_MET = ['Dead', 'PrepareEpochFence'];

/** `undefined` for a name that Kafka does not have. */
export function stateNamed(name: string): State | 'never' | undefined {
  for (const [state, kafkaName] of Object.entries(KAFKA_STATES)) if (kafkaName === name) return state as State;
  return NEVER_MET.includes(name) ? 'never' : undefined;
}
