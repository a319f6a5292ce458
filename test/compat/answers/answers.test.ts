import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTailrace, type Tailrace } from '../../../shared/local/index.ts';
import { type Answers, collectAnswers } from './collect.ts';
import { DIFFERENCES } from './differences.ts';

/**
 * Requests with something wrong get what Apache Kafka 4.3.1 was recorded to answer, but for the differences that are listed
 * with their reasons. `main.ts` records.
 */

const recorded = JSON.parse(await readFile(new URL('./kafka.json', import.meta.url), 'utf8')) as Answers;
let tailrace: Tailrace;
let answers: Answers;

beforeAll(async () => {
  tailrace = await startTailrace({ memory: true, kafka: {} });
  answers = await collectAnswers(String(tailrace.bootstrapServers));
});

afterAll(() => tailrace.close());

describe('an answer like that of Kafka', () => {
  it.each(Object.keys(recorded))('%s', (question) => {
    expect(answers[question]).toEqual(DIFFERENCES[question]?.answer ?? recorded[question]);
  });

  it('is given to every question', () => {
    expect(Object.keys(answers)).toEqual(Object.keys(recorded));
  });

  it('is no difference', () => {
    for (const [question, { answer }] of Object.entries(DIFFERENCES)) expect(answer).not.toEqual(recorded[question]);
  });
});
