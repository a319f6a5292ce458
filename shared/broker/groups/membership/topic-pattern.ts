export async function compileTopicPattern(pattern: string): Promise<(name: string) => boolean> {
  const r = new RegExp(`^(?:${pattern})$`);
  return (n) => r.test(n);
}
