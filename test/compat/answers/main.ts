/**
 *     node test/compat/answers/main.ts [--server kafka | tailrace | host:port] [--update]
 *
 * Asks a new server what `npm test` asks Tailrace, and prints what differs from the recorded answers of Apache Kafka;
 * `--update` records them.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { startServer } from '../server/start-server.ts';
import { type Answers, collectAnswers } from './collect.ts';

const RECORDED = new URL('./kafka.json', import.meta.url);
const { values: options } = parseArgs({
  options: { server: { type: 'string', default: 'kafka' }, update: { type: 'boolean', default: false } },
});

const server = await startServer(options.server);
try {
  const answers = await collectAnswers(server.bootstrap);
  if (options.update) {
    const lines = Object.entries(answers).map(
      ([name, answer]) => `  ${JSON.stringify(name)}: ${JSON.stringify(answer)}`,
    );
    await writeFile(RECORDED, `{\n${lines.join(',\n')}\n}\n`);
  } else {
    const recorded = JSON.parse(await readFile(RECORDED, 'utf8')) as Answers;
    for (const [name, answer] of Object.entries(answers)) {
      const [is, was] = [JSON.stringify(answer), JSON.stringify(recorded[name])];
      if (is !== was) console.log(`${name}\n  recorded ${was}\n  answered ${is}`);
    }
  }
} finally {
  await server.stop();
}
