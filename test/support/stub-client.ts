import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3';

/** A request as the adapter passes it to the SDK. */
export interface SentCommand {
  /** `GetItemCommand`, `PutObjectCommand`, … */
  readonly command: string;
  readonly input: Readonly<Record<string, unknown>>;
}

/** Returns the output of a command, or throws what the SDK throws. */
export type AnswerCommand = (sent: SentCommand) => Promise<object>;

const CONFIG = { region: 'us-east-1', maxAttempts: 1, credentials: { accessKeyId: 'a', secretAccessKey: 'b' } };

/** The SDK's own client, which sends nothing: `answer` replaces the network. */
export function stubDynamoClient(answer: AnswerCommand): DynamoDBClient {
  return stubbed(new DynamoDBClient(CONFIG), answer);
}

export function stubS3Client(answer: AnswerCommand, config: Partial<S3ClientConfig> = {}): S3Client {
  return stubbed(new S3Client({ ...CONFIG, ...config }), answer);
}

function stubbed<Client extends DynamoDBClient | S3Client>(client: Client, answer: AnswerCommand): Client {
  const add = client.middlewareStack.add.bind(client.middlewareStack) as unknown as (
    middleware: (
      next: unknown,
      context: { readonly commandName: string },
    ) => (args: { readonly input: SentCommand['input'] }) => Promise<object>,
    options: object,
  ) => void;
  // The stub comes after the signing step, so that a URL is signed as usual.
  add(
    (_next, { commandName }) =>
      async ({ input }) => ({
        response: { headers: {} },
        output: { $metadata: {}, ...(await answer({ command: commandName, input })) },
      }),
    { step: 'finalizeRequest', priority: 'low', name: 'stub' },
  );
  return client;
}

/** An error as the SDK throws it, identified by its name or by other properties. */
export function awsError(name: string, more: Readonly<Record<string, unknown>> = {}): Error {
  return Object.assign(new Error(`${name} by the test`), { name, ...more });
}
