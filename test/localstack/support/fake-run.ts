/** A test run that starts a fake emulator, says where, and never stops it. */
import { startFakeEmulator } from './start-fake-emulator.ts';

const { endpoint, folder } = await startFakeEmulator();
console.log(JSON.stringify({ endpoint, folder }));
