import { describe, expect, it } from 'vitest';
import { chooseMediaType, requireMediaType } from '../../../../shared/http/request/media-type.ts';
import { EventLogError } from '../../../../shared/log/errors.ts';

const OFFERED = ['application/json', 'application/x-ndjson', 'text/event-stream'] as const;

function codeOf(run: () => unknown): string | undefined {
  try {
    run();
  } catch (error) {
    if (error instanceof EventLogError) return error.code;
  }
  return undefined;
}

describe('what a client accepts', () => {
  it.each([
    [null, 'application/json'],
    ['', 'application/json'],
    ['*/*', 'application/json'],
    ['application/*', 'application/json'],
    ['text/*', 'text/event-stream'],
    ['text/event-stream', 'text/event-stream'],
    ['Application/X-NDJSON', 'application/x-ndjson'],
    ['text/html, application/json;q=0.5, application/x-ndjson; q=0.6', 'application/x-ndjson'],
    ['application/json;q=0, */*;q=0.1', 'application/x-ndjson'],
    ['*/*;q=0.5, text/event-stream', 'text/event-stream'],
    ['application/json;charset=utf-8', 'application/json'],
    ['text/event-stream;q=0.2, application/json;q=0.2', 'application/json'],
  ])('%s: %s', (accept, type) => {
    expect(chooseMediaType(accept, OFFERED)).toBe(type);
  });

  it.each(['text/html', 'application/json;q=0', 'application/json;q=2', 'garbage', ',', '*/*;q=0'])(
    '%s: not_acceptable',
    (accept) => {
      expect(codeOf(() => chooseMediaType(accept, OFFERED))).toBe('not_acceptable');
    },
  );
});

describe('what a body is', () => {
  it.each([
    'application/json',
    'APPLICATION/JSON; charset=UTF-8',
    'application/json;charset="utf8"',
    ' application/json ',
  ])('%s is taken', (type) => {
    expect(requireMediaType(type, ['application/json'])).toBe('application/json');
  });

  it.each([null, '', 'text/plain', 'application/jsonx', 'application/json; charset=latin1'])(
    '%s is refused',
    (type) => {
      expect(codeOf(() => requireMediaType(type, ['application/json']))).toBe('unsupported_media_type');
    },
  );
});
