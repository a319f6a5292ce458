/**
 * MiniStack, the light second emulator: it starts in half a second and needs Python alone. Unlike LocalStack it has
 * HTTP APIs and the EventBridge Scheduler, and deletes by TTL; a function that uses `awslambda` at load time fails in it.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Emulator, type EmulatorCommand, type EmulatorOptions, startEmulator } from './emulator.ts';
import { installMiniStack } from './install-ministack.ts';

/** Starts MiniStack on the loopback, after installing it if need be. See `startEmulator` for what it promises. */
export async function startMiniStack(options: EmulatorOptions = {}): Promise<Emulator> {
  const python = await installMiniStack();
  const prepare = async ({ port, folder }: { port: number; folder: string }): Promise<EmulatorCommand> => {
    const tmp = join(folder, 'tmp');
    await mkdir(tmp);
    return {
      command: python,
      parameters: ['-m', 'ministack'],
      environment: {
        HOME: folder,
        TMPDIR: tmp,
        STATE_DIR: join(folder, 'state'),
        S3_DATA_DIR: join(folder, 's3'),
        PYTHONUNBUFFERED: '1',
        BIND_HOST: '127.0.0.1',
        GATEWAY_PORT: String(port),
        MINISTACK_HOST: 'localhost',
        LAMBDA_EXECUTOR: 'local',
        LOG_LEVEL: 'WARNING',
        // These two would listen on every interface.
        IOT_MTLS_ENABLED: '0',
        SFTP_ENABLED: '0',
        // Presigned URLs are checked against these.
        AWS_ACCESS_KEY_ID: 'test',
        AWS_SECRET_ACCESS_KEY: 'test',
      },
    };
  };
  return startEmulator('ministack', prepare, options);
}
