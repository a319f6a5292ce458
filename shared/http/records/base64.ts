/** Base64 as in RFC 4648, section 4: with padding, and only in the canonical form. */
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
const CODES = Uint8Array.from(ALPHABET, (character) => character.charCodeAt(0));
const PADDING = 0x3d;
const INVALID = 255;
const VALUES = new Uint8Array(128).fill(INVALID);
CODES.forEach((code, value) => {
  VALUES[code] = value;
});

const ASCII = new TextDecoder('latin1');

export function toBase64(bytes: Uint8Array): string {
  const text = new Uint8Array(Math.ceil(bytes.length / 3) * 4);
  let at = 0;
  for (let i = 0; i < bytes.length; i += 3) {
    const first = bytes[i] as number;
    const second = bytes[i + 1];
    const third = bytes[i + 2];
    const bits = (first << 16) | ((second ?? 0) << 8) | (third ?? 0);
    text[at++] = CODES[bits >> 18] as number;
    text[at++] = CODES[(bits >> 12) & 63] as number;
    text[at++] = second === undefined ? PADDING : (CODES[(bits >> 6) & 63] as number);
    text[at++] = third === undefined ? PADDING : (CODES[bits & 63] as number);
  }
  return ASCII.decode(text);
}

/** Decodes a text; returns `undefined` if it is not canonical base64 with padding. */
export function fromBase64(text: string): Uint8Array | undefined {
  if (text.length % 4 !== 0) return undefined;
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0;
  const length = (text.length / 4) * 3 - padding;
  const bytes = new Uint8Array(length);
  const characters = text.length - padding;
  let bits = 0;
  let at = 0;
  for (let i = 0; i < characters; i++) {
    const value = VALUES[text.charCodeAt(i)] ?? INVALID;
    if (value === INVALID) return undefined;
    bits = (bits << 6) | value;
    if (i % 4 === 3) {
      bytes[at++] = (bits >> 16) & 255;
      bytes[at++] = (bits >> 8) & 255;
      bytes[at++] = bits & 255;
      bits = 0;
    }
  }
  if (padding === 1) {
    bytes[at++] = (bits >> 10) & 255;
    bytes[at] = (bits >> 2) & 255;
    if ((bits & 3) !== 0) return undefined;
  } else if (padding === 2) {
    bytes[at] = (bits >> 4) & 255;
    if ((bits & 15) !== 0) return undefined;
  }
  return bytes;
}

const URL_CHARACTERS = [...ALPHABET.replace('+', '-').replace('/', '_')];
/** The two characters of each 12 bits. */
const URL_PAIRS = Array.from(
  { length: 4_096 },
  (_, bits) => `${URL_CHARACTERS[bits >> 6]}${URL_CHARACTERS[bits & 63]}`,
);

/** Base64url without padding (RFC 4648, section 5): letters that need no escape in URLs and headers. */
export function toBase64Url(bytes: Uint8Array): string {
  let text = '';
  const whole = bytes.length - (bytes.length % 3);
  for (let i = 0; i < whole; i += 3) {
    const bits = ((bytes[i] as number) << 16) | ((bytes[i + 1] as number) << 8) | (bytes[i + 2] as number);
    text += (URL_PAIRS[bits >> 12] as string) + (URL_PAIRS[bits & 4_095] as string);
  }
  const [first, second] = bytes.subarray(whole);
  if (first === undefined) return text;
  if (second === undefined) return text + URL_PAIRS[first << 4];
  return text + URL_PAIRS[(first << 4) | (second >> 4)] + URL_CHARACTERS[(second & 15) << 2];
}

/** The bytes, or `undefined` if the text is not canonical base64url without padding. */
export function fromBase64Url(text: string): Uint8Array | undefined {
  if (/[+/=]/.test(text)) return undefined;
  return fromBase64(text.replaceAll('-', '+').replaceAll('_', '/') + '='.repeat((4 - (text.length % 4)) % 4));
}
