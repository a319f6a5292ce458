import { topicFromAttributes } from '../../../../shared/broker/memory/topic-cache.ts';
import type { Topic } from '../../../../shared/log/topic/topic.ts';
import { choiceSetting, numberSetting } from '../../../../shared/log/topic/topic-config.ts';
import { TOPIC } from '../../../../shared/storage/keys.ts';
import type { Attributes } from '../../../../shared/storage/ports.ts';
import { EPOCH_MS } from '../simulated-process.ts';
import type { CompactionWatch } from './compaction-watch.ts';
import type { HeadFacts } from './stored-facts.ts';

/** For this long after a change of settings a process may go by those before: what it remembers of a topic, and its clock. */
const REMEMBERED_MS = 30 * 60_000;
/** The clocks of processes are wrong by up to this. */
export const SKEW_MS_MAX = 5 * 60_000;

interface KnownOfRecords {
  readonly compaction: CompactionWatch;
  readonly lastStableOffset: number;
}

/** What topics were told to remove: their settings over time, and the offsets below which clients deleted records. */
export class RetentionWatch {
  private readonly settings = new Map<string, { readonly topic: Topic; readonly sinceMs: number }[]>();
  private readonly deletedBelow = new Map<string, number>();

  wroteTopic(name: string, attributes: Attributes, nowMs: number): void {
    if (attributes[TOPIC.topicId] === undefined) return;
    const topic = topicFromAttributes(name, attributes);
    this.settings.set(topic.topicId, [...(this.settings.get(topic.topicId) ?? []), { topic, sinceMs: nowMs }]);
  }

  /** A client asks for the records below an offset to be deleted. */
  deletesBelow(topicId: string, partition: number, offset: number): void {
    const key = `${topicId}/${partition}`;
    this.deletedBelow.set(key, Math.max(offset, this.deletedBelow.get(key) ?? 0));
  }

  /** The settings of a topic that a process may go by. */
  settingsOf(topicId: string, nowMs: number): Topic[] {
    const settings = this.settings.get(topicId) ?? [];
    return settings.flatMap(({ topic }, i) => {
      const untilMs = settings[i + 1]?.sinceMs ?? Number.POSITIVE_INFINITY;
      return untilMs + REMEMBERED_MS < nowMs ? [] : [topic];
    });
  }

  /**
   * Whether every record from the log start offset up to this offset has expired, by settings that a process may go by, or was
   * to be deleted. Nothing expires behind the last stable offset.
   */
  mayStartAt(head: HeadFacts, slot: number, offset: number, nowMs: number, known: KnownOfRecords): boolean {
    return this.settingsOf(head.topicId, nowMs).some((topic) => {
      const partition = head.headNumber * topic.partitionsPerHead + slot;
      const from = Math.max(this.deletedBelow.get(`${head.topicId}/${partition}`) ?? 0, head.start[slot] ?? 0);
      const atMs = EPOCH_MS + nowMs + SKEW_MS_MAX;
      if (from >= offset) return true;
      if (offset > known.lastStableOffset) return false;
      return haveExpired(topic, head, slot, { from, to: offset, atMs }, known.compaction);
    });
  }
}

function haveExpired(
  { config }: Topic,
  head: HeadFacts,
  slot: number,
  { from, to, atMs }: { readonly from: number; readonly to: number; readonly atMs: number },
  compaction: CompactionWatch,
): boolean {
  if (!choiceSetting(config, 'cleanup.policy').includes('delete')) return false;
  const retentionMs = numberSetting(config, 'retention.ms');
  const retentionBytes = numberSetting(config, 'retention.bytes');
  const parts = head.entries.flatMap(({ entry, parts: placed }) =>
    entry.parts.flatMap((part, i) => {
      const { baseOffset, endOffset } = placed[i] as (typeof placed)[number];
      return part.slot === slot ? [{ ...part, baseOffset, endOffset }] : [];
    }),
  );
  let bytesAfter = 0;
  for (const { baseOffset, endOffset, bytes, maxTimestampMs } of parts.reverse()) {
    // What was compacted away needs no time.
    const newestMs = compaction.hasDropped(head, slot)
      ? compaction.newestLeftMs(head, slot, Math.max(from, baseOffset), endOffset)
      : maxTimestampMs;
    const isOld = newestMs === undefined || (retentionMs >= 0 && atMs - newestMs > retentionMs);
    const isTooMuch = retentionBytes >= 0 && bytesAfter >= retentionBytes;
    bytesAfter += bytes;
    if (baseOffset < to && endOffset > from && !isOld && !isTooMuch) return false;
  }
  return true;
}
