/**
 * One JSON object on one line, as Lambda's JSON log format expects it of a program: what has a `level` and a `timestamp`
 * is kept as it is and can be filtered by level. Never given keys, values or headers of records.
 */
export function logLine(
  level: 'INFO' | 'ERROR',
  message: string,
  fields: Readonly<Record<string, string | number | boolean | null | undefined>> = {},
): void {
  process.stdout.write(`${JSON.stringify({ timestamp: new Date().toISOString(), level, message, ...fields })}\n`);
}
