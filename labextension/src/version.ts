/**
 * The version of this half; the server half must have the same one. A test holds it against package.json and
 * rucio_lab/_version.py.
 */
export const VERSION = '0.1.0';
