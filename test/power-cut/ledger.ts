import { EventLogError } from '../../shared/log/errors.ts';

/** One put of bytes that no other put has, unless it has none. */
export interface Attempt {
  readonly key: string;
  readonly content: Uint8Array;
  result: 'unknown' | 'created' | 'exists' | 'not_applied';
}

/** What was promised of the objects so far, over all processes and power cuts of a run, and where that was broken. */
export class Ledger {
  readonly violations: string[] = [];
  private readonly attempts = new Map<string, Attempt[]>();

  begin(key: string, content: Uint8Array): Attempt {
    const attempt: Attempt = { key, content, result: 'unknown' };
    this.attempts.set(key, [...this.of(key), attempt]);
    return attempt;
  }

  /** Fails for anything but an `EventLogError` that says what became of the put. */
  failed(attempt: Attempt, error: unknown): void {
    if (!(error instanceof EventLogError)) throw error;
    if (error.outcome === 'not_applied') attempt.result = 'not_applied';
  }

  /** Takes down what a put was answered, or what was found under a key. */
  answered(attempt: Attempt, result: 'created' | 'exists'): void {
    attempt.result = result;
    if (result === 'created' && this.of(attempt.key).filter((each) => each.result === 'created').length > 1)
      this.broken(`${attempt.key} was created twice.`);
  }

  /** Holds what a key has against all that was tried under it: it may be the content of any of them, but whole. */
  check(key: string, found: Uint8Array | undefined, where: string): void {
    const attempts = this.of(key);
    const acknowledged = attempts.some(({ result }) => result === 'created' || result === 'exists');
    if (found === undefined) {
      if (acknowledged) this.broken(`${key} is acknowledged and gone, ${where}.`);
      return;
    }
    const created = attempts.find(({ result }) => result === 'created');
    const possible = created === undefined ? attempts.filter(({ result }) => result !== 'not_applied') : [created];
    if (!possible.some(({ content }) => Buffer.compare(content, found) === 0))
      this.broken(`${key} has ${found.length} bytes that it should not have, ${where}.`);
  }

  /** Holds against each other what was read, and what was acknowledged before the read began. */
  expectation(key: string): (found: Uint8Array | undefined) => void {
    const acknowledged = this.of(key).some(({ result }) => result === 'created' || result === 'exists');
    return (found) => {
      if (found !== undefined || acknowledged) this.check(key, found, 'while the process runs');
    };
  }

  get keys(): string[] {
    return [...this.attempts.keys()];
  }

  broken(message: string): void {
    this.violations.push(message);
  }

  private of(key: string): readonly Attempt[] {
    return this.attempts.get(key) ?? [];
  }
}
