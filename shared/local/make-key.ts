import { Broker } from '../broker/broker.ts';
import { ALL_SCOPES } from '../log/scopes.ts';
import { openDataFolder } from '../storage/file/data-folder.ts';
import { systemClock } from '../storage/system/clock.ts';
import { systemRandom } from '../storage/system/random.ts';

/**
 * Makes an API key with all rights in a data folder that no process has open: the first one, with which others are made
 * over HTTP. Whoever may write to the folder may do everything anyway.
 * @throws EventLogError `data_folder_unusable`, `invalid_request` (the name)
 */
export async function makeKey(dataFolder: string, name: string): Promise<string> {
  const folder = await openDataFolder(dataFolder);
  try {
    const broker = new Broker({ ...folder, clock: systemClock, random: systemRandom });
    const { key } = await broker.createApiKey({ name, scopes: ALL_SCOPES });
    await broker.close();
    return key;
  } finally {
    await folder.close();
  }
}
