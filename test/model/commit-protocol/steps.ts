import { outcomeInWords } from './outcomes.ts';
import type { Commit, Log, Planner } from './planner.ts';
import type { Batch } from './scenarios.ts';
import type { State } from './state.ts';

/** Kinds of steps. A step is a number of a kind and two operands of a byte each. */
export const STEP = {
  gather: 0,
  writeData: 1,
  plan: 2,
  planAfresh: 3,
  reply: 4,
  commitAfresh: 5,
  writerCrash: 6,
  commitUnheard: 7,
  moverStart: 8,
  putReply: 9,
  moveReply: 10,
  moverCrash: 11,
  putUnheard: 12,
  moveUnheard: 13,
  close: 14,
  giveUp: 15,
} as const;

export function stepOf(kind: number, a: number, b: number): number {
  return (kind << 16) | (a << 8) | b;
}

/** A job is named by a batch and a number of its attempt. */
export const ATTEMPTS_MAX = 8;
/** Attempts from here on are data written anew within the same job, which only flaws do. */
export const FRESH_ATTEMPTS = 4;

export function jobOf(batch: number, attempt: number): number {
  return batch * ATTEMPTS_MAX + attempt;
}

/** Tells of steps in words. */
export class Narrator {
  private readonly batches: readonly Batch[];
  private readonly planner: Planner;

  constructor(batches: readonly Batch[], planner: Planner) {
    this.batches = batches;
    this.planner = planner;
  }

  tell(before: State, step: number, after: State): string {
    const what = this.stepInWords(before, step >> 16, (step >> 8) & 255, step & 255, after);
    const answers = this.batches.flatMap(({ name }, batch) => {
      const outcome = after.outcome(batch);
      return outcome === before.outcome(batch) ? [] : [`${name} ${outcomeInWords(outcome)}`];
    });
    const headChanged = before.log !== after.log || before.firstEntry !== after.firstEntry;
    return [what, ...answers, ...(headChanged ? [this.head(after)] : [])].join('; ');
  }

  private stepInWords(before: State, kind: number, a: number, b: number, after: State): string {
    const node = `node ${a} (${b} entries)`;
    switch (kind) {
      case STEP.gather:
        return `a writer takes up ${this.jobName(a)}`;
      case STEP.writeData:
        return `the data of ${this.jobName(a)} is written`;
      case STEP.plan:
        return `${this.jobName(a)} is planned as of sequence ${b}`;
      case STEP.planAfresh:
        return `${this.jobName(a)} is planned as of a fresh look at the head`;
      case STEP.reply:
        return `the commit of ${this.jobName(a)} is ${before.log === after.log ? 'refused' : 'applied'} and answered`;
      case STEP.commitAfresh:
        return `the writer of ${this.jobName(a)} commits a fresh entry`;
      case STEP.writerCrash:
        return `the writer of ${this.jobName(a)} dies`;
      case STEP.giveUp:
        return `the commit of ${this.jobName(a)} is refused, and its writer gives up`;
      case STEP.commitUnheard:
        return `the commit of ${this.entryName(this.planner.commits[a] as Commit)}, observed ${b}, is applied unheard`;
      case STEP.moverStart:
        return `a mover begins with ${node}`;
      case STEP.putReply:
        return `a mover has put ${node}`;
      case STEP.moveReply:
        return `a mover's update of the head for ${node} is ${before.firstEntry === after.firstEntry ? 'refused' : 'applied'}`;
      case STEP.moverCrash:
        return `the mover of ${node} dies`;
      case STEP.putUnheard:
        return `${node} is put unheard`;
      case STEP.moveUnheard:
        return `the head lets go of ${node} unheard`;
      default:
        return 'the head is closed';
    }
  }

  visible(state: State): string {
    const answers = this.batches.map(({ name }, batch) => `${name} ${outcomeInWords(state.outcome(batch))}`);
    return [this.head(state), state.closed > 0 ? 'closed' : 'open', ...answers].join('; ');
  }

  private head(state: State): string {
    const { commits } = this.planner.logs[state.log] as Log;
    const names = commits.map((commit) => this.entryName(commit));
    return `[${[...names.slice(0, state.firstEntry), '|', ...names.slice(state.firstEntry)].join(' ')}]`;
  }

  private entryName({ appends, data, shutsOut }: Commit): string {
    if (shutsOut !== undefined) return `no more ${this.batches[shutsOut]?.name}${attemptInWords(data.attempt)}`;
    const names = appends.map(({ batch }) => this.batches[batch]?.name);
    return `${names.join('+')}${attemptInWords(data.attempt)}`;
  }

  private jobName(job: number): string {
    return `${this.batches[Math.floor(job / ATTEMPTS_MAX)]?.name}${attemptInWords(job % ATTEMPTS_MAX)}`;
  }
}

function attemptInWords(attempt: number): string {
  return `#${(attempt % FRESH_ATTEMPTS) + 1}${attempt < FRESH_ATTEMPTS ? '' : ' afresh'}`;
}
