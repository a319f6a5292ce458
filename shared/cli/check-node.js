/**
 * Ends the process if this Node can't run Tailrace, and says what to do. The entry points import it before anything else.
 * It is plain JavaScript for Node 14 and later: an older Node fails while it loads the rest, because it knows neither
 * TypeScript nor `node:sqlite`, and its own message doesn't say that another version is needed.
 */

/**
 * @param {string} version such as `22.18.0`
 * @returns {string | undefined} what is wrong with it and what to do
 */
export function nodeProblem(version) {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  // As "engines" in package.json; a test compares the two.
  if (major >= 24 || (major === 22 && minor >= 18)) return undefined;
  return (
    `Tailrace needs Node 24 or later, or Node 22 from 22.18 on. This is Node ${version} (${process.execPath}).\n` +
    'Install Node 24 from https://nodejs.org or with a version manager, such as `nvm install 24`, and try again.\n'
  );
}

const problem = nodeProblem(process.versions.node);
if (problem !== undefined) {
  process.stderr.write(problem);
  process.exit(1);
}
