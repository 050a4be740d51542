/**
 * The version of the sidebar; the server extension must have the same one. A test compares it with package.json and
 * rucio_lab/_version.py.
 */
export const VERSION = '0.1.0';
