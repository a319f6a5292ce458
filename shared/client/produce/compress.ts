import type { LogRecord } from '../../log/batch/record.ts';
import { BATCH_HEADER_BYTES, type BatchProducer, sealBatch, writeBatch } from '../../log/batch/write-batch.ts';
import { concatBytes } from '../../log/bytes.ts';
import type { BatchCompressor, ProducerSettings } from './settings.ts';

const GZIP: BatchCompressor = { codec: 'gzip', compress: gzip };

/** A Kafka RecordBatch of the records, which a retry sends again byte for byte. */
export async function encodeProducedBatch(
  records: readonly LogRecord[],
  producer: BatchProducer,
  compression: ProducerSettings['compression'],
): Promise<Uint8Array> {
  if (compression === 'none') return sealBatch(writeBatch(records, { producer }));
  const { codec, compress } = compression === 'gzip' ? GZIP : compression;
  const batch = writeBatch(records, { producer, compression: codec });
  return sealBatch(batch, await compress(batch.subarray(BATCH_HEADER_BYTES)));
}

/** By the runtime's own stream, since browsers have nothing else. */
async function gzip(content: Uint8Array): Promise<Uint8Array> {
  const stream = new CompressionStream('gzip');
  const writer = stream.writable.getWriter();
  // An error ends the readable side too, where it is met.
  void writer.write(content as BufferSource).catch(() => {});
  void writer.close().catch(() => {});
  const chunks: Uint8Array[] = [];
  const reader = stream.readable.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return concatBytes(chunks);
    chunks.push(value);
  }
}
