#!/usr/bin/env node
import { createProgram, report } from './commands/program.js';
import { guardStdout } from './commands/support/guard-stdout.js';

const debug = process.argv.includes('--debug');

guardStdout((error) => report(error, debug));

try {
  await createProgram().parseAsync(process.argv);
} catch (error) {
  process.exitCode = report(error, debug);
}
