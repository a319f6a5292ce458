/** Base64 as in RFC 4648, section 4: with padding, and in its one canonical form. */
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

/** The bytes, or `undefined` where the text is not canonical base64 with padding. */
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
