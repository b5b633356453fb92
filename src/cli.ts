#!/usr/bin/env node
import { createProgram, report } from './commands/program.js';
import { codeOf } from './errors.js';

// `postern-auditd tail | head`: whoever read us has seen enough.
process.stdout.on('error', (error) => process.exit(codeOf(error) === 'EPIPE' ? 0 : 1));

try {
  await createProgram().parseAsync(process.argv);
} catch (error) {
  process.exitCode = report(error, process.argv.includes('--debug'));
}
