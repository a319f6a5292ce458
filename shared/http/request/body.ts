import { concatBytes } from '../../log/bytes.ts';
import { EventLogError, invalidField } from '../../log/errors.ts';
import { REQUEST_BYTES_MAX } from '../../log/limits.ts';

/**
 * Reads a request's body, never more of it than `REQUEST_BYTES_MAX`, packed or unpacked.
 * @throws EventLogError `request_too_large` before anything is read where the length is told; `invalid_request` for a body
 * that ends early or does not unpack; `unsupported_media_type` for a content encoding other than gzip.
 */
export async function readBody(request: Request): Promise<Uint8Array> {
  const encoding = request.headers.get('content-encoding')?.trim().toLowerCase() ?? '';
  if (encoding !== '' && encoding !== 'identity' && encoding !== 'gzip') {
    throw new EventLogError('unsupported_media_type', 'The content encoding is neither gzip nor identity.', {
      details: { supported: 'gzip, identity' },
    });
  }
  const body = await readSent(request);
  return encoding === 'gzip' && body.length > 0 ? unpack(body) : body;
}

async function readSent(request: Request): Promise<Uint8Array> {
  const told = request.headers.get('content-length');
  if (told === null) return request.body === null ? new Uint8Array(0) : readStream(request.body, 'The body');
  const length = /^\d{1,15}$/.test(told) ? Number(told) : undefined;
  if (length === undefined) throw invalidField('Content-Length', 'Content-Length is not a number of bytes.');
  if (length > REQUEST_BYTES_MAX) throw tooLarge('The body');
  // Servers end a body at the length it was told to have, so that this is bounded too; it is much faster than a stream.
  const body = new Uint8Array(await request.arrayBuffer().catch(endedEarly));
  if (body.length !== length) throw endedEarly();
  return body;
}

async function readStream(stream: ReadableStream<Uint8Array>, what: string): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  const reader = stream.getReader();
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read().catch(endedEarly);
    if (done) return chunks.length === 1 ? (chunks[0] as Uint8Array) : concatBytes(chunks);
    length += value.length;
    if (length > REQUEST_BYTES_MAX) {
      reader.cancel().catch(() => {});
      throw tooLarge(what);
    }
    chunks.push(value);
  }
}

async function unpack(packed: Uint8Array): Promise<Uint8Array> {
  const unpacked = new Blob([packed as Uint8Array<ArrayBuffer>]).stream().pipeThrough(new DecompressionStream('gzip'));
  try {
    return await readStream(unpacked, 'The unpacked body');
  } catch (error) {
    if (error instanceof EventLogError && error.code === 'request_too_large') throw error;
    throw invalidField('Content-Encoding', 'The body is not one whole gzip stream.');
  }
}

function tooLarge(what: string): EventLogError {
  return new EventLogError(
    'request_too_large',
    `${what} has more than ${REQUEST_BYTES_MAX} bytes, the most that one request may have. Send it as several smaller requests.`,
    { details: { bytesMax: REQUEST_BYTES_MAX } },
  );
}

function endedEarly(): never {
  throw invalidField('body', 'The body ended before it was whole.');
}

const TEXT = new TextDecoder('utf-8', { fatal: true });

/** @throws EventLogError `invalid_request` where the bytes are not UTF-8. */
export function decodeBody(bytes: Uint8Array): string {
  try {
    return TEXT.decode(bytes);
  } catch {
    throw invalidField('body', 'The body is not UTF-8.');
  }
}

/** @throws EventLogError `invalid_request` saying where the text is not JSON, and nothing of what it holds. */
export function parseJson(json: string, field = 'body'): unknown {
  try {
    return JSON.parse(json);
  } catch (error) {
    const where = /at position \d+( \(line \d+ column \d+\))?/.exec(error instanceof Error ? error.message : '')?.[0];
    const what = field === 'body' ? 'The body' : field;
    throw invalidField(field, `${what} is not JSON${where === undefined ? '' : ` (${where})`}.`);
  }
}
