import { EventLogError, invalidField } from '../../log/errors.ts';
import { FOLLOWED_PARTITIONS_MAX } from '../../log/limits.ts';
import { checkPartition, checkTopicName, type Topic } from '../../log/topic/topic.ts';
import type { BrokerContext } from '../context.ts';
import type { AppendListener } from '../memory/append-signals.ts';
import { eachOf } from '../topics/each-head.ts';
import { endFor, type Isolation, noteHeldUp } from './isolation.ts';
import { lookUntil } from './look-until.ts';
import { checkFrom, type ReadFrom, type ReadResult, readView, resolveFrom } from './read.ts';
import { checkInRange, type PartitionChoice, type PartitionView, viewPartitions } from './view-partitions.ts';

/**
 * Following partitions: a follower has the next offset of each of its partitions. It looks where they end, reads those that
 * have more in turns, one bounded read each, and then looks again; if nothing has more it waits. Nothing is fetched unless
 * the next step is asked for.
 */
export interface TopicToFollow {
  readonly topic: string;
  /** `all` includes partitions that are added later. */
  readonly partitions: PartitionChoice;
  /** Where the partitions begin that `offsets` does not name. */
  readonly from: ReadFrom;
  /** The next offset by partition. One below the log start offset begins with a gap. */
  readonly offsets?: ReadonlyMap<number, number> | undefined;
  /** The beginning of the id of the topic that `offsets` are of. If the topic has another id, it was made again. */
  readonly offsetsOf?: string | undefined;
}

export interface FollowRequest {
  readonly topics: readonly TopicToFollow[];
  /** The bytes that one partition's turn reads, as `maxBytes` of a read. */
  readonly turnBytes: number;
  /** How often to look for appends of other processes and for added partitions while nothing is heard. */
  readonly lookMs: number;
  /** Default `read_committed`. */
  readonly isolation?: Isolation | undefined;
  /**
   * The caller asks for the first step at once: it comes from the look that found where the partitions begin. This saves a
   * read of each head. Default false: the first step looks again.
   */
  readonly reuseFirstLook?: boolean | undefined;
  /** Ends every wait, and the follower's listening to appends: the caller must abort it at the end. */
  readonly signal: AbortSignal;
}

export type FollowStep =
  /** The next records of one partition. */
  | { readonly type: 'records'; readonly topic: string; readonly partition: number; readonly result: ReadResult }
  /** Offsets `[from, to)` were dropped by retention before they were read. */
  | {
      readonly type: 'gap';
      readonly topic: string;
      readonly partition: number;
      readonly from: number;
      readonly to: number;
    }
  /** Every partition is read to its end, and the time is over or the signal is aborted. */
  | { readonly type: 'idle' };

/** A topic that is being followed. */
export interface FollowedTopic {
  readonly name: string;
  readonly topicId: string;
  /** `offsets` were of an earlier topic of this name. Every partition began at its log start offset instead. */
  readonly isMadeAgain: boolean;
  /** The next offset by partition, ascending. It moves behind what a step gave when the next step is asked for. */
  readonly positions: ReadonlyMap<number, number>;
}

interface Followed extends FollowedTopic {
  readonly choice: PartitionChoice;
  readonly positions: Map<number, number>;
}

interface Turn {
  readonly followed: Followed;
  readonly view: PartitionView;
}

/** A topic whose positions were found, and the views that they were found in. */
interface Begun {
  readonly followed: Followed;
  readonly views: readonly PartitionView[];
}

interface Beginning {
  readonly listener: AppendListener;
  readonly begun: readonly Begun[];
}

/** A view older than this is not read from: the partition may have lost records to retention since. */
const VIEW_MS_MAX = 1_000;

export class Follower {
  readonly #context: BrokerContext;
  readonly #request: FollowRequest;
  readonly #isolation: Isolation;
  readonly #listener: AppendListener;
  readonly #followed: readonly Followed[];
  /** The turns of the last look that are still to be taken. */
  #turns: Turn[] = [];
  #lookedAtMs = Number.NEGATIVE_INFINITY;
  /** What was seen when the positions were found: it serves as the first look. */
  #firstViews: readonly Begun[] | undefined;
  /** The turn that the last step came from, and where its partition goes on. */
  #last: (Turn & { readonly nextOffset: number }) | undefined;

  constructor(context: BrokerContext, request: FollowRequest, { listener, begun }: Beginning) {
    this.#context = context;
    this.#request = request;
    this.#isolation = request.isolation ?? 'read_committed';
    this.#listener = listener;
    this.#followed = begun.map(({ followed }) => followed);
    if (request.reuseFirstLook) this.#firstViews = begun;
  }

  get topics(): readonly FollowedTopic[] {
    return this.#followed;
  }

  /**
   * The next step; waits until `untilMs` for one. A partition that has more gets one turn before any other gets its second.
   * Not to be called again before it resolves. Costs a look of 1 GetItem for each head when no turn is left, again as
   * `lookUntil` says while it waits, and for `records` what a read costs but for the head.
   * @throws EventLogError `unknown_topic` also if a topic was made again; `invalid_request` if it has too many partitions
   */
  async next(untilMs: number): Promise<FollowStep> {
    const { clock } = this.#context;
    if (this.#last !== undefined) {
      const { followed, view, nextOffset } = this.#last;
      followed.positions.set(view.partition, nextOffset);
    }
    if (clock.nowMs() - this.#lookedAtMs > VIEW_MS_MAX) this.#turns = [];
    if (this.#turns.length === 0) {
      // The last turns may have come from memory: let others run before the next look.
      if (this.#last !== undefined) await clock.sleep(0);
      const { lookMs, signal } = this.#request;
      this.#turns = await lookUntil(this.#context, {
        listener: this.#listener,
        look: () => this.#look(),
        isEnough: (turns) => turns.length > 0,
        untilMs,
        lookMs: () => lookMs,
        signal,
      });
    }
    const turn = this.#turns.shift();
    if (turn !== undefined) return this.#take(turn);
    this.#last = undefined;
    return { type: 'idle' };
  }

  async #take(turn: Turn): Promise<FollowStep> {
    const { followed, view } = turn;
    const { partition, logStartOffset, highWatermark } = view;
    const place = { topic: followed.name, partition };
    const position = followed.positions.get(partition) as number;
    if (position < logStartOffset) {
      if (logStartOffset < highWatermark) this.#turns.unshift(turn);
      return this.#passGap(turn, position, logStartOffset);
    }
    let result: ReadResult;
    try {
      result = await readView(this.#context, view, position, this.#request.turnBytes, this.#isolation);
    } catch (error) {
      if (!(error instanceof EventLogError) || error.code !== 'offset_out_of_range') throw error;
      // The end never falls. So retention was faster than this turn: the read looked again, and found a new log start offset.
      return this.#passGap(turn, position, Number(error.details.logStartOffset));
    }
    this.#last = { ...turn, nextOffset: result.nextOffset };
    return { type: 'records', ...place, result };
  }

  #passGap(turn: Turn, from: number, to: number): FollowStep {
    this.#last = { ...turn, nextOffset: to };
    return { type: 'gap', topic: turn.followed.name, partition: turn.view.partition, from, to };
  }

  /** The partitions that have more, beginning behind the one that had the last turn. */
  async #look(): Promise<Turn[]> {
    const begun = this.#firstViews;
    this.#firstViews = undefined;
    this.#lookedAtMs = this.#context.clock.nowMs();
    if (begun !== undefined)
      return begun.flatMap(({ followed, views }) =>
        views.filter((view) => this.#hasMore(followed, view)).map((view) => ({ followed, view })),
      );
    const turns: Turn[] = [];
    let behind = 0;
    let partitions = 0;
    for (const followed of this.#followed) {
      const known = await this.#context.topics.get(followed.name);
      partitions += countOf(known, followed.choice);
      checkCount(partitions, known);
      for (const partition of partitionsOf(known, followed.choice)) this.#listener.add(known.topicId, partition);
      for (const view of await viewPartitions(this.#context, known, followed.choice)) {
        if (view.topic.topicId !== followed.topicId) throw madeAgain(followed.name);
        const { partition, logStartOffset } = view;
        if (!followed.positions.has(partition)) followed.positions.set(partition, logStartOffset);
        if (this.#isolation === 'read_committed')
          await noteHeldUp(this.#context, view, followed.positions.get(partition) as number);
        if (this.#hasMore(followed, view)) turns.push({ followed, view });
        if (followed === this.#last?.followed && partition === this.#last.view.partition) behind = turns.length;
      }
    }
    this.#lookedAtMs = this.#context.clock.nowMs();
    return [...turns.slice(behind), ...turns.slice(0, behind)];
  }

  /** Also if it begins with a gap. */
  #hasMore({ positions }: Followed, view: PartitionView): boolean {
    const position = positions.get(view.partition) as number;
    return position < view.logStartOffset || position < endFor(view, this.#isolation);
  }
}

/**
 * Begins to follow: resolves when it is known where every partition begins, so that no record appended afterwards is
 * missed. Costs 1 GetItem for each head; partitions that begin at a time cost what `resolveFrom` does.
 * @throws EventLogError `unknown_topic`, `unknown_partition`, `offset_out_of_range` with both ends, `invalid_request`
 */
export async function follow(context: BrokerContext, request: FollowRequest): Promise<Follower> {
  // It listens before the first views are read, so that no append after them is missed.
  const listener = context.signals.listen();
  request.signal.addEventListener('abort', () => listener.close());
  if (request.signal.aborted) listener.close();
  try {
    const begun = await beginAll(context, request, listener);
    return new Follower(context, request, { listener, begun });
  } catch (error) {
    listener.close();
    throw error;
  }
}

async function beginAll(context: BrokerContext, request: FollowRequest, listener: AppendListener): Promise<Begun[]> {
  const begun: Begun[] = [];
  let partitions = 0;
  for (const topic of request.topics) {
    checkTopicName(topic.topic);
    checkFrom(topic.from);
    const known = await knownTopic(context, topic);
    partitions += countOf(known, topic.partitions);
    checkCount(partitions, known);
    for (const partition of partitionsOf(known, topic.partitions)) listener.add(known.topicId, partition);
    begun.push(await begin(context, topic, known, request.isolation ?? 'read_committed'));
  }
  return begun;
}

/** The topic from memory, unless partitions are named that it did not have then: they may have been added since. */
async function knownTopic(context: BrokerContext, { topic, partitions, offsets }: TopicToFollow): Promise<Topic> {
  const known = await context.topics.get(topic);
  const named = [...(partitions === 'all' ? [] : partitions), ...(offsets?.keys() ?? [])];
  return named.every((partition) => partition < known.partitions) ? known : context.topics.refresh(topic);
}

async function begin(
  context: BrokerContext,
  request: TopicToFollow,
  known: Topic,
  isolation: Isolation,
): Promise<Begun> {
  const { topic: name, partitions: choice, from, offsets = new Map<number, number>(), offsetsOf = '' } = request;
  const views = await viewPartitions(context, known, choice);
  const topic = views[0]?.topic ?? known;
  const isMadeAgain = !topic.topicId.startsWith(offsetsOf);
  if (choice === 'all' && !isMadeAgain) for (const partition of offsets.keys()) checkPartition(topic, partition);
  const starts = await eachOf(views, async (view): Promise<number> => {
    if (isMadeAgain) return view.logStartOffset;
    const named = offsets.get(view.partition);
    if (named !== undefined && named < view.logStartOffset) return named;
    const found = await resolveFrom(context, view, named === undefined ? from : { offset: named }, isolation);
    checkInRange(found.view, found.offset);
    return found.offset;
  });
  const positions = new Map(views.map(({ partition }, i) => [partition, starts[i] as number]));
  return { followed: { name, topicId: topic.topicId, isMadeAgain, choice, positions }, views };
}

function partitionsOf(topic: Topic, choice: PartitionChoice): Iterable<number> {
  return choice === 'all' ? Array.from({ length: topic.partitions }).keys() : choice;
}

function countOf(topic: Topic, choice: PartitionChoice): number {
  return choice === 'all' ? topic.partitions : choice.length;
}

function checkCount(partitions: number, { name }: Topic): void {
  if (partitions <= FOLLOWED_PARTITIONS_MAX) return;
  throw invalidField(
    'topic',
    `At most ${FOLLOWED_PARTITIONS_MAX} partitions can be followed at once; with topic '${name}' there would be ${partitions}. Follow its partitions singly.`,
    { partitionsMax: FOLLOWED_PARTITIONS_MAX },
  );
}

function madeAgain(topic: string): EventLogError {
  return new EventLogError('unknown_topic', `Topic '${topic}' was deleted, and another was made under its name.`, {
    details: { topic },
  });
}
