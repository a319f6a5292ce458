import type { AppendInvocation, Completion, RecordFate } from '../history/history.ts';

/**
 * The log as its clients see it, over whatever way. Answers are in the words of the history, and nothing is thrown: what
 * goes wrong between client and log is an answer too.
 */
export interface LogClient {
  append(topic: string, append: AppendInvocation): Promise<AnswerTo<'append'>>;
  /** From an offset on; at the end, waits up to `waitMs` for records. */
  read(topic: string, read: ReadAsked): Promise<AnswerTo<'read'>>;
  end(topic: string, partition: number): Promise<AnswerTo<'end'>>;
}

export interface ReadAsked {
  readonly partition: number;
  readonly offset: number;
  readonly waitMs: number;
}

/** A completion without what the recorder knows. */
export type AnswerTo<F extends Completion['f']> = Omit<
  Extract<Completion, { readonly f: F }>,
  'op' | 'process' | 'time' | 'topic' | 'f'
>;

/** An append whose records had their fates one by one. */
export function answerOf(outcomes: readonly RecordFate[]): AnswerTo<'append'> {
  const [first] = outcomes;
  const type = first !== undefined && outcomes.every((outcome) => outcome.type === first.type) ? first.type : 'info';
  const failed = outcomes.find((outcome) => outcome.type !== 'ok');
  return { type, outcomes, ...(failed === undefined ? {} : { error: failed.error }) };
}
