import { type SuiteOptions, suite } from '../suite.ts';
import { appendCases } from './append-cases.ts';
import { Client, type HttpTarget } from './client.ts';
import { groupCases } from './group-cases.ts';
import { readCases } from './read-cases.ts';
import { requestCases } from './request-cases.ts';
import { tailCases } from './tail-cases.ts';
import { topicCases } from './topic-cases.ts';

/** The HTTP API as clients see it, over any server of it. */
export function httpSuite(name: string, make: () => Promise<HttpTarget>, options: SuiteOptions = {}): void {
  const makeClient = async () => {
    const target = await make();
    return { store: new Client(target), close: () => target.close() };
  };
  suite(name, makeClient, options, (test) => {
    topicCases(test);
    appendCases(test);
    readCases(test);
    tailCases(test);
    groupCases(test);
    requestCases(test);
  });
}
