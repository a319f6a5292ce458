import { describe, expect, it } from 'vitest';
import { asEventLogError, PROBLEMS, problemHeaders, toProblem } from '../../../../shared/http/answer/problem.ts';
import { problem as problemSchema } from '../../../../shared/http/contract.ts';
import { ERROR_CODES, type ErrorCode, EventLogError } from '../../../../shared/log/errors.ts';

const CODES = Object.keys(ERROR_CODES) as ErrorCode[];

describe('problems', () => {
  it.each(CODES)('%s is a problem as the contract has it', (code) => {
    const error = new EventLogError(code, 'A detail.', { details: { field: 'x', title: 'mine', code: 'mine' } });
    const body = toProblem(error, 'request-1');
    expect(problemSchema.parse(body)).toEqual(body);
    expect(body).toMatchObject({
      status: PROBLEMS[code].status,
      title: PROBLEMS[code].title,
      type: `/errors/${code}`,
      code,
      detail: 'A detail.',
      instance: 'request-1',
      retry: ERROR_CODES[code].retry,
      outcome: ERROR_CODES[code].outcome,
      field: 'x',
    });
  });

  it('of one that is told to send the same again, the status is one that clients retry', () => {
    for (const code of CODES) {
      if (ERROR_CODES[code].retry === 'as_is') expect([429, 503, 507]).toContain(PROBLEMS[code].status);
      if (PROBLEMS[code].status < 500 && PROBLEMS[code].status !== 429)
        expect(ERROR_CODES[code].retry).not.toBe('as_is');
    }
  });

  it('tell how long to wait, in whole seconds, at least one', () => {
    const waitOf = (code: ErrorCode, retryAfterMs?: number) =>
      problemHeaders(new EventLogError(code, '', retryAfterMs === undefined ? {} : { details: { retryAfterMs } }))[
        'Retry-After'
      ];
    expect(waitOf('throttled', 1_001)).toBe('2');
    expect(waitOf('throttled', 5)).toBe('1');
    expect(waitOf('throttled')).toBe('1');
    expect(waitOf('shutting_down')).toBe('1');
    expect(waitOf('invalid_request')).toBeUndefined();
  });

  it('say nothing of what a bug said', () => {
    const error = asEventLogError(new TypeError('secret of 10.0.0.1'));
    expect(error.code).toBe('internal');
    expect(error.outcome).toBe('unknown');
    expect(JSON.stringify(toProblem(error))).not.toContain('secret');
    expect(error.cause).toBeInstanceOf(TypeError);
  });
});
