import { servePurge } from './server.js';

// The purge as a child process, where there is no unit for it: requests come by stdin, answers go by stdout.

const [configPath = ''] = process.argv.slice(2);
process.stdout.on('error', () => undefined); // whoever asked has died
await servePurge(process.stdin, process.stdout, {
  configPath: configPath === '' ? null : configPath,
  env: process.env,
});
