import { KAFKA_ERRORS } from '../../error-codes.ts';
import { type Handler, handler } from '../../handler.ts';
import { type Api, type ResponseOf, writeResponse } from '../../protocol/api.ts';
import { API_VERSIONS } from '../../protocol/messages/cluster/api-versions.ts';

/**
 * Clients built on librdkafka up to 2.10 take a broker that does not offer Produce 0 for one that knows no compression but
 * gzip, so Kafka 4 announces it as well (KAFKA-18659). Neither answers it.
 */
const PRODUCE_KEY = 0;
/** Kafka's clients use the newer protocol of transactions (KIP-890) where they find this feature (KIP-584). */
const TRANSACTION_VERSION = { name: 'transaction.version', max: 2 };
/**
 * Java before 3.9 fails for a feature whose oldest version is 0, and never connects. It asks by an older version than this, in
 * which Kafka leaves such a feature out (KAFKA-17492).
 */
const ZERO_VERSIONS_FROM = 4;
/** The features never change. */
const FEATURES_EPOCH = 0;

/** What a client may send. `handlers` are all there are. */
export function apiVersions(handlers: () => Iterable<Handler>): Handler {
  return handler(API_VERSIONS, 'nothing', async ({ version }) => answer(handlers(), KAFKA_ERRORS.NONE, version));
}

function answer(handlers: Iterable<Handler>, errorCode: number, version: number): ResponseOf<typeof API_VERSIONS> {
  const apiKeys = Array.from(handlers, ({ api: { key, versions } }) => ({
    apiKey: key,
    minVersion: key === PRODUCE_KEY ? 0 : versions[0],
    maxVersion: versions[1],
  })).sort((a, b) => a.apiKey - b.apiKey);
  const { name, max } = TRANSACTION_VERSION;
  return {
    errorCode,
    apiKeys,
    supportedFeatures: version < ZERO_VERSIONS_FROM ? [] : [{ name, minVersion: 0, maxVersion: max }],
    finalizedFeaturesEpoch: FEATURES_EPOCH,
    finalizedFeatures: [{ name, minVersionLevel: max, maxVersionLevel: max }],
  };
}

/**
 * What a client gets that sends a version which is not spoken here: for ApiVersions an answer of version 0, from which it
 * learns the right one (KIP-511). For others `undefined`: the layout of an answer would be a guess.
 */
export function answerUnsupportedVersion(
  api: Api,
  correlationId: number,
  handlers: Iterable<Handler>,
): Uint8Array[] | undefined {
  if (api.key !== API_VERSIONS.key) return undefined;
  return writeResponse(API_VERSIONS, 0, correlationId, answer(handlers, KAFKA_ERRORS.UNSUPPORTED_VERSION, 0));
}
