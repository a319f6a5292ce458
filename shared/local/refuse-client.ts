import type { Socket } from 'node:net';
import { problemHeaders, toProblem } from '../http/answer/problem.ts';
import { EventLogError } from '../log/errors.ts';

/** Node's own limit on the headers of a request, together (`--max-http-header-size`). */
const HEADER_BYTES_MAX = 16_384;

/**
 * Answers what Node's HTTP parser rejects, which never becomes a request, with a problem like every other error, and ends
 * the connection.
 */
export function refuseClient(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const known = toEventLogError(error);
  const problem = toProblem(known);
  const body = JSON.stringify(problem);
  const headers = {
    ...problemHeaders(known),
    'Content-Length': String(Buffer.byteLength(body)),
    'Cache-Control': 'no-store',
    Connection: 'close',
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.end(`HTTP/1.1 ${problem.status} ${REASONS[problem.status] ?? ''}\r\n${lines.join('')}\r\n${body}`);
}

const REASONS: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  413: 'Content Too Large',
  431: 'Request Header Fields Too Large',
};

function toEventLogError(cause: NodeJS.ErrnoException): EventLogError {
  if (cause.code === 'HPE_HEADER_OVERFLOW') {
    return new EventLogError(
      'headers_too_large',
      `The headers of the request are larger than ${HEADER_BYTES_MAX} bytes together.`,
      { details: { bytesMax: HEADER_BYTES_MAX }, cause },
    );
  }
  if (cause.code === 'HPE_CHUNK_EXTENSIONS_OVERFLOW')
    return new EventLogError('request_too_large', 'The chunk extensions of the body are too large.', { cause });
  const what = cause.code === 'ERR_HTTP_REQUEST_TIMEOUT' ? 'did not arrive in time' : 'is not valid HTTP';
  return new EventLogError('invalid_request', `The request ${what}.`, { details: { field: 'request' }, cause });
}
