import { problem } from '../../shared/http/answer/respond.ts';
import { OPERATION_IDS, OPERATIONS, type Operation } from '../../shared/http/operation.ts';
import { rawPath } from '../../shared/http/request/input.ts';
import { toHex } from '../../shared/log/bytes.ts';
import { EventLogError } from '../../shared/log/errors.ts';
import { systemRandom } from '../../shared/storage/system/random.ts';

type Fetch = (request: Request) => Response | Promise<Response>;

/** Lets through the operations of one tag; everything else is not found, whatever the whole API has there. */
export function only(tag: Operation['tag'], fetch: Fetch): Fetch {
  const operations: readonly Operation[] = OPERATION_IDS.map((id) => OPERATIONS[id]).filter((each) => each.tag === tag);
  const open = operations.map(({ method, path }) => ({ method: method.toUpperCase(), segments: path.split('/') }));
  return (request) => {
    const given = rawPath(request).split('/');
    if (open.some(({ method, segments }) => method === request.method && matches(segments, given)))
      return fetch(request);
    const message = 'This address takes appends only. Everything else is at the address of the whole API.';
    return problem(
      { requestId: toHex(systemRandom.bytes(REQUEST_ID_BYTES)), allowedOrigin: undefined },
      new EventLogError('not_found', message),
    );
  };
}

const REQUEST_ID_BYTES = 12;

/** `{name}` stands for any one segment. */
function matches(segments: readonly string[], given: readonly string[]): boolean {
  if (segments.length !== given.length) return false;
  return segments.every((segment, i) => (segment.startsWith('{') ? given[i] !== '' : segment === given[i]));
}
