import type { AppendInvocation, Completion, HistoryEvent, Invocation } from '../history/history.ts';
import type { Chance } from '../simulation/world/chance.ts';
import type { AnswerTo, LogClient, ReadAsked } from './log-client.ts';

/** Writes down what all clients of a topic ask and are answered, in the order in which it happens. */
export class HistoryRecorder {
  readonly topic: string;
  readonly events: HistoryEvent[] = [];
  /** Told of every operation that has ended. */
  onEnd: ((invocation: Invocation, completion: Completion) => void) | undefined;
  private ops = 0;

  constructor(topic: string) {
    this.topic = topic;
  }

  async record<Answer>(
    process: string,
    asked: Asked,
    ask: () => Promise<Answer & { readonly type: Completion['type'] }>,
  ): Promise<Answer> {
    const facts = { op: this.ops++, process, topic: this.topic };
    const invocation: Invocation = { ...facts, time: Date.now(), type: 'invoke', ...asked };
    this.events.push(invocation);
    const answer = await ask();
    const completion = { ...facts, time: Date.now(), f: asked.f, ...answer } as Completion;
    this.events.push(completion);
    this.onEnd?.(invocation, completion);
    return answer;
  }
}

/** An invocation without what the recorder knows. */
type Asked =
  | AppendInvocation
  | { readonly f: 'read'; readonly partition: number; readonly offset: number }
  | { readonly f: 'end'; readonly partition: number };

/** One client, which asks one thing at a time and each time takes any of the ways to the log. */
export class RecordedClient {
  readonly process: string;
  readonly chance: Chance;
  private readonly recorder: HistoryRecorder;
  private readonly ways: readonly LogClient[];

  constructor(recorder: HistoryRecorder, process: string, ways: readonly LogClient[], chance: Chance) {
    this.recorder = recorder;
    this.process = process;
    this.ways = ways;
    this.chance = chance;
  }

  append(append: AppendInvocation): Promise<AnswerTo<'append'>> {
    const { topic } = this.recorder;
    return this.recorder.record(this.process, append, () => this.way().append(topic, append));
  }

  read(read: ReadAsked): Promise<AnswerTo<'read'>> {
    const { topic } = this.recorder;
    const { partition, offset } = read;
    return this.recorder.record(this.process, { f: 'read', partition, offset }, () => this.way().read(topic, read));
  }

  end(partition: number): Promise<AnswerTo<'end'>> {
    const { topic } = this.recorder;
    return this.recorder.record(this.process, { f: 'end', partition }, () => this.way().end(topic, partition));
  }

  private way(): LogClient {
    return this.chance.pick(this.ways);
  }
}
