import { existsSync, readdirSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { parseConfig } from '../../src/config/load.js';
import { createFormatter } from '../../src/formats/syslog-message.js';
import { createSyslogSink } from '../../src/sinks/syslog/syslog-sink.js';
import { plainEvent } from '../formats/events.js';
import { listener } from '../sinks/files/files-fixture.js';
import { read, SIEM } from './recipe.js';

const MARK = '# /etc/postern-auditd/config.yml\n';
const pages = readdirSync(SIEM).filter((name) => name.endsWith('.md'));
const files = readdirSync(new URL('recipes/', SIEM), { recursive: true, encoding: 'utf8' }).filter((name) =>
  statSync(new URL(`recipes/${name}`, SIEM)).isFile(),
);

/** The blocks of a page that are a configuration of postern-auditd, with the line at which each begins. */
function configurations(page: string): Array<{ line: number; text: string }> {
  return [...read(page).matchAll(/^```yaml\n([\s\S]*?)^```$/gm)]
    .filter(([, text = '']) => text.startsWith(MARK))
    .map((match) => ({
      line: read(page).slice(0, match.index).split('\n').length + 1,
      text: match[1] ?? '',
    }));
}

describe('the pages about collectors', () => {
  it.each(pages.filter((name) => name !== 'README.md'))('%s shows a configuration that loads', (page) => {
    const blocks = configurations(page);
    expect(blocks.length).toBeGreaterThan(0);
    for (const { line, text } of blocks) {
      const { sinks } = parseConfig(text, `${page}:${line}`);
      const types = Object.values(sinks).map(({ type }) => type);
      expect(types).toEqual(expect.arrayContaining(['file', 'fail2ban']));
      for (const [name, sink] of Object.entries(sinks)) {
        if (sink.type !== 'syslog') continue;
        createSyslogSink(sink, { name, clock: Date.now, minFree: 0, log: listener().log });
        const message = createFormatter({
          ...{ format: sink.format, envelope: sink.envelope, facility: sink.facility, bom: sink.bom },
          ...{ appName: sink.app_name, procId: null, structuredDataId: sink.structured_data.id },
          maxMessageSize: sink.max_message_size,
        })(plainEvent);
        expect(message).toContain(plainEvent.id);
      }
    }
  });

  it.each(pages)('%s links to what is there', (page) => {
    for (const [, target = ''] of read(page).matchAll(/\]\(([^)#:]+)\)/g)) {
      expect([target, existsSync(fileURLToPath(new URL(target, SIEM)))]).toEqual([target, true]);
    }
  });

  it('are all in the index', () => {
    const linked = [...read('README.md').matchAll(/\]\(([a-z-]+\.md)\)/g)].map(([, name]) => name);
    expect(new Set([...linked, 'README.md'])).toEqual(new Set(pages));
  });

  it('say what is promised, and how to see that it works', () => {
    for (const page of pages.filter((name) => name !== 'README.md')) {
      expect(read(page)).toMatch(/\*\*See that it works:\*\*/);
      expect(read(page)).toMatch(/^## Guarantee and limits$/m);
    }
  });

  it.each(files)('name the recipe %s', (file) => {
    expect(pages.some((page) => read(page).includes(`(recipes/${file})`))).toBe(true);
  });

  it.each(files.filter((name) => /\.(ya?ml|json)$/.test(name)))('%s is well-formed', (file) => {
    const documents = parseAllDocuments(read(`recipes/${file}`));
    expect(documents.length).toBeGreaterThan(0);
    for (const document of documents) {
      expect(document.errors).toEqual([]);
      expect(document.toJS()).toBeTypeOf('object');
    }
  });
});
