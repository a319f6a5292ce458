/**
 * A Node runtime over the Lambda Runtime API: loads the handler, then next, handler, response, for ever. It knows as much
 * as `nodejs24.x` does: handlers that return a value or a promise, and `awslambda.streamifyResponse`. Handlers with a
 * callback are gone from that runtime.
 */
import { existsSync, statSync } from 'node:fs';
import { Agent, type IncomingHttpHeaders, request } from 'node:http';
import { basename, dirname, resolve } from 'node:path';
import { PassThrough } from 'node:stream';
import { pathToFileURL } from 'node:url';

type BufferedHandler = (event: unknown, context: object) => unknown;
type StreamHandler = (event: unknown, stream: ResponseStream, context: object) => unknown;

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

const [host, port] = (process.env.AWS_LAMBDA_RUNTIME_API ?? '').split(':');
const agent = new Agent({ keepAlive: true });
const streamed = new WeakSet<object>();

class ResponseStream extends PassThrough {
  contentType = 'application/octet-stream';

  setContentType(type: string): void {
    this.contentType = type;
  }
}

function call(method: string, route: string, headers = {}, body?: string | ResponseStream): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request({ host, port, method, path: `/2018-06-01/runtime/${route}`, agent, headers }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) });
      });
    });
    sent.setNoDelay(true);
    sent.on('error', reject);
    if (typeof body === 'object') body.pipe(sent);
    else sent.end(body);
  });
}

function post(route: string, body: string): Promise<Answer> {
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
  return call('POST', route, headers, body);
}

function describe(error: unknown): string {
  const { name, message, stack } = error instanceof Error ? error : new Error(String(error));
  return JSON.stringify({ errorType: name, errorMessage: message, trace: (stack ?? '').split('\n') });
}

Object.assign(globalThis, {
  awslambda: {
    streamifyResponse(handler: StreamHandler): StreamHandler {
      streamed.add(handler);
      return handler;
    },
    HttpResponseStream: {
      from(stream: ResponseStream, prelude: unknown): ResponseStream {
        stream.setContentType('application/vnd.awslambda.http-integration-response');
        stream.write(JSON.stringify(prelude));
        stream.write(Buffer.alloc(8));
        return stream;
      },
    },
  },
});

class LoadError extends Error {
  constructor(name: string, message: string) {
    super(message);
    this.name = name;
  }
}

/** Finds `folder/file.exported`, and goes on into objects: `file.api.handler`. */
async function load(spec: string): Promise<BufferedHandler | StreamHandler> {
  const [file = '', ...names] = basename(spec).split('.');
  const base = resolve(process.env.LAMBDA_TASK_ROOT ?? '', dirname(spec), file);
  const path = ['.js', '.mjs', '.cjs', ''].map((end) => base + end).find((path) => existsSync(path) && isFile(path));
  if (path === undefined) throw new LoadError('Runtime.ImportModuleError', `Cannot find module '${base}'`);
  const module: { default?: unknown } = await import(pathToFileURL(path).href);
  for (const root of [module, module.default]) {
    const found = names.reduce<unknown>((value, name) => (isObject(value) ? value[name] : undefined), root);
    if (typeof found === 'function') return found as BufferedHandler | StreamHandler;
  }
  throw new LoadError('Runtime.HandlerNotFound', `${spec} is undefined or not exported`);
}

function isFile(path: string): boolean {
  return statSync(path).isFile();
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function contextOf(headers: IncomingHttpHeaders): object {
  const deadline = Number(headers['lambda-runtime-deadline-ms']);
  return {
    functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
    functionVersion: process.env.AWS_LAMBDA_FUNCTION_VERSION,
    memoryLimitInMB: process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: process.env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: process.env.AWS_LAMBDA_LOG_STREAM_NAME,
    awsRequestId: headers['lambda-runtime-aws-request-id'],
    invokedFunctionArn: headers['lambda-runtime-invoked-function-arn'],
    getRemainingTimeInMillis: () => Math.max(0, deadline - Date.now()),
  };
}

async function respondStreaming(id: string, run: (stream: ResponseStream) => unknown): Promise<void> {
  const stream = new ResponseStream();
  // The headers leave with the first byte, when the handler has named its content type.
  const sent = new Promise<Answer>((resolve, reject) => {
    stream.once('readable', () => {
      const headers = {
        'content-type': stream.contentType,
        'lambda-runtime-function-response-mode': 'streaming',
        'transfer-encoding': 'chunked',
      };
      call('POST', `invocation/${id}/response`, headers, stream).then(resolve, reject);
    });
  });
  await run(stream);
  if (!stream.writableEnded) stream.end();
  await sent;
}

async function serve(handler: BufferedHandler | StreamHandler): Promise<void> {
  // When the Runtime API is gone, so is the environment.
  const next = await call('GET', 'invocation/next').catch(() => process.exit(0));
  if (next.status !== 200) process.exit(0);
  const id = String(next.headers['lambda-runtime-aws-request-id']);
  process.env._X_AMZN_TRACE_ID = String(next.headers['lambda-runtime-trace-id'] ?? '');
  try {
    const event: unknown = next.body.length > 0 ? JSON.parse(next.body.toString()) : {};
    const context = contextOf(next.headers);
    if (streamed.has(handler)) {
      await respondStreaming(id, (stream) => (handler as StreamHandler)(event, stream, context));
    } else {
      const value = await (handler as BufferedHandler)(event, context);
      await post(`invocation/${id}/response`, JSON.stringify(value ?? null));
    }
  } catch (error) {
    console.error(`${new Date().toISOString()}\t${id}\tERROR\tInvoke Error\t${describe(error)}`);
    await post(`invocation/${id}/error`, describe(error)).catch(() => process.exit(1));
  }
}

process.on('uncaughtException', (error) => {
  console.error('Uncaught Exception', error);
  process.exit(129);
});
process.on('unhandledRejection', (error) => {
  console.error('Unhandled Rejection', error);
  process.exit(128);
});

const handler = await load(process.argv[2] ?? '').catch(async (error: unknown) => {
  console.error(error);
  await post('init/error', describe(error)).catch(() => undefined);
  process.exit(1);
});
for (;;) await serve(handler);
