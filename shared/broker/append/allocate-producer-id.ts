import { COUNTER, PRODUCER_ID_COUNTER } from '../../storage/keys.ts';
import type { BrokerContext } from '../context.ts';
import { dayOf } from '../memory/young-producers.ts';
import { NO_TOPIC, type Purpose } from '../usage/usage-meter.ts';

/**
 * Allocates a producer id that was never used. The producer begins at epoch 0 and, in each partition, at sequence 0. The
 * counter also stores the first ids of its day and of the day before (UTC): see `YoungProducers`. If the reply is lost, the
 * id remains unused.
 * 1 UpdateItem; 2 for the first id of a day, counted for the purpose. Any number of processes may call it at once.
 */
export async function allocateProducerId(context: BrokerContext, purpose: Purpose = 'admin'): Promise<number> {
  const { items } = context.usage.of(NO_TOPIC, purpose);
  let day = dayOf(context.clock.nowMs());
  for (;;) {
    const taken = await items.update(
      PRODUCER_ID_COUNTER,
      [{ do: 'add', name: COUNTER.next, by: 1 }],
      [{ if: 'equals', name: COUNTER.day, value: day }],
    );
    if (taken.ok) return Number(taken.attributes[COUNTER.next]) - 1;
    const met = (name: string): number => Number(taken.attributes?.[name] ?? 0);
    const metDay = met(COUNTER.day);
    const today = dayOf(context.clock.nowMs());
    if (metDay === today + 1) {
      // The clock of another process is slightly ahead, and its next day has begun.
      day = metDay;
      continue;
    }
    // A day that is further ahead comes from a wrong clock, so the day is set back. Otherwise all later ids would belong to
    // that future day, and count as young until it comes.
    const next = met(COUNTER.next);
    const turned = await items.update(
      PRODUCER_ID_COUNTER,
      [
        { do: 'add', name: COUNTER.next, by: 1 },
        { do: 'set', name: COUNTER.day, value: today },
        { do: 'set', name: COUNTER.firstOfDay, value: next },
        { do: 'set', name: COUNTER.firstOfDayBefore, value: metDay === today - 1 ? met(COUNTER.firstOfDay) : next },
      ],
      // Every write raises the counter, so an unchanged counter means that the whole item is unchanged.
      [{ if: 'equals', name: COUNTER.next, value: next }],
    );
    if (turned.ok) return next;
    day = today;
  }
}
