const PHRASES = [
  'lest',
  'anew',
  'how-manieth',
  'has a meaning',
  'is told',
  'are told',
  'of before',
  'an own',
  'can not',
  'once more',
  'whosoever',
];

/** A comment may continue on the next line between two words of a phrase. */
const BETWEEN_WORDS = String.raw`(?:\s|\*|//)+`;
const ARCHAIC = new RegExp(String.raw`\b(?:${PHRASES.join('|').replaceAll(' ', BETWEEN_WORDS)})\b`, 'gi');

/** Each archaic or foreign phrase of a text, with the file and the line. */
export function archaicPhrases(path: string, text: string): string[] {
  return [...text.matchAll(ARCHAIC)].map(
    ({ 0: phrase, index }) => `${path}:${text.slice(0, index).split('\n').length}: ${phrase}`,
  );
}
