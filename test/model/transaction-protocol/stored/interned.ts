/** What a state of the model can hold as a number: equal ones are the same object. */
export class Interned<T extends { readonly id: number }> {
  readonly all: T[] = [];
  private readonly byKey = new Map<string, T>();
  private readonly max: number;

  constructor(max = 65_536) {
    this.max = max;
  }

  of(key: string, make: (id: number) => T): T {
    const known = this.byKey.get(key);
    if (known !== undefined) return known;
    if (this.all.length === this.max) throw new Error('The scenario is too large.');
    const made = make(this.all.length);
    this.all.push(made);
    this.byKey.set(key, made);
    return made;
  }

  at(id: number): T {
    return this.all[id] as T;
  }
}
