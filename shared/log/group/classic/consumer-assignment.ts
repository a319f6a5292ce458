import { ByteReader } from '../../bytes.ts';

export interface AssignedPartitions {
  readonly topic: string;
  readonly partitions: readonly number[];
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * The partitions that Kafka's ConsumerProtocolAssignment names: version int16, topics (name, partitions int32), user data. All
 * versions so far (0 to 3) have this form; a later one is read as far as it has it. Bytes of another form name none: Kafka's
 * broker does not look into them either, and a commit for partitions that nobody has claimed is judged by the group.
 */
export function partitionsOfAssignment(bytes: Uint8Array): readonly AssignedPartitions[] {
  if (bytes.length === 0) return [];
  try {
    const reader = new ByteReader(bytes);
    if (reader.int16() < 0) return [];
    const topics = new Map<string, Set<number>>();
    for (let left = reader.int32(); left > 0; left--) {
      const topic = utf8.decode(reader.view(reader.int16()));
      const partitions = topics.get(topic) ?? new Set();
      for (let count = reader.int32(); count > 0; count--) partitions.add(reader.int32());
      topics.set(topic, partitions);
    }
    return [...topics].map(([topic, partitions]) => ({
      topic,
      partitions: [...partitions].filter((partition) => partition >= 0).sort((a, b) => a - b),
    }));
  } catch {
    return [];
  }
}
