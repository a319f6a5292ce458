import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { openEventLog } from '../../shared/aws/index.ts';
import { Broker } from '../../shared/broker/broker.ts';
import type { VerificationPage } from '../../shared/broker/verify/report.ts';
import { EventLogError } from '../../shared/log/errors.ts';
import { openDataFolder } from '../../shared/storage/file/data-folder.ts';
import { systemClock } from '../../shared/storage/system/clock.ts';
import { systemRandom } from '../../shared/storage/system/random.ts';

/** A log to verify, wherever it is. */
export interface VerifiedLog {
  topics(pageToken: string | undefined): Promise<{
    readonly items: readonly { readonly name: string }[];
    readonly nextPageToken?: string | undefined;
  }>;
  verify(
    topic: string,
    request: { readonly pageToken: string | undefined; readonly deep: boolean },
  ): Promise<VerificationPage>;
  close(): Promise<void>;
}

/** Said to the user as it is. */
export class WrongUse extends Error {
  override readonly name = 'WrongUse';
}

/** The log on S3 and DynamoDB, with the credentials of the environment. */
export async function logOnAws(tableName: string, bucketName: string): Promise<VerifiedLog> {
  const broker = await openEventLog({ tableName, bucketName });
  return logOf(broker, () => broker.close());
}

/** The log in a data folder that no process has open. */
export async function logInFolder(path: string): Promise<VerifiedLog> {
  // Opening makes a folder that is missing.
  if (!existsSync(join(path, 'items.sqlite'))) throw new WrongUse(`There is no log in the folder '${path}'.`);
  const folder = await openDataFolder(path);
  const broker = new Broker({ ...folder, clock: systemClock, random: systemRandom });
  return logOf(broker, async () => {
    await broker.close();
    await folder.close();
  });
}

function logOf(broker: Broker, close: () => Promise<void>): VerifiedLog {
  return {
    topics: (pageToken) => broker.listTopics({ pageToken }),
    verify: (topic, request) => broker.verifyTopic(topic, request),
    close,
  };
}

const TRIES = 5;
const WAIT_MS = 1_000;

/** The log of a running server; `key`: an API key or token with the right `admin`. */
export function logAtUrl(address: string, key: string | undefined): VerifiedLog {
  if (!/^https?:\/\//.test(address) || !URL.canParse(address))
    throw new WrongUse(`--url takes an address such as http://127.0.0.1:8080, not '${address}'.`);
  const base = address.replace(/\/+$/, '');
  const ask = async (path: string, query: Record<string, string | undefined>): Promise<unknown> => {
    const given = Object.entries(query).filter((pair): pair is [string, string] => pair[1] !== undefined);
    const url = `${base}${path}?${new URLSearchParams(given)}`;
    for (let tries = 1; ; tries++) {
      const answer = await fetch(url, { headers: key === undefined ? {} : { authorization: `Bearer ${key}` } });
      if (answer.ok) return answer.json();
      const text = await answer.text();
      if ((answer.status !== 429 && answer.status !== 503) || tries === TRIES) throw refusal(answer.status, text, key);
      await systemClock.sleep(WAIT_MS * tries);
    }
  };
  return {
    topics: (pageToken) => ask('/v1/topics', { pageToken }) as ReturnType<VerifiedLog['topics']>,
    verify: (topic, { pageToken, deep }) =>
      ask(`/v1/topics/${topic}/verification`, {
        pageToken,
        deep: String(deep),
      }) as Promise<VerificationPage>,
    close: async () => {},
  };
}

function refusal(status: number, text: string, key: string | undefined): Error {
  const hint = status === 401 && key === undefined ? ' Set TAILRACE_KEY to an API key.' : '';
  try {
    const { detail } = JSON.parse(text) as { readonly detail?: unknown };
    if (typeof detail === 'string') return new Error(`The server answered ${status}: ${detail}${hint}`);
  } catch {
    // What answered is not Tailrace, and its text may be a whole page.
  }
  return new Error(`The server answered ${status}.${hint}`);
}

/** The text for people of whatever went wrong. */
export function messageOf(error: unknown): string {
  if (error instanceof EventLogError || error instanceof WrongUse) return error.message;
  if (!(error instanceof Error)) return String(error);
  // `fetch` says only that it failed.
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;
}
