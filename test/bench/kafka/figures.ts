/** What Kafka's performance tools print, as figures. */
export interface Figures {
  readonly perSecond?: number;
  readonly p50Ms?: number;
  readonly p99Ms?: number;
}

/** `50000 records sent, 1234.5 records/sec (1.21 MB/sec), … 3 ms 50th, 10 ms 95th, 15 ms 99th, …`: its last line. */
export function producerFigures(output: string): Figures {
  const line = output.split('\n').findLast((each) => each.includes('99th')) ?? '';
  return {
    perSecond: numberIn(line, /([\d.]+) records\/sec/),
    p50Ms: numberIn(line, /([\d.]+) ms 50th/),
    p99Ms: numberIn(line, /([\d.]+) ms 99th/),
  };
}

/** A header of names and a line of values, both with commas. */
export function consumerFigures(output: string): Figures {
  const lines = output.split('\n');
  const header = lines.findIndex((line) => line.startsWith('start.time'));
  const names = (lines[header] ?? '').split(',').map((name) => name.trim());
  const value = (lines[header + 1] ?? '').split(',')[names.indexOf('fetch.nMsg.sec')];
  if (header < 0 || value === undefined) throw new Error(`The consumer's figures are missing:\n${output}`);
  return { perSecond: Number(value) };
}

/** `Percentiles: 50th = 1, 99th = 4, 99.9th = 8`. */
export function latencyFigures(output: string): Figures {
  return { p50Ms: numberIn(output, /50th = ([\d.]+)/), p99Ms: numberIn(output, /99th = ([\d.]+)/) };
}

function numberIn(text: string, pattern: RegExp): number {
  const found = pattern.exec(text)?.[1];
  if (found === undefined) throw new Error(`${pattern} is not in what the tool printed:\n${text}`);
  return Number(found);
}

/** Of each figure by itself. */
export function median(rounds: readonly Figures[]): Figures {
  const middle = (name: keyof Figures): Figures => {
    const values = rounds.flatMap((round) => round[name] ?? []).sort((a, b) => a - b);
    const value = values[Math.floor(values.length / 2)];
    return value === undefined ? {} : { [name]: value };
  };
  return { ...middle('perSecond'), ...middle('p50Ms'), ...middle('p99Ms') };
}
