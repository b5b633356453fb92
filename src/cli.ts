#!/usr/bin/env node
import { createProgram, report } from './commands/program.js';

try {
  await createProgram().parseAsync(process.argv);
} catch (error) {
  process.exitCode = report(error, process.argv.includes('--debug'));
}
