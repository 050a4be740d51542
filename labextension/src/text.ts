/**
 * Which characters may appear in a line of text, as defined by `rucio_lab/core/text.py`. A test compares the two.
 *
 * Names and messages come from Rucio and from storages and can have any characters. Line breaks, control characters,
 * changes of the writing direction and invisible characters are escaped before text is shown.
 */

const HIDDEN =
  /[\x00-\x1f\x7f-\xa0\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ud800-\uf8ff\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\u{110bd}\u{110cd}\u{13430}-\u{1343f}\u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}\u{1fffe}\u{1ffff}\u{2fffe}\u{2ffff}\u{3fffe}\u{3ffff}\u{4fffe}\u{4ffff}\u{5fffe}\u{5ffff}\u{6fffe}\u{6ffff}\u{7fffe}\u{7ffff}\u{8fffe}\u{8ffff}\u{9fffe}\u{9ffff}\u{afffe}\u{affff}\u{bfffe}\u{bffff}\u{cfffe}\u{cffff}\u{dfffe}-\u{e0fff}\u{efffe}-\u{10ffff}]/gu;

const SHORT: Record<string, string> = { '\t': '\\t', '\n': '\\n', '\r': '\\r' };

/** Whether all characters of a text are visible and on one line. */
export function isPrintable(text: string): boolean {
  return text.search(HIDDEN) < 0;
}

/** Escape hidden characters as in a Python string: `\n`, `\x1b`, `\u202e`, `\U000e0001`. */
export function printable(text: string): string {
  return text.replace(HIDDEN, character => SHORT[character] ?? escaped(character.codePointAt(0)!));
}

function escaped(code: number): string {
  const digits = code.toString(16);
  if (code <= 0xff) {
    return `\\x${digits.padStart(2, '0')}`;
  }
  return code <= 0xffff ? `\\u${digits.padStart(4, '0')}` : `\\U${digits.padStart(8, '0')}`;
}
