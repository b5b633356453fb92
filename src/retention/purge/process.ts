import { servePurge } from './server.js';

// The purge as a child process, for hosts without a purge unit: requests on stdin, answers on stdout.

const [configPath = ''] = process.argv.slice(2);
process.stdout.on('error', () => undefined); // the client has died
await servePurge(process.stdin, process.stdout, {
  configPath: configPath === '' ? null : configPath,
  env: process.env,
});
