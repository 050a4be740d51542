/**
 * The code that attach writes to a notebook. Names from Rucio are quoted, so they are never run as code.
 */
import { Access, IListing } from './api';
import { isPrintable, printable } from './text';

/** Maximum number of addresses in a cell. */
export const MOST_INLINE = 50;

/** Maximum number of missing files in a comment. */
const MOST_NAMED = 5;

export const LOAD = '%load_ext rucio_lab';

/** Whether code has the line that loads our magics. */
export function loads(source: string): boolean {
  return /^[ \t]*%(load|reload)_ext[ \t]+rucio_lab\b/m.test(source);
}

/** Whether a DID can be an argument in the line of a magic, which has no escapes. */
export function isWritable(did: string): boolean {
  return isPrintable(did) && !did.startsWith('-');
}

/**
 * Quote an argument in the line of a magic, which is parsed like a shell command.
 */
export function quote(word: string): string {
  return /^[\w@%+=:./-]+$/.test(word) ? word : `'${word.replace(/'/g, `'"'"'`)}'`;
}

/**
 * Return the line that attaches a DID.
 *
 * @param did - The DID.
 * @param name - Name of the variable.
 * @param instance - Name of the instance; null for the default.
 * @param access - How to read the files; null for the default of the instance.
 */
export function attachLine(
  did: string,
  name: string,
  instance: string | null,
  access: Access | null = null
): string {
  const where = instance === null ? '' : ` --instance ${quote(instance)}`;
  const how = access === null ? '' : ` --access ${access}`;
  return `%rucio_attach ${quote(did)} as ${name}${where}${how}`;
}

/** Return a Python string literal: JSON, plus escapes for Unicode line breaks, which IPython would split at. */
export function pythonText(text: string): string {
  return printable(JSON.stringify(text));
}

/** Return a Python list of addresses. */
export function pythonList({ files }: IListing): string {
  const lines = files.map(file => `    ${pythonText(file.url)},\n`);
  return `[\n${lines.join('')}]`;
}

/** Return comments with the missing files and the notes of a list. */
export function comments({ missing, notes, total }: IListing): string {
  const lacking = Object.entries(missing);
  const lines = lacking
    .slice(0, MOST_NAMED)
    .map(([did, reason]) => `  ${pythonText(did)}: ${printable(reason)}`);
  if (lacking.length) {
    const are = lacking.length === 1 ? 'is' : 'are';
    lines.unshift(
      `${lacking.length} of ${total} files cannot be read and ${are} not in this list:`
    );
  }
  if (lacking.length > MOST_NAMED) {
    lines.push(`  and ${lacking.length - MOST_NAMED} more`);
  }
  return [...lines, ...notes.map(printable)].map(line => `# ${line}\n`).join('');
}

/**
 * Leave out the `rucio://` addresses, which only rucio_lab can open.
 *
 * @param reason - The reason to give for these files.
 */
export function withoutOurs(listing: IListing, reason: string): IListing {
  const ours = listing.files.filter(file => file.url.startsWith('rucio:'));
  return {
    ...listing,
    files: listing.files.filter(file => !ours.includes(file)),
    missing: { ...listing.missing, ...Object.fromEntries(ours.map(file => [file.did, reason])) }
  };
}

/** Return the code for a kernel without rucio_lab. */
export function inlineCode(name: string, listing: IListing): string {
  return `${comments(listing)}${name} = ${pythonList(listing)}`;
}
