import { verifyCommand } from './verify-command.ts';

/** `npm run verify`. */
verifyCommand(process.argv.slice(2), process.env, {
  out: (text) => process.stdout.write(text),
  error: (text) => process.stderr.write(text),
}).then((exitCode) => {
  process.exitCode = exitCode;
});
