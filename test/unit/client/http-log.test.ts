import { describe, expect, it } from 'vitest';
import { connect } from '../../../shared/client/event-log.ts';
import { HttpLog } from '../../../shared/client/http-log.ts';
import { encodeBatch } from '../../../shared/log/batch/record-batch.ts';
import { memoryApp } from '../../support/memory-app.ts';
import { bytes } from '../../support/memory-broker.ts';

type Answer = () => Response | Promise<Response>;

/** A log whose requests get these answers in turn, with what was sent. */
function answering(...answers: Answer[]) {
  const sent: Request[] = [];
  const fetching: typeof fetch = async (url, init) => {
    sent.push(new Request(String(url), { ...init, duplex: 'half' } as RequestInit));
    return (answers.shift() as Answer)();
  };
  return { sent, fetching };
}

const producer: Answer = () => Response.json({ producerId: 7, producerEpoch: 0 }, { status: 201 });
const failing = (answer: Answer) => {
  const { fetching } = answering(answer);
  return new HttpLog({ url: 'http://log', fetch: fetching }).allocateProducerId();
};

describe('the log over HTTP', () => {
  it('asks at its address, with its credential', async () => {
    const { sent, fetching } = answering(producer, producer);
    const first = new HttpLog({ url: 'https://log/base/', apiKey: 'tlr_1', headers: { 'x-a': '1' }, fetch: fetching });
    expect(await first.allocateProducerId()).toBe(7);
    expect(sent[0]?.url).toBe('https://log/base/v1/producers');
    expect(sent[0]?.headers.get('authorization')).toBe('Bearer tlr_1');
    expect(sent[0]?.headers.get('x-a')).toBe('1');
  });

  it('asks for another token once, if the first is not valid', async () => {
    const invalid: Answer = () => new Response(null, { status: 401 });
    const tokens = ['old', 'new', 'newer', 'newest'];
    const { sent, fetching } = answering(invalid, producer, invalid, invalid);
    const log = new HttpLog({ url: 'http://log', token: async () => tokens.shift() as string, fetch: fetching });
    expect(await log.allocateProducerId()).toBe(7);
    expect(sent.map(({ headers }) => headers.get('authorization'))).toEqual(['Bearer old', 'Bearer new']);
    await expect(log.allocateProducerId()).rejects.toMatchObject({ code: 'unauthenticated' });
    const none = new HttpLog({
      url: 'http://log',
      token: () => {
        throw new Error('no issuer');
      },
    });
    await expect(none.allocateProducerId()).rejects.toMatchObject({
      code: 'storage_unavailable',
      outcome: 'not_applied',
    });
  });

  it('throws what the log throws', async () => {
    const { app } = memoryApp();
    const log = new HttpLog({
      url: 'http://localhost',
      fetch: async (url, init) => app.fetch(new Request(String(url), init)),
    });
    await expect(log.describeTopic('nowhere')).rejects.toMatchObject({
      name: 'EventLogError',
      code: 'unknown_topic',
      retry: 'after_refresh',
      outcome: 'not_applied',
      details: { topic: 'nowhere', requestId: expect.stringMatching(/^[0-9a-f]{24}$/) },
    });
    const problem = { code: 'storage_unavailable', retry: 'never', outcome: 'not_applied', detail: 'd' };
    await expect(failing(() => Response.json(problem, { status: 503 }))).rejects.toMatchObject({
      retry: 'never',
      outcome: 'not_applied',
    });
  });

  it('takes what to do from a problem whose code it does not know', async () => {
    const problem = { code: 'too_new', retry: 'as_is', outcome: 'not_applied', detail: 'd', limit: 3, more: {} };
    await expect(failing(() => Response.json(problem, { status: 418 }))).rejects.toMatchObject({
      code: 'internal',
      retry: 'as_is',
      outcome: 'not_applied',
      message: 'd',
      details: { code: 'too_new', limit: 3 },
    });
  });

  it('knows the answers of proxies by their status', async () => {
    const cases = [
      [429, { code: 'throttled', outcome: 'not_applied', details: { status: 429, retryAfterMs: 2_000 } }],
      [502, { code: 'storage_unavailable', outcome: 'unknown', retry: 'as_is' }],
      [403, { code: 'access_denied', outcome: 'not_applied' }],
      [418, { code: 'invalid_request' }],
    ] as const;
    for (const [status, expected] of cases)
      await expect(
        failing(() => new Response('<html>', { status, headers: { 'retry-after': '2' } })),
      ).rejects.toMatchObject(expected);
  });

  it('does not know what became of a request without a whole answer', async () => {
    const unknown = { code: 'storage_unavailable', retry: 'as_is', outcome: 'unknown' };
    await expect(failing(() => Promise.reject(new TypeError('fetch failed')))).rejects.toMatchObject(unknown);
    await expect(failing(() => new Response('{"producerId":', { status: 201 }))).rejects.toMatchObject(unknown);
  });

  it('appends batches of several partitions, each with its own outcome', async () => {
    const { app, broker } = memoryApp();
    await broker.putTopic({ name: 'a', partitions: 2 });
    const log = new HttpLog({
      url: 'http://localhost',
      fetch: async (url, init) => app.fetch(new Request(String(url), init)),
    });
    const batch = encodeBatch([{ key: null, value: bytes('v'), headers: [], timestampMs: Date.parse('2026-01-01') }]);
    const to = (topic: string, partition: number) => ({ topic, partition, batch });
    const outcomes = await log.append({ batches: [to('a', 1), to('b', 0), to('a', 0), to('a', 1), to('a', 9)] });
    expect(outcomes.map((each) => (each.ok ? each.baseOffset : each.error.code))).toEqual([
      0,
      'unknown_topic',
      0,
      1,
      'unknown_partition',
    ]);
  });

  it('refuses options that cannot work', () => {
    for (const url of ['log', 'ftp://log', 'http://', 'http://log?a'])
      expect(() => connect({ url }), url).toThrow('url takes the http or https address');
    expect(() => connect({ url: 'http://log', apiKey: 'a', token: 'b' })).toThrow('Leave out one of them');
    expect(() => connect({ url: 'http://log' }).producer({ inFlightMax: 6 })).toThrow('inFlightMax takes');
  });
});
