import { fileURLToPath } from 'node:url';
import { type Emulator, type EmulatorOptions, startEmulator } from '../emulator.ts';

const FAKE = fileURLToPath(new URL('./fake-emulator.ts', import.meta.url));

export function startFakeEmulator(options: EmulatorOptions & { crash?: boolean } = {}): Promise<Emulator> {
  const { crash, ...rest } = options;
  const prepare = ({ port, folder }: { port: number; folder: string }) => ({
    command: process.execPath,
    parameters: [FAKE, String(port), ...(crash ? ['crash'] : [])],
    environment: { HOME: folder },
  });
  return startEmulator('fake', prepare, rest);
}
