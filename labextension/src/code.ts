/**
 * The code that attach writes into a notebook. What comes from Rucio is data in it: quoted, never code.
 */
import { Access, IListing } from './api';
import { isPrintable, printable } from './text';

/** Most addresses that are written into a cell. */
export const MOST_INLINE = 50;

/** Most missing files that are named in a comment. */
const MOST_NAMED = 5;

export const LOAD = '%load_ext rucio_lab';

/** Whether some code holds the line that loads our magics. */
export function loads(source: string): boolean {
  return /^[ \t]*%(load|reload)_ext[ \t]+rucio_lab\b/m.test(source);
}

/** Whether a DID can be a word in the line of a magic: nothing can be escaped there. */
export function isWritable(did: string): boolean {
  return isPrintable(did) && !did.startsWith('-');
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
 * @param access - How, unless it is the instance's own way.
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

/** Write a Python string: JSON leaves line breaks of Unicode as they are, at which IPython cuts. */
export function pythonText(text: string): string {
  return printable(JSON.stringify(text));
}

/** Write a Python list of addresses. */
export function pythonList({ files }: IListing): string {
  const lines = files.map(file => `    ${pythonText(file.url)},\n`);
  return `[\n${lines.join('')}]`;
}

/** Write the files that a list lacks, and what one should know of it, as comments. */
export function comments({ missing, notes, total }: IListing): string {
  const lacking = Object.entries(missing);
  const lines = lacking
    .slice(0, MOST_NAMED)
    .map(([did, reason]) => `  ${pythonText(did)}: ${printable(reason)}`);
  if (lacking.length) {
    lines.unshift(`${lacking.length} of ${total} files cannot be read, and are not in this list:`);
  }
  if (lacking.length > MOST_NAMED) {
    lines.push(`  and ${lacking.length - MOST_NAMED} more`);
  }
  return [...lines, ...notes.map(printable)].map(line => `# ${line}\n`).join('');
}

/**
 * Leave out the `rucio://` addresses, which nothing but rucio_lab opens.
 *
 * @param reason - Why they are missing then.
 */
export function withoutOurs(listing: IListing, reason: string): IListing {
  const ours = listing.files.filter(file => file.url.startsWith('rucio:'));
  return {
    ...listing,
    files: listing.files.filter(file => !ours.includes(file)),
    missing: { ...listing.missing, ...Object.fromEntries(ours.map(file => [file.did, reason])) }
  };
}

/** Write what a kernel runs that cannot ask for the addresses. */
export function inlineCode(name: string, listing: IListing): string {
  return `${comments(listing)}${name} = ${pythonList(listing)}`;
}
