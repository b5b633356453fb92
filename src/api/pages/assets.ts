import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../../installation.js';
import { PAGE } from '../paths.js';

const DIRECTORY = join(ROOT, 'web');

const TYPES = { 'page.css': 'text/css; charset=utf-8', 'page.js': 'text/javascript; charset=utf-8' } as const;

interface Asset {
  readonly body: string;
  readonly type: string;
  /** Changes with the content, so that browsers may cache the file without limit. */
  readonly href: string;
}

export type Assets = Readonly<Record<keyof typeof TYPES, Asset>>;

let loaded: Assets | null = null;

/** The two files of the page, read at the first request: if they are missing, only the page fails. */
export function assetFiles(): Assets {
  loaded ??= loadAssets();
  return loaded;
}

function loadAssets(): Assets {
  const load = (name: keyof typeof TYPES): Asset => {
    const body = readFileSync(join(DIRECTORY, name), 'utf8');
    const hash = createHash('sha256').update(body).digest('base64url').slice(0, 12);
    return { body, type: TYPES[name], href: `${PAGE}/assets/${name}?${hash}` };
  };
  return { 'page.css': load('page.css'), 'page.js': load('page.js') };
}
