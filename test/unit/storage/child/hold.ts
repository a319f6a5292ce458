/** Opens the data folder given, says `open` or the error, and holds it until it is killed or its input ends. */
import { EventLogError } from '../../../../shared/log/errors.ts';
import { openDataFolder } from '../../../../shared/storage/file/data-folder.ts';

try {
  const folder = await openDataFolder(process.argv[2]!);
  process.stdout.write('open\n');
  for await (const _ of process.stdin);
  await folder.close();
} catch (error) {
  if (!(error instanceof EventLogError)) throw error;
  process.stdout.write(`${JSON.stringify({ code: error.code, message: error.message, details: error.details })}\n`);
}
