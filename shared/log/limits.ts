/** All limits in one place. Each number is part of the API's contract: note a change in the changelog. */

/** The largest offset: the largest integer that every client's JSON parser keeps exact (2^53 − 1). */
export const OFFSET_MAX = Number.MAX_SAFE_INTEGER;
/** The largest timestamp of a record. Its distance from −1, which stands for none, is the largest exact integer. */
export const TIMESTAMP_MAX = Number.MAX_SAFE_INTEGER - 1;

/** Kafka's own limit for topic names; `[a-zA-Z0-9._-]`. */
export const TOPIC_NAME_LENGTH_MAX = 249;
export const PARTITIONS_PER_TOPIC_MAX = 10_000;
export const PARTITIONS_PER_HEAD_DEFAULT = 16;
export const PARTITIONS_PER_HEAD_MAX = 16;

/** Kafka's default for `max.message.bytes`: the largest record batch, as it is stored. */
export const BATCH_BYTES_DEFAULT = 1_048_588;
/** The largest value `max.message.bytes` may take; a batch must fit a request. */
export const BATCH_BYTES_MAX = 4 * 1024 * 1024;
export const RECORDS_PER_BATCH_MAX = 100_000;
/** The maximum decompressed size of one batch: a limit against decompression bombs. */
export const BATCH_UNCOMPRESSED_BYTES_MAX = 32 * 1024 * 1024;
export const HEADERS_PER_RECORD_MAX = 1_000;
/** The maximum number of headers of all records of one batch: a decoded header takes up to 160 bytes, however well it is compressed. */
export const HEADERS_PER_BATCH_MAX = 1_000_000;

/** The maximum size of an HTTP request's body. It fits through a Lambda function URL, with room for base64. */
export const REQUEST_BYTES_MAX = 4 * 1024 * 1024;
export const RECORDS_PER_REQUEST_MAX = 10_000;
/** The maximum number of record batches in one append. */
export const BATCHES_PER_REQUEST_MAX = 1_000;

export const READ_BYTES_DEFAULT = 1024 * 1024;
export const READ_BYTES_MAX = 64 * 1024 * 1024;
export const READ_RECORDS_DEFAULT = 500;
export const READ_RECORDS_MAX = 100_000;
/** The maximum wait of a long poll: it ends before API Gateway's limit of 30 s. */
export const READ_WAIT_MS_MAX = 20_000;

export const PAGE_LIMIT_DEFAULT = 100;
export const PAGE_LIMIT_MAX = 1_000;

/** Partitions that are followed at once. The id of an event of a live tail names an offset of each, and goes back in a header. */
export const FOLLOWED_PARTITIONS_MAX = 1_000;
export const FETCH_PLAN_PARTITIONS_MAX = 100;
export const FETCH_PLAN_LIFETIME_MS = 5 * 60_000;

export const IDEMPOTENCY_KEY_LENGTH_MAX = 255;
export const IDEMPOTENCY_KEY_LIFETIME_MS = 24 * 3_600_000;

/** Limits of a credential: scopes, patterns in all scopes, and the length of a pattern. They keep an API key's item small. */
export const SCOPES_MAX = 20;
export const SCOPE_PATTERNS_MAX = 200;
export const SCOPE_PATTERN_LENGTH_MAX = 256;
export const API_KEY_NAME_LENGTH_MAX = 100;
/** The maximum length of a bearer token: a longer token does not fit the headers that servers accept. */
export const TOKEN_LENGTH_MAX = 8_192;

/** Kafka's producer epochs are int16, sequences int32; both count from 0. */
export const PRODUCER_EPOCH_MAX = 32_767;
/** The open transactions of a head. They are stored in each of its tail nodes: about 22 bytes each. */
export const OPEN_TRANSACTIONS_MAX = 1_000;
export const SEQUENCE_MAX = 2_147_483_647;
/** Kafka keeps the last five batches of a producer per partition, so that five may be in flight. */
export const PRODUCER_BATCHES_KEPT = 5;

/** The last epoch that a transactional producer is given. The one above it ends its last transaction; then it gets another id. */
export const TRANSACTIONAL_EPOCH_MAX = PRODUCER_EPOCH_MAX - 1;
/** In bytes of UTF-8. Each can take three characters of a key in the table, which has at most 2,048. Kafka has no limit. */
export const TRANSACTIONAL_ID_BYTES_MAX = 680;
/** Kafka's default for `transaction.max.timeout.ms`. */
export const TRANSACTION_TIMEOUT_MS_MAX = 900_000;

/** The maximum length of a group id, a member id and an instance id, in bytes of UTF-8. */
export const GROUP_ID_BYTES_MAX = 255;
export const SUBSCRIBED_TOPICS_MAX = 1_000;
export const TOPIC_PATTERN_LENGTH_MAX = 1_000;
/** Kafka's `offset.metadata.max.bytes`. */
export const OFFSET_METADATA_BYTES_MAX = 4_096;
/** The maximum number of partitions in one commit, fetch or reset of offsets. */
export const OFFSETS_PER_REQUEST_MAX = 10_000;
export const SESSION_TIMEOUT_MS_MIN = 3_000;
/** Kafka's default for KIP-848 groups. */
export const SESSION_TIMEOUT_MS_DEFAULT = 45_000;
export const SESSION_TIMEOUT_MS_MAX = 1_800_000;
export const REBALANCE_TIMEOUT_MS_DEFAULT = 300_000;
export const REBALANCE_TIMEOUT_MS_MAX = 3_600_000;
/** The maximum number of members of a classic group. Kafka calls it `group.max.size`. */
export const CLASSIC_MEMBERS_MAX = 1_000;
export const CLASSIC_PROTOCOLS_MAX = 100;
/** All protocols of a member of a classic group with their metadata. They are kept in the member's item. */
export const CLASSIC_METADATA_BYTES_MAX = 256 * 1024;
/** The metadata of all members in a generation, and what its leader assigns to all of them. */
export const CLASSIC_GENERATION_BYTES_MAX = 16 * 1024 * 1024;

/** DynamoDB's limit for an item, including keys and attribute names. */
export const ITEM_BYTES_MAX = 400 * 1024;
