import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type EmulatorOptions, type KeptServer, startKeptServer } from '../../localstack/emulator.ts';
import { propertiesText } from './properties-text.ts';

/** The tests and the server come first: programs that wait for each other need no more than what is left. */
const NICE = ['nice', '-n', '5'] as const;

export interface Program {
  /** In messages. */
  readonly name: string;
  /** The command of Java, to be followed by the main class. */
  readonly command: readonly string[];
  readonly main: string;
  /** What its properties file says. It has a port, and a folder that is removed when it ends. */
  readonly properties: (port: number, folder: string) => Readonly<Record<string, string>>;
  readonly isReady: (port: number) => Promise<boolean>;
}

/** Starts a program of Apache Kafka that reads a properties file, and waits until it is ready. */
export function startProgram(program: Program, options: EmulatorOptions = {}): Promise<KeptServer> {
  const [nice, ...niceness] = NICE;
  return startKeptServer(
    program.name,
    async ({ port, folder }) => {
      const file = join(folder, `${program.name}.properties`);
      await writeFile(file, propertiesText(program.properties(port, folder)));
      return {
        command: nice,
        parameters: [...niceness, ...program.command, program.main, file],
        environment: { HOME: folder },
      };
    },
    program.isReady,
    options,
  );
}
