/**
 * Answers like an emulator, after starting a process that never ends by itself, as DynamoDB Local or a busy function.
 *
 *     node fake-emulator.ts <port> [crash]
 */
import { spawn } from 'node:child_process';
import { createServer } from 'node:http';

const [port, crash] = process.argv.slice(2);
spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' });
console.log('about to start');
if (crash) {
  console.error('no component plugins found');
  process.exit(3);
}
createServer((_request, response) => response.end(JSON.stringify(process.env))).listen(Number(port), '127.0.0.1');
