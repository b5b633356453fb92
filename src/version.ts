import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './installation.js';

const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  version: string;
};

export const VERSION = manifest.version;
