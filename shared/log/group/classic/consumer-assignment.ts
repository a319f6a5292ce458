import { ByteReader, ByteWriter } from '../../bytes.ts';

export interface AssignedPartitions {
  readonly topic: string;
  readonly partitions: readonly number[];
}

const fromUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const utf8 = new TextEncoder();
/** All versions so far, 0 to 3, have one form. */
const NEWEST = 3;
const NO_USER_DATA = -1;

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
    return readAssignedPartitions(reader);
  } catch {
    return [];
  }
}

/** Topics with their partitions, ascending and each once. */
export function readAssignedPartitions(reader: ByteReader): readonly AssignedPartitions[] {
  const topics = new Map<string, Set<number>>();
  for (let left = reader.int32(); left > 0; left--) {
    const topic = fromUtf8.decode(reader.view(reader.int16()));
    const partitions = topics.get(topic) ?? new Set();
    for (let count = reader.int32(); count > 0; count--) partitions.add(reader.int32());
    topics.set(topic, partitions);
  }
  return [...topics].map(([topic, partitions]) => ({
    topic,
    partitions: [...partitions].filter((partition) => partition >= 0).sort((a, b) => a - b),
  }));
}

/** A ConsumerProtocolAssignment in a version that the client knows. */
export function assignmentOfPartitions(version: number, topics: readonly AssignedPartitions[]): Uint8Array {
  const writer = new ByteWriter();
  writer.int16(Math.min(version, NEWEST));
  writer.int32(topics.length);
  for (const { topic, partitions } of topics) {
    const name = utf8.encode(topic);
    writer.int16(name.length);
    writer.write(name);
    writer.int32(partitions.length);
    for (const partition of partitions) writer.int32(partition);
  }
  writer.int32(NO_USER_DATA);
  return writer.finish();
}
