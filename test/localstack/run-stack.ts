import { once } from 'node:events';
import { deployStack } from './deploy-stack.ts';
import { startLocalStack } from './start-localstack.ts';

/** `npm run localstack`: the whole stack, deployed on LocalStack on this machine, until Ctrl-C. */

const PORT = 4_566;

async function main(): Promise<void> {
  const say = (line: string): boolean => process.stdout.write(`${line}\n`);
  say('Starting LocalStack (the first time it is installed, which takes a minute or more) …');
  const emulator = await startLocalStack({ port: PORT });
  try {
    say(`LocalStack answers at ${emulator.endpoint}. Deploying both stacks with the CDK …`);
    const stack = await deployStack(emulator, ['auth=none'], (line) => process.stdout.write(`  ${line}\n`));
    const { host } = new URL(stack.apiUrl);
    say(`
Tailrace is deployed on LocalStack.

  API      ${stack.apiUrl}
  Append   ${stack.produceUrl}
  Table    ${stack.tableName}
  Bucket   ${stack.bucketName}

The host names end in localhost; where they don't resolve, send them as Host:

  curl -X PUT -H 'host: ${host}' ${emulator.endpoint}/v1/topics/hello
  curl -H 'host: ${host}' '${emulator.endpoint}/v1/topics/hello?key=you' -H 'content-type: text/plain' -d 'hi'
  curl -H 'host: ${host}' ${emulator.endpoint}/v1/topics/hello/partitions/0/records

Requests to this deployment need no signature (auth=none); on AWS they do unless you say otherwise. Ctrl-C ends it.`);
    await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM'), emulator.ended]);
  } finally {
    await emulator.stop();
  }
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
