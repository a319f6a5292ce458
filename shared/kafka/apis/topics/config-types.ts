/** What Kafka's messages call the resources that have settings, where a setting is from, and what its value is. */

export const TOPIC_RESOURCE = 2;
export const BROKER_RESOURCE = 4;

export const SOURCE_TOPIC = 1;
export const SOURCE_STATIC_BROKER = 4;
export const SOURCE_DEFAULT = 5;

export const BOOLEAN = 1;
export const STRING = 2;
export const INT = 3;
export const LONG = 5;
export const DOUBLE = 6;
export const LIST = 7;
