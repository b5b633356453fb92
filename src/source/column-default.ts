import Database from '../load-sqlite.js';

/** A literal, as ALTER TABLE … ADD COLUMN allows after DEFAULT. Nothing else is evaluated. */
const LITERAL =
  /^\(?\s*(?:'(?:[^']|'')*'|(?:[-+]\s*)?(?:\d+(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?|x'(?:[0-9a-f]{2})*'|true|false)\s*\)?$/i;
const PLAIN_TYPE = /^[\w ()0-9,]*$/;

/**
 * The constant that SQLite gives to rows older than the column, as text, number, bigint or Buffer; undefined if the
 * column has none or it is not a literal.
 */
export function defaultOf(column: { readonly type: string; readonly dflt_value: string | null }): unknown {
  const literal = column.dflt_value;
  if (literal === null || !LITERAL.test(literal)) return undefined;
  const type = PLAIN_TYPE.test(column.type) ? column.type : 'BLOB';
  // CAST is not the same as a column's affinity: only a table applies that.
  const scratch = new Database(':memory:');
  try {
    scratch.exec(
      `CREATE TABLE scratch (one, two ${type} DEFAULT ${literal}); INSERT INTO scratch (one) VALUES (1)`,
    );
    return scratch.prepare('SELECT two FROM scratch').pluck().safeIntegers().get();
  } catch {
    return undefined; // an invalid type: the value is then hashed like any other
  } finally {
    scratch.close();
  }
}
