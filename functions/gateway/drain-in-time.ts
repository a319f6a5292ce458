import type { Broker } from '../../shared/broker/broker.ts';
import type { KafkaServer } from '../../shared/kafka/listen.ts';
import type { Clock } from '../../shared/storage/ports.ts';

/** Others stop sending clients here; if the table does not answer, they notice by themselves. */
const LEAVE_MS_MAX = 2_000;
/** Clients hang up when they see the end of their connection. One that does not has the rest of its answers by then. */
const HANG_UP_MS_MAX = 3_000;

export interface DrainLimits {
  readonly clock: Clock;
  /** For all steps together. */
  readonly drainMs: number;
  /** Ends the drain at once. */
  readonly cut: AbortSignal;
}

export interface DrainedParts {
  /** Takes this gateway from the list of gateways. */
  leave(): Promise<void>;
  /** Ends long polls. */
  readonly stopping: AbortController;
  readonly server: Pick<KafkaServer, 'finish' | 'closed' | 'cut'>;
  readonly broker: Pick<Broker, 'close'>;
}

export type Drained = {
  /** Whether every request that had begun was answered and every append settled. */
  readonly isClean: boolean;
  readonly answered: boolean;
  readonly settled: boolean;
  readonly ms: number;
};

/**
 * Leaves the list, takes no more connections, ends long polls, answers the requests in work, settles the appends, and closes
 * the connections. A request that was received and not begun is not answered: its client sends it to another gateway.
 */
export async function drainInTime(
  { clock, drainMs, cut }: DrainLimits,
  { leave, stopping, server, broker }: DrainedParts,
): Promise<Drained> {
  const beganAtMs = clock.nowMs();
  const ended = new AbortController();
  const isOver = clock.sleep(drainMs, AbortSignal.any([ended.signal, cut])).then(() => false);
  const inTime = (work: Promise<unknown>): Promise<boolean> => Promise.race([work.then(() => true), isOver]);
  const within = (ms: number, work: Promise<unknown>): Promise<unknown> =>
    Promise.race([work, clock.sleep(ms, ended.signal)]);
  // Whether it is on the list or not, clients can only come to others from now on.
  await inTime(
    within(
      LEAVE_MS_MAX,
      leave().catch(() => {}),
    ),
  );
  stopping.abort();
  const answered = await inTime(server.finish());
  if (!answered) server.cut();
  const settled = await inTime(broker.close());
  await inTime(within(HANG_UP_MS_MAX, server.closed()));
  server.cut();
  ended.abort();
  return { isClean: answered && settled, answered, settled, ms: clock.nowMs() - beganAtMs };
}
