/**
 * Makes everything that would bring in chance or real time throw, until the answer is called: a run that depends on
 * anything but its seed fails instead of being different the next time.
 */
export function forbidChance(): () => void {
  const undo: (() => void)[] = [];
  const forbid = <Owner extends object>(owner: Owner, name: keyof Owner & string): void => {
    const before = Object.getOwnPropertyDescriptor(owner, name);
    const thrower = (): never => {
      throw new Error(`${name} is called in a simulation: time and chance come from its ports.`);
    };
    Object.defineProperty(owner, name, { value: thrower, configurable: true, writable: true });
    undo.push(() => {
      if (before === undefined) Reflect.deleteProperty(owner, name);
      else Object.defineProperty(owner, name, before);
    });
  };
  forbid(Date, 'now');
  forbid(Math, 'random');
  forbid(performance, 'now');
  forbid(crypto, 'randomUUID');
  forbid(crypto, 'getRandomValues');
  for (const name of ['setTimeout', 'setInterval', 'setImmediate', 'fetch'] as const) forbid(globalThis, name);
  return () => {
    for (const restore of undo.reverse()) restore();
  };
}
