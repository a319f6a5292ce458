import { EventLogError } from '../../log/errors.ts';

/** The outcome of one item of a request whose items fail or succeed each by itself. */
export type Outcome = { readonly ok: true } | { readonly ok: false; readonly error: EventLogError };

/** A request of which nothing succeeded is answered by a problem, not by a list of them. */
export function throwIfAllFailed(outcomes: readonly Outcome[]): void {
  const error = failureOf(outcomes);
  if (error !== undefined) throw error;
}

/** The error that represents all outcomes, if all of them are errors. */
export function failureOf(outcomes: readonly Outcome[]): EventLogError | undefined {
  const errors: EventLogError[] = [];
  for (const outcome of outcomes) {
    if (outcome.ok) return undefined;
    errors.push(outcome.error);
  }
  return worst(errors);
}

/** Chooses the most important error: an unknown outcome comes before all others, and a cause before its effects. */
export function worst(errors: readonly EventLogError[]): EventLogError {
  const found =
    errors.find((error) => error.outcome === 'unknown') ??
    errors.find((error) => error.code !== 'atomic_append_refused') ??
    errors[0];
  return found ?? new EventLogError('internal', 'A request was left without an outcome.');
}
