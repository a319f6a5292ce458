import type { Emulator, EmulatorOptions } from './emulator.ts';
import { startLocalStack } from './start-localstack.ts';
import { startMiniStack } from './start-ministack.ts';

/** MiniStack where `TAILRACE_EMULATOR=ministack` asks for it (`npm run test:ministack`), else LocalStack. */
export const EMULATOR_NAME = process.env.TAILRACE_EMULATOR === 'ministack' ? 'MiniStack' : 'LocalStack';

export function startChosenEmulator(options?: EmulatorOptions): Promise<Emulator> {
  return EMULATOR_NAME === 'MiniStack' ? startMiniStack(options) : startLocalStack(options);
}
