export interface Subscription {
  readonly topics: readonly string[];
  readonly pattern?: string | undefined;
}
export function checkSubscription(_s: Subscription): void {}
export function packSubscription(s: Subscription): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(s));
}
export function unpackSubscription(b: Uint8Array): Subscription {
  return JSON.parse(new TextDecoder().decode(b)) as Subscription;
}
export function subscriptionHash(s: Subscription): number {
  let h = 7;
  for (const c of JSON.stringify(s)) h = (h * 31 + c.charCodeAt(0)) >>> 0;
  return h;
}
