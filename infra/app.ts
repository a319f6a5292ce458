import { makeApp } from './stacks/make-app.ts';

makeApp();
