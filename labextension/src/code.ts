/**
 * The code that attach writes into a notebook. What comes from Rucio is data in it: quoted, never code.
 */
import { IResolvedFile } from './api';

/** Most addresses that are written into a cell. */
export const MOST_INLINE = 50;

export const LOAD = '%load_ext rucio_lab';

/** Whether some code holds the line that loads our magics. */
export function loads(source: string): boolean {
  return /^[ \t]*%(load|reload)_ext[ \t]+rucio_lab\b/m.test(source);
}

/** Whether a DID can stand in a line of code: a line break cannot. */
export function isWritable(did: string): boolean {
  return !/[\x00-\x1f\x7f\x85\u2028\u2029]/.test(did);
}

/**
 * Quote a word for the line of a magic, which is read as a shell would read it.
 */
export function quote(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replace(/'/g, `'"'"'`)}'`;
}

/**
 * Write the line that attaches a DID.
 *
 * @param did - The DID.
 * @param name - Name of the variable.
 * @param instance - Name of the instance, unless it is the default one.
 */
export function attachLine(did: string, name: string, instance: string | null): string {
  const where = instance === null ? '' : ` --instance ${quote(instance)}`;
  return `%rucio_attach ${quote(did)} as ${name}${where}`;
}

/** Write a Python list of addresses. A JSON string is a Python string. */
export function pythonList(files: readonly IResolvedFile[]): string {
  const lines = files.map(file => `    ${JSON.stringify(file.url)},\n`);
  return `[\n${lines.join('')}]`;
}
