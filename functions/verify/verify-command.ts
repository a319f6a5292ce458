import { parseArgs } from 'node:util';
import type { PartitionReport, Problem } from '../../shared/broker/verify/report.ts';
import { logAtUrl, logInFolder, logOnAws, messageOf, type VerifiedLog, WrongUse } from './verified-log.ts';

const USAGE = `Usage: npm run --silent verify -- LOG [options]

Checks that nothing is lost or damaged: everything that is named must be stored whole, without gaps. Changes nothing.

LOG is one of
  --url URL                    a running server; the key of TAILRACE_KEY needs the right 'admin'
  --data-folder PATH           a data folder that no process has open
  --table NAME --bucket NAME   on AWS, with the credentials of the environment

Options
  --topic NAME                 only this topic; can be repeated. Default: all topics
  --deep                       also decompress and decode every record
  --help                       print this text, and exit

Exits with 0 if nothing is wrong, with 1 if there are problems or it could not finish, and with 2 if used wrongly.
`;

const OK = 0;
const PROBLEMS = 1;
const WRONG_USE = 2;

export interface Output {
  out(text: string): void;
  error(text: string): void;
}

interface Found {
  topics: number;
  partitions: number;
  records: number;
  bytes: number;
  problems: number;
  orphans: number;
}

/** Runs `npm run verify` and returns its exit code. */
export async function verifyCommand(
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
  output: Output,
): Promise<number> {
  let log: VerifiedLog | undefined;
  try {
    const options = readOptions(args);
    if (options === undefined) {
      output.out(USAGE);
      return OK;
    }
    log = await openLog(options, environment.TAILRACE_KEY || undefined);
    const found: Found = { topics: 0, partitions: 0, records: 0, bytes: 0, problems: 0, orphans: 0 };
    for await (const topic of topicsOf(log, options.topic)) await verifyOne(log, topic, options.deep, found, output);
    output.out(summary(found));
    return found.problems === 0 ? OK : PROBLEMS;
  } catch (error) {
    const isUse = error instanceof WrongUse;
    output.error(`${messageOf(error)}\n${isUse ? 'To see all options: npm run --silent verify -- --help\n' : ''}`);
    return isUse ? WRONG_USE : PROBLEMS;
  } finally {
    await log?.close();
  }
}

function readOptions(args: readonly string[]) {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        url: { type: 'string' },
        'data-folder': { type: 'string' },
        table: { type: 'string' },
        bucket: { type: 'string' },
        topic: { type: 'string', multiple: true },
        deep: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
    return values.help ? undefined : values;
  } catch (error) {
    throw new WrongUse(messageOf(error).split(/\n|\. /, 1)[0]);
  }
}

type Options = NonNullable<ReturnType<typeof readOptions>>;

async function openLog(options: Options, key: string | undefined): Promise<VerifiedLog> {
  const { url, 'data-folder': folder, table, bucket } = options;
  const isOnAws = table !== undefined || bucket !== undefined;
  if (Number(url !== undefined) + Number(folder !== undefined) + Number(isOnAws) !== 1)
    throw new WrongUse('Give one log: --url, --data-folder, or --table and --bucket.');
  if (url !== undefined) return logAtUrl(url, key);
  if (folder !== undefined) return logInFolder(folder);
  if (table === undefined || bucket === undefined) throw new WrongUse('--table and --bucket are needed together.');
  return logOnAws(table, bucket);
}

async function* topicsOf(log: VerifiedLog, given: readonly string[] | undefined): AsyncGenerator<string> {
  if (given !== undefined) {
    yield* given;
    return;
  }
  let pageToken: string | undefined;
  do {
    const page = await log.topics(pageToken);
    for (const { name } of page.items) yield name;
    pageToken = page.nextPageToken;
  } while (pageToken !== undefined);
}

async function verifyOne(log: VerifiedLog, topic: string, deep: boolean, found: Found, output: Output): Promise<void> {
  output.out(`${topic}\n${row(HEADINGS)}`);
  found.topics++;
  let pageToken: string | undefined;
  do {
    const page = await log.verify(topic, { pageToken, deep });
    for (const problem of page.problems) {
      if (problem.kind === 'orphan') found.orphans++;
      else found.problems++;
      output.out(problemText(problem));
    }
    for (const partition of page.partitions) {
      found.partitions++;
      found.records += partition.records;
      found.bytes += partition.bytes;
      output.out(row(cellsOf(partition)));
    }
    pageToken = page.nextPageToken;
  } while (pageToken !== undefined);
}

const HEADINGS = [
  'partition',
  'from',
  'to',
  'records',
  'batches',
  'bytes',
  'segments',
  'unmerged',
  'tail',
  'set hash',
  'problems',
];
const WIDTHS = [9, 12, 12, 12, 10, 14, 8, 8, 5, 16, 8];

function cellsOf(partition: PartitionReport): readonly (string | number)[] {
  return [
    partition.partition,
    partition.logStartOffset,
    partition.highWatermark,
    partition.records,
    partition.batches,
    partition.bytes,
    partition.segments,
    partition.unmergedParts,
    partition.tailParts,
    partition.setHash,
    partition.problems,
  ];
}

function row(cells: readonly (string | number)[]): string {
  return `  ${cells.map((cell, i) => String(cell).padStart(WIDTHS[i] ?? 0)).join(' ')}\n`;
}

function problemText({ kind, headNumber, partition, storedAs, position, offset, message }: Problem): string {
  const place = [
    partition === undefined ? `head ${headNumber}` : `partition ${partition}`,
    ...(offset === undefined ? [] : [`offset ${offset}`]),
    ...(storedAs === undefined ? [] : [storedAs]),
    ...(position === undefined ? [] : [`position ${position}`]),
  ];
  return `  ! ${kind}: ${message}\n    ${place.join(', ')}\n`;
}

function summary({ topics, partitions, records, bytes, problems, orphans }: Found): string {
  const what = `${count(topics, 'topic')}, ${count(partitions, 'partition')}, ${count(records, 'record')}, ${count(bytes, 'byte')}`;
  const left = orphans === 0 ? '' : ` ${count(orphans, 'orphan')}: nothing is lost.`;
  return `\n${what}: ${problems === 0 ? 'no problem' : count(problems, 'problem')}.${left}\n`;
}

function count(number: number, what: string): string {
  return `${number.toLocaleString('en')} ${what}${number === 1 ? '' : 's'}`;
}
