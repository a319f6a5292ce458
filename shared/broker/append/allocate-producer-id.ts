import { COUNTER, PRODUCER_ID_COUNTER } from '../../storage/keys.ts';
import type { BrokerContext } from '../context.ts';
import { dayOf } from '../memory/young-producers.ts';
import { NO_TOPIC } from '../usage/usage-meter.ts';

/**
 * A producer id that nobody has had. It begins at epoch 0 and, in each partition, at sequence 0. The counter also keeps the
 * first ids of today and of the day before (UTC): see `YoungProducers`. An answer that is lost leaves an id unused.
 * 1 UpdateItem; 3 for the first id of a day.
 */
export async function allocateProducerId(context: BrokerContext): Promise<number> {
  const { items } = context.usage.of(NO_TOPIC, 'admin');
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
    if (metDay > day) {
      // Another process's clock is ahead; its day counts.
      day = metDay;
      continue;
    }
    const next = met(COUNTER.next);
    await items.update(
      PRODUCER_ID_COUNTER,
      [
        { do: 'set', name: COUNTER.day, value: day },
        { do: 'set', name: COUNTER.firstOfDay, value: next },
        { do: 'set', name: COUNTER.firstOfDayBefore, value: metDay === day - 1 ? met(COUNTER.firstOfDay) : next },
      ],
      [
        { if: 'equals', name: COUNTER.day, value: metDay },
        { if: 'equals', name: COUNTER.next, value: next },
      ],
    );
  }
}
