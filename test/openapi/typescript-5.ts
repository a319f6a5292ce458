import { registerHooks } from 'node:module';

/** Loaded before openapi-typescript, which needs the programming interface of TypeScript 5: TypeScript 7 has none yet. */
registerHooks({
  resolve: (specifier, context, next) => next(specifier === 'typescript' ? 'typescript-5.6' : specifier, context),
});
