import { EventLogError } from '../../log/errors.ts';

/** Reads the content type of a request, and negotiates that of an answer (RFC 9110, sections 8.3 and 12.5.1). */

/** The media type of a `Content-Type` header in lower case; `undefined` if there is none. */
export function mediaTypeOf(header: string | null): string | undefined {
  if (header === null) return undefined;
  const end = header.indexOf(';');
  return (end < 0 ? header : header.slice(0, end)).trim().toLowerCase();
}

/**
 * Returns the body's type, which must be one of `supported`.
 * @throws EventLogError `unsupported_media_type`, also if the charset is not UTF-8
 */
export function requireMediaType<T extends string>(header: string | null, supported: readonly T[]): T {
  const given = mediaTypeOf(header);
  const found = supported.find((type) => type === given);
  if (found === undefined) {
    throw new EventLogError(
      'unsupported_media_type',
      `${given === undefined || given === '' ? 'The request has no content type' : `The content type '${given.slice(0, 100)}' is not supported here`}; send one of: ${supported.join(', ')}.`,
      { details: { supported: supported.join(', ') } },
    );
  }
  const charset = /;\s*charset\s*=\s*"?([^";\s]*)/i.exec(header ?? '')?.[1];
  if (charset !== undefined && !/^utf-?8$/i.test(charset)) {
    throw new EventLogError('unsupported_media_type', `Text must be sent in UTF-8, not in '${charset.slice(0, 100)}'.`);
  }
  return found;
}

/**
 * Returns the offered type that the client prefers, by its `q`. Among equals it is the type that is offered first.
 * @throws EventLogError `not_acceptable` naming the offered types
 */
export function chooseMediaType<T extends string>(accept: string | null, offered: readonly [T, ...T[]]): T {
  if (accept === null || accept === '' || accept === '*/*') return offered[0];
  const ranges = accept.split(',').map(parseRange);
  let best: T | undefined;
  let bestQuality = 0;
  for (const type of offered) {
    const quality = qualityOf(type, ranges);
    if (quality > bestQuality) {
      best = type;
      bestQuality = quality;
    }
  }
  if (best !== undefined) return best;
  throw new EventLogError('not_acceptable', `The answer is available only as: ${offered.join(', ')}.`, {
    details: { offered: offered.join(', ') },
  });
}

interface MediaRange {
  readonly type: string;
  readonly quality: number;
}

function parseRange(text: string): MediaRange {
  const [type = '', ...parameters] = text.split(';').map((part) => part.trim().toLowerCase());
  const quality = parameters.find((parameter) => parameter.startsWith('q='))?.slice(2);
  const parsed = quality === undefined ? 1 : Number(quality);
  return { type, quality: parsed >= 0 && parsed <= 1 ? parsed : 0 };
}

/** The quality of the most specific range that includes the type. */
function qualityOf(type: string, ranges: readonly MediaRange[]): number {
  const group = `${type.slice(0, type.indexOf('/'))}/*`;
  for (const pattern of [type, group, '*/*']) {
    const found = ranges.find((range) => range.type === pattern);
    if (found !== undefined) return found.quality;
  }
  return 0;
}
