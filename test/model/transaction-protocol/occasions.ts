/** What must happen in some run, or the search shows little. */
export const OCCASIONS = [
  'an update is rejected after it was applied',
  'an operation gives up',
  'an end keeps participants that it has not seen',
  'a producer is fenced',
  'a batch is rejected because its transaction has ended',
  'a batch is bound again, since what was remembered has ended',
  'a marker meets a slot that was added',
  'a head has been marked by another',
  'a transaction has been finished by another',
] as const;
export type Occasion = (typeof OCCASIONS)[number];
