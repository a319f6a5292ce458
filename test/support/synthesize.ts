import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { App, Stack } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import { afterAll, vi } from 'vitest';
import { EventLog, type EventLogProps } from '../../infra/constructs/event-log.ts';
import { makeApp } from '../../infra/stacks/make-app.ts';

// The first app of each file loads the CDK and prepares its rules.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const folders: string[] = [];
afterAll(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

/** A folder for an app's output, which is removed after the test. */
export function outFolder(): string {
  const outdir = mkdtempSync(join(tmpdir(), 'tailrace-cdk-'));
  folders.push(outdir);
  return outdir;
}

/** The options of the command line that make Kafka gateways. */
export const KAFKA_CONTEXT = {
  kafkaGateway: 'true',
  kafkaHostName: 'kafka.example.com',
  kafkaCertificateArn: 'arn:aws:acm:eu-central-1:123456789012:certificate/01234567-89ab-cdef-0123-456789abcdef',
} as const;

/** The app as the command line makes it, except for the bundles, which take seconds and change no template. */
export function testApp(context: Readonly<Record<string, string>> = {}): ReturnType<typeof makeApp> {
  const { context: flags } = JSON.parse(readFileSync(new URL('../../cdk.json', import.meta.url), 'utf8'));
  return makeApp({
    outdir: outFolder(),
    context: { ...flags, 'aws:cdk:bundling-stacks': [], ...context },
  });
}

export function testTemplates(context: Readonly<Record<string, string>> = {}) {
  const { stateful, stateless } = testApp(context);
  return { stateful: Template.fromStack(stateful), stateless: Template.fromStack(stateless) };
}

/** The construct in its own stack, in which `props` can make what it needs. */
export function eventLog(props: EventLogProps | ((stack: Stack) => EventLogProps) = {}): {
  stack: Stack;
  log: EventLog;
  template(): Template;
} {
  const app = new App({
    outdir: outFolder(),
    context: { 'aws:cdk:bundling-stacks': [], '@aws-cdk/aws-iam:minimizePolicies': true },
  });
  const stack = new Stack(app, 'Own');
  const log = new EventLog(stack, 'Log', typeof props === 'function' ? props(stack) : props);
  return { stack, log, template: () => Template.fromStack(stack) };
}

export interface Resource {
  readonly Type: string;
  readonly Properties: Readonly<Record<string, unknown>>;
  readonly DeletionPolicy?: string;
  readonly UpdateReplacePolicy?: string;
}

/** @throws Error if there are no resources: a test that checks each of them would otherwise pass. */
export function resourcesOf(template: Template, type: string): Record<string, Resource> {
  const resources = template.findResources(type) as Record<string, Resource>;
  if (Object.keys(resources).length === 0) throw new Error(`The template has no ${type}.`);
  return resources;
}

export interface Statement {
  readonly Effect: string;
  readonly Action: string | readonly string[];
  readonly Resource: unknown;
  readonly Condition?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
}

/** The statements of all policies of the role whose logical id contains `role`. */
export function statementsOf(template: Template, role: string): Statement[] {
  return Object.values(resourcesOf(template, 'AWS::IAM::Policy'))
    .filter(({ Properties }) => JSON.stringify(Properties.Roles).includes(role))
    .flatMap(({ Properties }) => (Properties.PolicyDocument as { Statement: Statement[] }).Statement);
}

export function list<T>(value: T | readonly T[]): T[] {
  return Array.isArray(value) ? [...value] : [value as T];
}
