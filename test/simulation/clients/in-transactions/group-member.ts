import { partitionSet } from '../../../../shared/log/group/partition-set.ts';
import type { Client } from '../client.ts';
import { GROUP } from './transaction-book.ts';
import { STAYING, type TopicPlace } from './transaction-topics.ts';

const SESSION_MS = 6_000;
const BEATS_MAX = 6;

/** A member of the group whose offsets are in transactions. It knows what it was told last, which others may have by now. */
export class GroupMember {
  readonly memberId: string;
  memberEpoch = 0;
  private readonly client: Client;
  private places: readonly (TopicPlace & { readonly topicId: string })[] = [];

  constructor(client: Client) {
    this.client = client;
    this.memberId = client.name;
  }

  get owned(): readonly TopicPlace[] {
    return this.places;
  }

  /** Until it has something, mostly. Some commit by what they were told long ago. */
  async settle(): Promise<void> {
    const { chance, world } = this.client;
    if (this.places.length > 0 && chance.chance(0.4)) return;
    for (let beats = 0; beats < BEATS_MAX; beats++) {
      await this.beat();
      if (this.places.length > 0) break;
      await this.client.sleep(500 * chance.next());
    }
    if (chance.chance(0.25) && !world.fates.healed) await this.client.sleep((1 + 2 * chance.next()) * SESSION_MS);
  }

  private async beat(): Promise<void> {
    const { client, memberId, memberEpoch } = this;
    const request = {
      group: GROUP,
      memberId,
      memberEpoch,
      owned: partitionSet(this.places.map(({ topicId, partition }) => [topicId, partition])),
      sessionTimeoutMs: SESSION_MS,
      rebalanceTimeoutMs: SESSION_MS,
      ...(memberEpoch === 0 && { subscription: { topics: STAYING.map(({ name }) => name) } }),
    };
    const reply = await client.send((broker) => broker.heartbeat(request));
    if (reply.type === 'error' && ['unknown_member', 'fenced_member_epoch'].includes(reply.error.code)) {
      this.memberEpoch = 0;
      this.places = [];
    }
    if (reply.type !== 'answer' || reply.value.memberEpoch < this.memberEpoch) return;
    this.memberEpoch = reply.value.memberEpoch;
    this.places = reply.value.assignment.flatMap(({ topic, topicId, partitions }) =>
      partitions.map((partition) => ({ topic, topicId, partition })),
    );
  }
}
