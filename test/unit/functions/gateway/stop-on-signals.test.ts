import { afterEach, beforeEach, expect, it, type MockInstance, vi } from 'vitest';
import type { RunningGateway } from '../../../../functions/gateway/start-gateway.ts';
import { stopOnSignals } from '../../../../functions/gateway/stop-on-signals.ts';

const SIGNALS = ['SIGTERM', 'SIGINT'] as const;

/** The end of the process would be the end of the tests. */
let exit: MockInstance<typeof process.exit>;
let exited: Promise<number>;
beforeEach(() => {
  const { promise, resolve } = Promise.withResolvers<number>();
  exited = promise;
  exit = vi.spyOn(process, 'exit').mockImplementation(((code: number) => resolve(code)) as typeof process.exit);
});
afterEach(() => {
  for (const signal of SIGNALS) process.removeAllListeners(signal);
  exit.mockRestore();
});

const gatewayOf = (drain: RunningGateway['drain']): RunningGateway => ({ port: 1, healthPort: 2, drain });

it.each([
  [true, 0],
  [false, 1],
])('ends with what the drain came to: %s', async (isClean, code) => {
  stopOnSignals(Promise.resolve(gatewayOf(async () => isClean)), () => {});
  process.emit('SIGTERM');
  expect(await exited).toBe(code);
});

it('drains once, and cuts at the second signal', async () => {
  let drains = 0;
  const gateway = gatewayOf((cut) => {
    drains++;
    return new Promise((resolve) => cut.addEventListener('abort', () => resolve(false)));
  });
  stopOnSignals(Promise.resolve(gateway), () => {});
  process.emit('SIGTERM');
  await vi.waitUntil(() => drains === 1);
  process.emit('SIGINT');
  expect(await exited).toBe(1);
  expect(drains).toBe(1);
});

it('waits for a start that is under way, unless a second signal comes', async () => {
  stopOnSignals(new Promise(() => {}), () => {});
  process.emit('SIGTERM');
  expect(exit).not.toHaveBeenCalled();
  process.emit('SIGTERM');
  expect(await exited).toBe(1);
});

it('says why a gateway cannot start, and ends with 1', async () => {
  const said: unknown[] = [];
  stopOnSignals(Promise.reject(new Error('no table')), (level, _, fields) => said.push([level, fields]));
  expect(await exited).toBe(1);
  expect(said).toEqual([['ERROR', { why: 'no table' }]]);
});
