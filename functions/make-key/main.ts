import { parseArgs } from 'node:util';
import { openEventLog } from '../../shared/aws/index.ts';
import { ALL_SCOPES } from '../../shared/log/scopes.ts';

/**
 * `npm run make-key`: makes the first API key of a deployment. The user needs write access to the deployment's table.
 * The key is written to standard output once, and is the only output there.
 */

const USAGE = `Usage: npm run --silent make-key -- --table NAME --bucket NAME [--name NAME]

Table and bucket are printed by \`npm run deploy\`. The key may do everything; use it to make others: POST /v1/api-keys.
`;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { table: { type: 'string' }, bucket: { type: 'string' }, name: { type: 'string', default: 'admin' } },
  });
  const { table, bucket, name } = values;
  if (table === undefined || bucket === undefined) throw new Error(`--table and --bucket are needed.\n\n${USAGE}`);
  const log = await openEventLog({ tableName: table, bucketName: bucket });
  const { key } = await log.createApiKey({ name, scopes: ALL_SCOPES });
  process.stdout.write(`${key}\n`);
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
