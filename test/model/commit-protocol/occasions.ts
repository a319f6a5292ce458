/** What must happen in some run, or the search shows little. */
export const OCCASIONS = [
  'a commit is applied unheard',
  'a commit is refused, and its entry in the tail',
  'a commit is refused, and its entry in a tail node',
  'a commit is refused, and its entry nowhere',
  'a commit is refused for what came before it',
  'a commit is refused for a full tail',
  'a refusal waits for a fresh look at the head',
  'a repeat is found by its idempotency key',
  'an attempt finds that it was shut out',
  'what was to be shut out has been applied',
] as const;
export type Occasion = (typeof OCCASIONS)[number];
