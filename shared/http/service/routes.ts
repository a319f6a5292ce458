import { PRICES } from '../../broker/usage/prices.ts';
import { addCounts, dollars, noRequests } from '../../broker/usage/request-counts.ts';
import { ERROR_CODES, EventLogError } from '../../log/errors.ts';
import { allowsGroup } from '../../log/scopes.ts';
import { PROBLEMS } from '../answer/problem.ts';
import { json, text } from '../answer/respond.ts';
import { MEDIA } from '../contract.ts';
import type { Handlers, HttpContext } from '../handler.ts';
import { chooseMediaType } from '../request/media-type.ts';
import type { ErrorOutput, HealthOutput, RootOutput, UsageOutput } from './contract.ts';
import { EXPOSITION_TYPE, exposition } from './exposition.ts';
import { metricFamilies } from './metrics.ts';
import type { serviceOperations } from './operations.ts';

const USAGE_NOTE =
  'Counted storage requests of this process since it started, at list prices. Compute, stored bytes and transfer out of the Region are not included.';

/** Makes the handlers. `makeDocument` makes the OpenAPI document when it is first requested. */
export function serviceHandlers(
  { broker, clock, settings, processMetrics }: HttpContext,
  makeDocument: () => string,
): Handlers<typeof serviceOperations> {
  let document: string | undefined;
  return {
    getUsage(call) {
      const { by = 'topic' } = call.query;
      const total = noRequests();
      const groups = new Map<string, ReturnType<typeof noRequests>>();
      for (const row of broker.usage()) {
        const group = groups.get(row[by]) ?? noRequests();
        groups.set(row[by], group);
        addCounts(group, row.counts);
        addCounts(total, row.counts);
      }
      const output: UsageOutput = {
        by,
        rows: [...groups].map(([name, counts]) => ({ [by]: name, counts, dollars: dollars(counts) })),
        total: { counts: total, dollars: dollars(total) },
        prices: { asOf: PRICES.asOf, region: PRICES.region, currency: PRICES.currency },
        note: USAGE_NOTE,
      };
      return json(call, 200, output);
    },

    getMetrics(call) {
      if (processMetrics === undefined) throw new EventLogError('internal', 'The process tells no metrics.');
      const told = processMetrics();
      // The right that the route needs is one on topics: it says nothing of groups.
      const groupLags = told.groupLags.filter(({ group }) => allowsGroup(call.principal.scopes, 'any', group));
      const families = metricFamilies(broker, { ...told, groupLags }, settings.version, clock.nowMs());
      return text(call, 200, exposition(families), { 'Content-Type': EXPOSITION_TYPE });
    },

    getHealth(call) {
      const output: HealthOutput = { status: 'ok', version: settings.version };
      return json(call, 200, output);
    },

    getError(call) {
      const { code } = call.params;
      const page: ErrorOutput = { code, ...PROBLEMS[code], ...ERROR_CODES[code] };
      const type = chooseMediaType(call.request.headers.get('accept'), [MEDIA.json, MEDIA.html]);
      if (type === MEDIA.json) return json(call, 200, page);
      return text(call, 200, errorPage(page), { 'Content-Type': `${MEDIA.html}; charset=utf-8` });
    },

    getOpenApi(call) {
      document ??= makeDocument();
      return text(call, 200, document, { 'Content-Type': MEDIA.json });
    },

    getRoot(call) {
      const output: RootOutput = {
        name: 'tailrace',
        version: settings.version,
        openapi: '/openapi.json',
        health: '/v1/health',
        errors: '/errors/',
      };
      return json(call, 200, output);
    },
  };
}

/** The page for a browser. Nothing in it comes from the request: the code is one of a closed list. */
function errorPage({ code, status, title, meaning, retry, outcome }: ErrorOutput): string {
  const sentence = meaning.replaceAll(/`([^`]*)`/g, '<code>$1</code>');
  return (
    `<!doctype html><html lang="en"><meta charset="utf-8"><title>${title}</title><h1>${title}</h1><p>${sentence}</p>` +
    `<dl><dt>code<dd><code>${code}</code><dt>status<dd>${status}<dt>retry<dd><code>${retry}</code>` +
    `<dt>outcome, unless the problem says otherwise<dd><code>${outcome}</code></dl></html>\n`
  );
}
