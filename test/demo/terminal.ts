/** What the demo prints, also where the output is no terminal. */

export function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

export function count(value: number): string {
  return value.toLocaleString('en-US');
}

const WIDTH_DEFAULT = 80;

/** The number of characters of a line. */
export function lineWidth(): number {
  return process.stdout.columns ?? WIDTH_DEFAULT;
}

export class ProgressBar {
  done = 0;
  private readonly label: string;
  private readonly total: number;
  private readonly startedMs = performance.now();

  constructor(label: string, total: number) {
    this.label = label;
    this.total = total;
  }

  advance(by: number): void {
    this.done += by;
    if (!process.stdout.isTTY) return;
    const filled = Math.round((this.done / this.total) * 30);
    process.stdout.write(
      `\r${this.label.padEnd(10)} [${'#'.repeat(filled)}${' '.repeat(30 - filled)}] ${count(this.done)} of ${count(this.total)}`,
    );
  }

  finish(bytes: number): void {
    const seconds = (performance.now() - this.startedMs) / 1_000;
    if (process.stdout.isTTY) process.stdout.write('\n');
    const rate = `${count(Math.round(this.done / seconds))} records/s, ${(bytes / 1e6 / seconds).toFixed(1)} MB/s of JSON`;
    print(`${this.label.padEnd(10)} ${count(this.done)} records in ${seconds.toFixed(2)} s: ${rate}`);
  }
}
