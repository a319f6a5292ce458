import { EventLogError } from '../../log/errors.ts';

/** Content types that are sent, and content types that are asked for (RFC 9110, sections 8.3 and 12.5.1). */

/** The media type of a `Content-Type` header in lower case; `undefined` where there is none. */
export function mediaTypeOf(header: string | null): string | undefined {
  if (header === null) return undefined;
  const end = header.indexOf(';');
  return (end < 0 ? header : header.slice(0, end)).trim().toLowerCase();
}

/**
 * The one of `supported` that the body has.
 * @throws EventLogError `unsupported_media_type`, also for text that says it is not UTF-8.
 */
export function requireMediaType<T extends string>(header: string | null, supported: readonly T[]): T {
  const given = mediaTypeOf(header);
  const found = supported.find((type) => type === given);
  if (found === undefined) {
    throw new EventLogError(
      'unsupported_media_type',
      `${given === undefined || given === '' ? 'The request has no content type' : `The content type '${given.slice(0, 100)}' is not understood here`}; send one of: ${supported.join(', ')}.`,
      { details: { supported: supported.join(', ') } },
    );
  }
  const charset = /;\s*charset\s*=\s*"?([^";\s]*)/i.exec(header ?? '')?.[1];
  if (charset !== undefined && !/^utf-?8$/i.test(charset)) {
    throw new EventLogError('unsupported_media_type', `Text is sent in UTF-8, not in '${charset.slice(0, 100)}'.`);
  }
  return found;
}

/**
 * The one of `offered` that the client wants most: by its `q`, and of equals the one offered first.
 * @throws EventLogError `not_acceptable` naming what there is.
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
  throw new EventLogError('not_acceptable', `This can be had as: ${offered.join(', ')}.`, {
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

/** Of the most specific range that has the type. */
function qualityOf(type: string, ranges: readonly MediaRange[]): number {
  const group = `${type.slice(0, type.indexOf('/'))}/*`;
  for (const pattern of [type, group, '*/*']) {
    const found = ranges.find((range) => range.type === pattern);
    if (found !== undefined) return found.quality;
  }
  return 0;
}
