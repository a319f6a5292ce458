import { Reference, Stack, Tokenization, Validations } from 'aws-cdk-lib';
import type { IConstruct } from 'constructs';

/** Accepts findings of cdk-nag on a construct and everything in it. `reasons`: rule -> why the rule does not apply here. */
export function acknowledge(construct: IConstruct, reasons: Readonly<Record<string, string>>): void {
  for (const [id, reason] of Object.entries(reasons)) Validations.of(construct).acknowledge({ id, reason });
}

/** The name of a resource in cdk-nag's findings: the logical id, or the export of the stack that contains the resource. */
export function nameInFindings(scope: IConstruct, arn: string): string {
  const [reference] = Tokenization.reverseString(arn).tokens;
  if (Reference.isReference(reference)) {
    const owner = Stack.of(reference.target);
    // This is the same export that the reference itself would make.
    if (owner !== Stack.of(scope)) return flatten(Stack.of(scope).resolve(owner.exportValue(arn)));
  }
  return flatten(Stack.of(scope).resolve(arn));
}

function flatten(value: unknown): string {
  if (typeof value === 'string') return value;
  const [[name, argument]] = Object.entries(value as Record<string, unknown>) as [[string, unknown]];
  if (name === 'Ref') return `<${String(argument)}>`;
  if (name === 'Fn::GetAtt') return `<${(argument as string[]).join('.')}>`;
  if (name === 'Fn::ImportValue') return flatten(argument);
  if (name === 'Fn::Join') {
    const [separator, parts] = argument as [string, unknown[]];
    return parts.map(flatten).join(separator);
  }
  return JSON.stringify(value);
}
