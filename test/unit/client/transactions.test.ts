import { describe, expect, it } from 'vitest';
import { json, topic } from '../../../shared/client/codec.ts';
import type { Transaction } from '../../../shared/client/index.ts';
import { EventLogError } from '../../../shared/log/errors.ts';
import { SeededRandom } from '../../support/memory-broker.ts';
import { type ClientLog, clientLog, type Fault, type Transport } from './client-log.ts';

/** `EventLog.transaction` over a real broker, embedded and over HTTP, with faults of the network. */

async function made(transport: Transport): Promise<ClientLog> {
  const log = clientLog(transport);
  await log.clock.run(log.app.broker.putTopic({ name: 'in', partitions: 2 }));
  await log.clock.run(log.app.broker.putTopic({ name: 'out', partitions: 20 }));
  return log;
}

async function values({ app, clock }: ClientLog, name: string, partition = 0): Promise<string[]> {
  const read = app.broker.readRecords({ topic: name, partition, from: { offset: 0 }, maxBytes: 64 * 1024 * 1024 });
  return (await clock.run(read)).records.map(({ value }) => Buffer.from(value ?? []).toString());
}

async function ids({ app, clock }: ClientLog): Promise<string[]> {
  const { items } = await clock.run(app.broker.listTransactions());
  return items.map(({ transactionalId }) => transactionalId);
}

const errorOf = (promise: Promise<unknown>): Promise<EventLogError> =>
  promise.then(
    () => expect.fail('It succeeded.'),
    (error) => error,
  );

describe.each(['embedded', 'http'] as const)('a transaction, %s', (transport) => {
  it('is seen as a whole once its function has returned, and gives back its result and its places', async () => {
    const log = await made(transport);
    const numbers = topic('out', { value: json<{ n: number }>() });
    const result = await log.clock.run(
      log.log().transaction(async (tx) => {
        const places = await Promise.all([
          tx.produce(numbers, {
            value: { n: 1 },
            partition: 18,
            headers: [{ name: 'h', value: new Uint8Array([255]) }],
          }),
          tx.produce('in', { key: 'k', value: 'text', partition: 1, timestamp: 1_699_999_999_000 }),
        ]);
        expect([await values(log, 'in', 1), await values(log, 'out', 18)]).toEqual([[], []]);
        return places;
      }),
    );
    expect(result).toMatchObject([
      { partition: 18, offset: 0 },
      { partition: 1, offset: 0, timestamp: 1_699_999_999_000 },
    ]);
    expect([await values(log, 'in', 1), await values(log, 'out', 18)]).toEqual([['text'], ['{"n":1}']]);
    const { records } = await log.clock.run(
      log.app.broker.readRecords({ topic: 'out', partition: 18, from: { offset: 0 } }),
    );
    expect(records[0]?.headers).toEqual([{ key: 'h', value: new Uint8Array([255]) }]);
  });

  it('leaves nothing behind if its function throws, and throws the same', async () => {
    const log = await made(transport);
    const client = log.log();
    const own = new Error('My own.');
    let runs = 0;
    const failing = client.transaction(async (tx) => {
      runs++;
      await tx.produce('in', { value: 'x', partition: 0 });
      throw own;
    });
    expect(await log.clock.run(errorOf(failing))).toBe(own);
    expect(runs).toBe(1);
    await log.clock.run(client.transaction(async (tx) => void tx.produce('in', { value: 'y', partition: 0 })));
    expect(await values(log, 'in')).toEqual(['y']);
    // Scopes name these ids by how they begin.
    expect(await ids(log)).toEqual([expect.stringMatching(/^tailrace\.client\.[0-9a-f]{32}$/)]);
  });

  it('makes no request if its function produces nothing', async () => {
    const log = await made(transport);
    const asked: string[] = [];
    log.transactionFault = (what) => void asked.push(what) as undefined;
    const client = log.log();
    expect(await log.clock.run(client.transaction(async () => 7))).toBe(7);
    expect(await log.clock.run(client.transaction(async () => 8))).toBe(8);
    expect(asked).toEqual(['begin']);
  });

  it('cannot be committed if one of its records was refused, whoever waits for it', async () => {
    const log = await made(transport);
    const client = log.log();
    const cases: [(tx: Transaction) => unknown, string][] = [
      [(tx) => tx.produce('in', { value: undefined as never }), 'invalid_request'],
      [(tx) => tx.produce('none', { value: 'x' }), 'unknown_topic'],
      [(tx) => tx.produce('in', { value: 'x', partition: 2 }), 'unknown_partition'],
      [(tx) => tx.produce('in', { value: 'x'.repeat(2_000_000) }), 'record_too_large'],
    ];
    for (const [produce, code] of cases) {
      for (const isSwallowed of [true, false]) {
        const failing = client.transaction(
          async (tx) => {
            await tx.produce('out', { value: 'first', partition: 0 });
            const produced = Promise.resolve(produce(tx));
            if (isSwallowed) produced.catch(() => {});
            else await produced;
          },
          { retryMs: 0 },
        );
        expect(await log.clock.run(errorOf(failing))).toMatchObject({ code, outcome: 'not_applied' });
      }
    }
    expect(await values(log, 'out')).toEqual([]);
  });

  it('is tried again as a whole after each fault of the network, and happens once', async () => {
    const faults: Fault[] = ['before', 'after', 'twice', 'late', 'throttled'];
    for (const fault of faults) {
      for (const what of ['begin', 'records', 'committed'] as const) {
        const log = await made(transport);
        let left = 2;
        log.transactionFault = (request) => (request === what && left-- > 0 ? fault : undefined);
        const client = log.log();
        let runs = 0;
        const run = (value: string) =>
          client.transaction(async (tx) => {
            runs++;
            tx.produce('in', { value, partition: 0 });
            tx.produce('out', { value, partition: 17 });
          });
        await log.clock.run(run('a'));
        await log.clock.run(run('b'));
        await log.clock.advance(10_000);
        const seen = [await values(log, 'in'), await values(log, 'out', 17)];
        expect(seen, `${fault} of ${what}`).toEqual([
          ['a', 'b'],
          ['a', 'b'],
        ]);
        if (what === 'committed') expect(runs).toBe(2);
      }
    }
  });

  it('says that nobody knows, if no answer to its commit comes', async () => {
    const log = await made(transport);
    const client = log.log();
    let runs = 0;
    const produce = async (tx: Transaction): Promise<void> => {
      runs++;
      tx.produce('in', { value: String(runs), partition: 0 });
    };
    await log.clock.run(client.transaction(produce));
    log.transactionFault = (what) => (what === 'committed' ? 'after' : undefined);
    const error = await log.clock.run(errorOf(client.transaction(produce)));
    expect(error).toMatchObject({ outcome: 'unknown', retry: 'never' });
    expect(runs).toBe(2);
    expect(await values(log, 'in')).toEqual(['1', '2']);
    log.transactionFault = () => undefined;
    await log.clock.run(client.transaction(produce));
    expect(runs).toBe(3);
  });

  it('begins anew under its id if nobody knows whether it was aborted', async () => {
    const log = await made(transport);
    const client = log.log();
    const asked: string[] = [];
    log.transactionFault = (what) => {
      asked.push(what);
      return what === 'aborted' ? 'after' : undefined;
    };
    const failing = client.transaction(async (tx) => {
      await tx.produce('in', { value: 'x', partition: 0 });
      throw new Error('My own.');
    });
    expect(await log.clock.run(errorOf(failing))).toMatchObject({ message: 'My own.' });
    await log.clock.run(client.transaction(async (tx) => void tx.produce('in', { value: 'y', partition: 0 })));
    expect(asked.filter((what) => what === 'records' || what === 'begin')).toEqual([
      'begin',
      'records',
      'begin',
      'records',
    ]);
    expect(await values(log, 'in')).toEqual(['y']);
  });

  it('is tried again if it took longer than its time', async () => {
    const log = await made(transport);
    let runs = 0;
    const slow = log.log().transaction(
      async (tx) => {
        runs++;
        await tx.produce('in', { value: String(runs), partition: 0 });
        if (runs > 1) return;
        await log.clock.sleep(6_100);
        // Somebody is held up, and ends it.
        await log.app.broker.readRecords({ topic: 'in', partition: 0, from: { offset: 0 } });
        await log.clock.sleep(1_000);
      },
      { timeoutMs: 1_000 },
    );
    await log.clock.run(slow);
    expect(runs).toBe(2);
    expect(await values(log, 'in')).toEqual(['2']);
  });

  it('under a given id fences who used the id before, and is itself not repeated when it is fenced', async () => {
    const log = await made(transport);
    const [older, newer] = [log.log(), log.log()];
    const options = { transactionalId: 'worker 1' };
    const fenced = older.transaction(async (tx) => {
      await tx.produce('in', { value: 'old', partition: 0 });
      await newer.transaction(async (other) => void other.produce('in', { value: 'new', partition: 0 }), options);
    }, options);
    expect(await log.clock.run(errorOf(fenced))).toMatchObject({ code: 'producer_fenced', outcome: 'not_applied' });
    expect(await values(log, 'in')).toEqual(['new']);
  });

  it('under a given id is not repeated if it took longer than its time: a newer program may have ended it', async () => {
    const log = await made(transport);
    const client = log.log();
    const options = { transactionalId: 'worker 1', timeoutMs: 1_000 };
    let runs = 0;
    const run = () =>
      client.transaction(async (tx) => {
        await tx.produce('in', { value: String(++runs), partition: 0 });
        if (runs > 1) return;
        await log.clock.sleep(10_000);
        await log.app.broker.sweepTransactions();
      }, options);
    expect(await log.clock.run(errorOf(run()))).toMatchObject({ code: 'producer_fenced', outcome: 'not_applied' });
    expect(runs).toBe(1);
    await log.clock.run(run());
    expect(await values(log, 'in')).toEqual(['2']);
  });

  it('goes on under a given id that the log has retired, unless a newer program has it', async () => {
    const log = await made(transport);
    const [client, newer] = [log.log(), log.log()];
    const options = { transactionalId: 'weekly', retryMs: 0 };
    const retire = async (): Promise<void> => {
      await log.clock.sleep(8 * 86_400_000);
      await log.app.broker.sweepTransactions();
    };
    const run = (value: string, given: object, before = async (): Promise<void> => {}) =>
      client.transaction(async (tx) => {
        await before();
        await tx.produce('in', { value, partition: 0 });
      }, given);
    await log.clock.run(run('a', options));
    await log.clock.run(retire());
    await log.clock.run(run('b', options));

    // It is retired while the function runs.
    const slow = { transactionalId: 'weekly', retryMs: 20 * 86_400_000 };
    let left = 1;
    await log.clock.run(run('c', slow, async () => (left-- > 0 ? retire() : undefined)));
    const overtaken = run('d', slow, async () => {
      await retire();
      await newer.transaction(async (tx) => void tx.produce('in', { value: 'new', partition: 0 }), options);
    });
    expect(await log.clock.run(errorOf(overtaken))).toMatchObject({ code: 'unknown_transactional_id' });
    expect(await values(log, 'in')).toEqual(['a', 'b', 'c', 'new']);
  });

  it('waits for the one before under the same id; without an id as many run as are asked for', async () => {
    const log = await made(transport);
    const client = log.log();
    let running = 0;
    let most = 0;
    const one = (options?: object) =>
      client.transaction(async (tx) => {
        most = Math.max(most, ++running);
        await tx.produce('in', { value: 'x', partition: 0 });
        running--;
      }, options);
    const timeouts = [60_000, 60_000, 30_000];
    await log.clock.run(Promise.all(timeouts.map((timeoutMs) => one({ transactionalId: 'a', timeoutMs }))));
    expect([most, (await ids(log)).length]).toEqual([1, 1]);
    expect((await log.clock.run(log.app.broker.describeTransaction('a'))).timeoutMs).toBe(30_000);
    await log.clock.run(Promise.all([1, 2, 3].map(() => one())));
    expect([most, (await ids(log)).length]).toEqual([3, 4]);
    expect(await values(log, 'in')).toHaveLength(6);
  });

  it('keeps the order of records over several requests, and holds back who produces faster', async () => {
    const log = await made(transport);
    let requests = 0;
    log.transactionFault = (what) => void (what === 'records' && requests++) as undefined;
    const value = 'v'.repeat(500_000);
    await log.clock.run(
      log.log().transaction(async (tx) => {
        for (let i = 0; i < 40; i++) void tx.produce('in', { value: `${i} ${value}`, partition: 0 });
      }),
    );
    expect((await values(log, 'in')).map((each) => Number(each.split(' ')[0]))).toEqual([...Array(40).keys()]);
    expect(requests).toBeGreaterThan(10);
  });

  it('sends no more to a partition at once than the log can answer twice', async () => {
    const log = await made(transport);
    await log.clock.run(log.app.broker.putTopic({ name: 'small', config: { 'max.message.bytes': '20000' } }));
    let [requests, lost] = [0, 0];
    log.transactionFault = (what) => {
      if (what !== 'records') return undefined;
      requests++;
      return lost++ % 2 === 0 ? 'after' : undefined;
    };
    await log.clock.run(
      log.log().transaction(async (tx) => {
        for (let i = 0; i < 24; i++) {
          void tx.produce('small', { value: `${i} ${'v'.repeat(11_000)}`, partition: 0 });
          void tx.produce('in', { value: String(i), partition: 1 });
        }
      }),
    );
    expect((await values(log, 'small')).map((each) => Number(each.split(' ')[0]))).toEqual([...Array(24).keys()]);
    expect((await values(log, 'in', 1)).map(Number)).toEqual([...Array(24).keys()]);
    expect(requests).toBe(10);
  });

  it('ends with the reason of its signal', async () => {
    const log = await made(transport);
    const stop = new AbortController();
    const stopped = log.log().transaction(
      async (tx) => {
        await tx.produce('in', { value: 'x', partition: 0 });
        stop.abort(new Error('Enough.'));
        expect(tx.signal.aborted).toBe(true);
        await tx.produce('in', { value: 'y', partition: 0 });
      },
      { signal: stop.signal },
    );
    expect(await log.clock.run(errorOf(stopped))).toMatchObject({ message: 'Enough.' });
    expect(await values(log, 'in')).toEqual([]);
  });

  it('names the option that is wrong', async () => {
    const client = (await made(transport)).log();
    for (const [options, field] of [
      [{ transactionalId: '' }, 'transactionalId'],
      [{ timeoutMs: 900_001 }, 'timeoutMs'],
      [{ retryMs: -1 }, 'retryMs'],
      [{ transactionId: 't' } as object, 'transactionId'],
    ] as const)
      expect(await errorOf(client.transaction(async () => {}, options))).toMatchObject({
        code: 'invalid_request',
        details: { field },
      });
  });
});

describe.each(['embedded', 'http'] as const)('consume, transform, produce, %s', (transport) => {
  it('has its effect once for each record, whatever is lost and whoever dies', async () => {
    const log = await made(transport);
    const random = new SeededRandom(7);
    const count = 60;
    for (let i = 0; i < count; i++) {
      const records = [{ key: null, value: Buffer.from(String(i)), headers: [], partition: i % 2 }];
      await log.clock.run(log.app.broker.appendRecords({ topic: 'in', records }));
    }
    const faults: Fault[] = ['before', 'after', 'twice', 'throttled'];
    log.transactionFault = (what) =>
      what !== 'aborted' && random.below(6) === 0 ? faults[random.below(4)] : undefined;
    const seen = new Set<string>();
    let deaths = 0;
    const worker = async (): Promise<void> => {
      const client = log.log();
      for await (const batch of client.consume({ group: 'g', topics: ['in'], maxRecords: 5, leaseMs: 10_000 })) {
        await client.transaction(async (tx) => {
          for (const { value } of batch.records) tx.produce('out', { value: `${value}`, partition: 3 });
          await tx.commitOffsets(batch);
        });
        for (const { value } of batch.records) seen.add(String(value));
        if (seen.size >= count) return;
        // It dies behind its commit, before its group knows.
        if (random.below(4) === 0 && deaths++ < 4) throw new Error('It dies.');
      }
    };
    while (seen.size < count) await log.clock.run(worker()).catch(() => {});
    const written = (await values(log, 'out', 3)).map(Number).sort((a, b) => a - b);
    expect(written).toEqual([...Array(count).keys()]);
    expect(deaths).toBeGreaterThan(0);
  });

  it('is aborted if the member has lost its partitions', async () => {
    const log = await made(transport);
    await log.clock.run(
      log.app.broker.appendRecords({
        topic: 'in',
        records: [{ key: null, value: Buffer.from('a'), headers: [], partition: 0 }],
      }),
    );
    const client = log.log();
    const consumer = client.consumer({ group: 'g', topics: ['in'] });
    const lost = (async () => {
      for await (const batch of consumer) {
        await log.app.broker.leaveGroup({ group: 'g', memberId: consumer.memberId });
        await log.app.broker.pollGroup({ group: 'g', memberId: 'other', subscription: { topics: ['in'] }, waitMs: 0 });
        await client.transaction(async (tx) => {
          tx.produce('out', { value: 'x', partition: 0 });
          await tx.commitOffsets(batch);
        });
      }
    })();
    const error = await log.clock.run(errorOf(lost));
    expect(error).toBeInstanceOf(EventLogError);
    expect(error).toMatchObject({ code: 'fenced_member_epoch', outcome: 'not_applied' });
    expect(await values(log, 'out')).toEqual([]);
  });
});
