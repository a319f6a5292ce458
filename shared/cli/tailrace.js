#!/usr/bin/env node
import './check-node.js';

// Loaded only now: an older Node fails while it loads this, before any of it has run.
import('../local/main.ts');
