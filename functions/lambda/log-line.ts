/**
 * Writes one JSON object on one line, as Lambda's JSON log format expects. Lambda keeps a line with a `level` and a
 * `timestamp` as it is, and can filter it by level. Callers never pass keys, values or headers of records.
 */
export function logLine(
  level: 'INFO' | 'ERROR',
  message: string,
  fields: Readonly<Record<string, string | number | boolean | object | null | undefined>> = {},
): void {
  process.stdout.write(`${JSON.stringify({ timestamp: new Date().toISOString(), level, message, ...fields })}\n`);
}
