import { createHash, createHmac, pbkdf2Sync } from 'node:crypto';

/** SCRAM as a client does it, written from RFC 5802 and of nothing that the server uses. */
export interface ScramClient {
  readonly hash: 'sha256' | 'sha512';
  readonly user: string;
  readonly password: string;
  readonly nonce: string;
}

export function clientFirst({ user, nonce }: ScramClient, header = 'n,,'): Buffer {
  return Buffer.from(`${header}n=${user},r=${nonce}`);
}

export interface ClientFinal {
  readonly message: Buffer;
  /** What the server must answer. */
  readonly serverFinal: string;
}

/** `changed`: parts that a wrong client sends otherwise; the proof is of what it sends. */
export function clientFinal(
  client: ScramClient,
  serverFirst: string,
  changed: { readonly nonce?: string; readonly binding?: string } = {},
): ClientFinal {
  const { hash, password } = client;
  const [, nonce = '', salt = '', iterations = ''] = /^r=([^,]+),s=([^,]+),i=(\d+)$/.exec(serverFirst) ?? [];
  const length = hash === 'sha256' ? 32 : 64;
  const salted = pbkdf2Sync(password, Buffer.from(salt, 'base64'), Number(iterations), length, hash);
  const hmac = (key: Uint8Array, text: string): Buffer => createHmac(hash, key).update(text).digest();
  const clientKey = hmac(salted, 'Client Key');
  const storedKey = createHash(hash).update(clientKey).digest();
  const withoutProof = `c=${changed.binding ?? 'biws'},r=${changed.nonce ?? nonce}`;
  const signed = `n=${client.user},r=${client.nonce},${serverFirst},${withoutProof}`;
  const signature = hmac(storedKey, signed);
  const proof = Buffer.from(clientKey.map((byte, i) => byte ^ (signature[i] as number))).toString('base64');
  const serverSignature = hmac(hmac(salted, 'Server Key'), signed).toString('base64');
  return { message: Buffer.from(`${withoutProof},p=${proof}`), serverFinal: `v=${serverSignature}` };
}
