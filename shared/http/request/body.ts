import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { concatBytes } from '../../log/bytes.ts';
import { EventLogError, invalidField } from '../../log/errors.ts';
import { REQUEST_BYTES_MAX } from '../../log/limits.ts';
import { checkMembers } from '../records/json-text.ts';

const gunzipAsync = promisify(gunzip);
/** The maximum number of content codings: a request rarely has more than one. */
const CODINGS_MAX = 4;

/**
 * Reads a request's body of at most `REQUEST_BYTES_MAX` bytes, compressed or decompressed. `Content-Encoding` can list
 * several codings (RFC 9110, section 8.4): gzip, also named x-gzip and with several members, and identity.
 * @throws EventLogError `request_too_large`, before reading if Content-Length is too large; `invalid_request` if the body
 * ends early or cannot be decompressed; `unsupported_media_type` for any other coding
 */
export async function readBody(request: Request): Promise<Uint8Array> {
  const codings = codingsOf(request.headers.get('content-encoding'));
  let body = await readSent(request);
  // The last coding was applied last. An empty body was not compressed, whatever the header says.
  for (let left = codings; left > 0 && body.length > 0; left--) body = await unpack(body);
  return body;
}

/** How many times the body was compressed by gzip. */
function codingsOf(header: string | null): number {
  if (header === null) return 0;
  const codings = header.split(',').map((coding) => coding.trim().toLowerCase());
  const packed = codings.filter((coding) => coding !== '' && coding !== 'identity');
  const unknown = packed.find((coding) => coding !== 'gzip' && coding !== 'x-gzip');
  if (unknown === undefined && packed.length <= CODINGS_MAX) return packed.length;
  throw new EventLogError(
    'unsupported_media_type',
    unknown === undefined
      ? `The content encoding lists more than ${CODINGS_MAX} codings.`
      : `The content encoding '${unknown.slice(0, 100)}' is not supported. Use gzip or identity.`,
    { details: { supported: 'gzip, x-gzip, identity' } },
  );
}

async function readSent(request: Request): Promise<Uint8Array> {
  const told = request.headers.get('content-length');
  if (told === null) return request.body === null ? new Uint8Array(0) : readStream(request.body);
  const length = /^\d{1,15}$/.test(told) ? Number(told) : undefined;
  if (length === undefined) throw invalidField('Content-Length', 'Content-Length is not a number of bytes.');
  if (length > REQUEST_BYTES_MAX) throw tooLarge('The body');
  // Servers end a body at its Content-Length, so that this is also bounded. It is much faster than reading a stream.
  const body = new Uint8Array(await request.arrayBuffer().catch(endedEarly));
  if (body.length !== length) throw endedEarly();
  return body;
}

async function readStream(stream: ReadableStream<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  const reader = stream.getReader();
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read().catch(endedEarly);
    if (done) return chunks.length === 1 ? (chunks[0] as Uint8Array) : concatBytes(chunks);
    length += value.length;
    if (length > REQUEST_BYTES_MAX) {
      reader.cancel().catch(() => {});
      throw tooLarge('The body');
    }
    chunks.push(value);
  }
}

/** All members of a gzip file (RFC 1952, section 2.2). Bytes after the last one are an error, except zeros, as for gzip. */
async function unpack(packed: Uint8Array): Promise<Uint8Array> {
  try {
    const unpacked = await gunzipAsync(packed, { maxOutputLength: REQUEST_BYTES_MAX });
    return new Uint8Array(unpacked.buffer, unpacked.byteOffset, unpacked.length);
  } catch (error) {
    if (error instanceof RangeError) throw tooLarge('The decompressed body');
    throw invalidField('Content-Encoding', 'The body is not one or more whole gzip members.');
  }
}

/**
 * Checks that a request has no body, for an operation that takes none. Reads at most the first chunk of it.
 * @throws EventLogError `invalid_request` that names the parameters of the query, where what is in the body may belong
 */
export async function refuseBody(request: Request, parameters: readonly string[]): Promise<void> {
  if (!(await hasBody(request))) return;
  const place = parameters.length === 0 ? 'path' : 'path and in the query';
  const names = parameters.length === 0 ? '' : ` (${parameters.join(', ')})`;
  throw invalidField('body', `This request takes no body. All that it takes is in the ${place}${names}.`);
}

async function hasBody(request: Request): Promise<boolean> {
  const told = request.headers.get('content-length');
  if (told !== null) return !/^0+$/.test(told);
  // A Request of these methods never has one, and Node's server would make a whole one to tell.
  if (request.method === 'GET' || request.method === 'HEAD' || request.body === null) return false;
  const reader = request.body.getReader();
  for (;;) {
    const { done, value } = await reader.read().catch(endedEarly);
    if (done) return false;
    if (value.length === 0) continue;
    reader.cancel().catch(() => {});
    return true;
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

/** @throws EventLogError `invalid_request` if the bytes are not UTF-8 */
export function decodeBody(bytes: Uint8Array): string {
  try {
    return TEXT.decode(bytes);
  } catch {
    throw invalidField('body', 'The body is not UTF-8.');
  }
}

/** The body as JSON. @throws EventLogError as `readBody`, and `invalid_request` if it is not JSON or repeats a member */
export async function readJson(request: Request): Promise<unknown> {
  return jsonOf(await readBody(request));
}

/** Like `readJson`, for a body that has been read. */
export function jsonOf(body: Uint8Array): unknown {
  const json = decodeBody(body);
  const parsed = parseJson(json);
  checkMembers(json);
  return parsed;
}

/** @throws EventLogError `invalid_request` saying where the text is not JSON, without quoting its content */
export function parseJson(json: string, field = 'body'): unknown {
  try {
    return JSON.parse(json);
  } catch (error) {
    const where = /at position \d+( \(line \d+ column \d+\))?/.exec(error instanceof Error ? error.message : '')?.[0];
    const what = field === 'body' ? 'The body' : field;
    throw invalidField(field, `${what} is not JSON${where === undefined ? '' : ` (${where})`}.`);
  }
}
