import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FUNCTION_NAMES } from '../../../infra/constructs/bundle.ts';
import { JOB_NAMES } from '../../../infra/constructs/jobs/jobs.ts';
import { BUNDLE_ENVIRONMENT, type Bundle, type Bundles, importBundle, makeBundles } from '../../support/bundles.ts';
import { functionUrlEvent, lambdaContext } from '../../support/lambda-events.ts';

/** 150 KB of these are RE2, for patterns of topics, which is not run before the first pattern. */
const BYTES_MAX = 1_400_000;
const isJob = (name: string): boolean => name === 'lag' || JOB_NAMES.some((job) => job === name);

let bundles: Bundles;
beforeAll(() => {
  bundles = makeBundles();
});
afterAll(() => bundles.close());

describe.each(FUNCTION_NAMES)('the bundle of %s', (name) => {
  let bundle: Bundle;
  beforeAll(() => {
    bundle = bundles.all.find((each) => each.name === name) as Bundle;
  });

  it('is under 1.4 MB, in one file and without a source map', () => {
    expect(bundle.bytes).toBeLessThan(BYTES_MAX);
    expect(readFileSync(bundle.path, 'utf8')).not.toContain('sourceMappingURL=');
  });

  it('is imported by plain Node, with its environment, and reaches for nothing', async () => {
    const { names, calls } = await importBundle(bundle);
    expect(names).toEqual(isJob(name) ? ['handler'] : ['handler', 'streamHandler']);
    expect(calls).toEqual([]);
  });

  it('names what its environment lacks', async () => {
    const { TAILRACE_BUCKET: _, ...lacking } = BUNDLE_ENVIRONMENT;
    await expect(importBundle(bundle, lacking)).rejects.toThrow(/TAILRACE_BUCKET/);
  });

  // Jobs answer nobody.
  if (isJob(name)) return;

  it('answers', async () => {
    Object.assign(process.env, BUNDLE_ENVIRONMENT);
    const { handler } = await import(/* @vite-ignore */ pathToFileURL(bundle.path).href);
    const { statusCode, body } = await handler(functionUrlEvent({ path: '/v1/health' }), lambdaContext());
    const { version } = JSON.parse(readFileSync('package.json', 'utf8'));
    expect([statusCode, JSON.parse(body)]).toEqual([200, { status: 'ok', version }]);
  });
});
