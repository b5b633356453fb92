import type { YAMLError } from 'yaml';

/**
 * Messages for a text that is not YAML. The parser's own messages repeat parts of the text, which may be secret: only its fixed
 * sentences are used.
 */
const WORDS: Readonly<Record<string, string>> = {
  ALIAS_PROPS: 'an alias (*name) cannot have an anchor or tag of its own',
  BAD_ALIAS: 'this alias has no anchor (&name) of its name above it; text that begins with * needs quotes',
  BAD_COLLECTION_TYPE: 'this tag does not fit its value; leave the tag out',
  BAD_DIRECTIVE: 'this % directive is not known; leave the line out',
  BAD_DQ_ESCAPE: 'unknown escape in double quotes; write \\\\ for a backslash, or use single quotes',
  BAD_PROP_ORDER: 'an anchor or tag is in the wrong place; it belongs behind the - ? or :',
  BAD_SCALAR_START: 'a value cannot begin with this character; put it in quotes',
  BLOCK_AS_IMPLICIT_KEY:
    'a second key: value on one line; put it on a line of its own, or the value in quotes',
  BLOCK_IN_FLOW: 'lines of a list or mapping inside of [ ] or { }; write it with commas there',
  KEY_OVER_1024_CHARS: 'a key of more than 1024 characters',
  MULTILINE_IMPLICIT_KEY: 'a key that goes over several lines; is a colon or a quote missing above?',
  MULTIPLE_ANCHORS: 'two anchors for one value',
  MULTIPLE_DOCS: 'a second document (---); a configuration has one',
  MULTIPLE_TAGS: 'two tags for one value',
  NON_STRING_KEY: 'a key that is not text',
  RESOURCE_EXHAUSTION: 'this is nested too deeply',
  TAB_AS_INDENT: 'a tab; lines are indented with spaces only',
  TAG_RESOLVE_FAILED: 'a tag (!name) that is not known; text that begins with ! needs quotes',
  UNEXPECTED_TOKEN: 'this does not belong here; is a quote, a bracket or a colon missing before it?',
};

const FIXED = new Set(['BAD_INDENT', 'MISSING_CHAR']);

/** The message for an error of the YAML parser, without a full stop. */
export function syntaxMessage({ code, message }: Pick<YAMLError, 'code' | 'message'>): string {
  if (FIXED.has(code)) return `${message.charAt(0).toLowerCase()}${message.slice(1)}`;
  return WORDS[code] ?? 'this is not YAML';
}
