import { spawn } from 'node:child_process';

export interface RunCommandOptions {
  readonly env?: NodeJS.ProcessEnv;
  /** Default: that of this process. */
  readonly cwd?: string;
  /** Of its output in the error if it fails. Default 40. */
  readonly outputLinesMax?: number;
}

const OUTPUT_LINES_MAX = 40;

/** Runs a command without input and resolves with all it wrote. Rejects, with its last lines, when it fails or isn't there. */
export function runCommand(
  command: string,
  parameters: readonly string[],
  options: RunCommandOptions = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, parameters, {
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(options.env === undefined ? {} : { env: options.env }),
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8');
      stream.on('data', (text: string) => {
        output += text;
      });
    }
    child.on('error', reject);
    child.on('close', (code, signal) => {
      if (code === 0) return resolve(output);
      const last = output
        .trimEnd()
        .split('\n')
        .slice(-(options.outputLinesMax ?? OUTPUT_LINES_MAX))
        .join('\n');
      reject(new Error(`${command} ${parameters.join(' ')} ended with ${signal ?? code}:\n${last}`));
    });
  });
}
