/**
 * Names of variables, with the rules of `rucio_lab/kernel/names.py`.
 */
import { isPrintable } from './text';

const WORD = /^[\p{L}_][\p{L}\p{M}\p{N}_]*$/u;
const LONGEST = 40;

const KEYWORDS = new Set(
  (
    'False None True and as assert async await break class continue def del elif else except finally for from ' +
    'global if import in is lambda nonlocal not or pass raise return try while with yield'
  ).split(' ')
);

const IPYTHONS =
  /^(_+|_\d+|_i+\d*|_[dios]h|_exit_code|__\w+__|In|Out|get_ipython|exit|quit|open|display)$/;

const BUILTINS = new Set(
  (
    'ArithmeticError AssertionError AttributeError BaseException BaseExceptionGroup BlockingIOError BrokenPipeError ' +
    'BufferError BytesWarning ChildProcessError ConnectionAbortedError ConnectionError ConnectionRefusedError ' +
    'ConnectionResetError DeprecationWarning EOFError Ellipsis EncodingWarning EnvironmentError Exception ' +
    'ExceptionGroup FileExistsError FileNotFoundError FloatingPointError FutureWarning GeneratorExit IOError ' +
    'ImportError ImportWarning IndentationError IndexError InterruptedError IsADirectoryError KeyError ' +
    'KeyboardInterrupt LookupError MemoryError ModuleNotFoundError NameError NotADirectoryError NotImplemented ' +
    'NotImplementedError OSError OverflowError PendingDeprecationWarning PermissionError ProcessLookupError ' +
    'PythonFinalizationError RecursionError ReferenceError ResourceWarning RuntimeError RuntimeWarning ' +
    'StopAsyncIteration StopIteration SyntaxError SyntaxWarning SystemError SystemExit TabError TimeoutError ' +
    'TypeError UnboundLocalError UnicodeDecodeError UnicodeEncodeError UnicodeError UnicodeTranslateError ' +
    'UnicodeWarning UserWarning ValueError Warning ZeroDivisionError abs aiter all anext any ascii bin bool ' +
    'breakpoint bytearray bytes callable chr classmethod compile complex copyright credits delattr dict dir divmod ' +
    'enumerate eval exec execfile filter float format frozenset getattr globals hasattr hash help hex id input int ' +
    'isinstance issubclass iter len license list locals map max memoryview min next object oct ord pow print ' +
    'property range repr reversed round runfile set setattr slice sorted staticmethod str sum super tuple type vars ' +
    'zip'
  ).split(' ')
);

/** Why a name cannot be used for a variable. */
export type Fault = 'empty' | 'no name' | 'keyword' | 'builtin' | 'ipython';

/**
 * Return what is wrong with a name, or null if nothing is.
 */
export function faultOf(name: string): Fault | null {
  const normal = name.normalize('NFKC');
  if (!normal) {
    return 'empty';
  }
  if (!WORD.test(normal) || !isPrintable(normal)) {
    return 'no name';
  }
  if (KEYWORDS.has(normal)) {
    return 'keyword';
  }
  if (IPYTHONS.test(normal)) {
    return 'ipython';
  }
  return BUILTINS.has(normal) ? 'builtin' : null;
}

/**
 * Propose a variable for a DID: `scope:GamGam.Data` becomes `GamGam_Data`.
 *
 * @param name - Name of the DID, without its scope.
 * @param taken - Names in use.
 */
export function proposeName(name: string, taken: ReadonlySet<string>): string {
  const words = name
    .normalize('NFKC')
    .replace(/./gsu, each => (isPrintable(each) ? each : '_'))
    .replace(/([^\p{L}\p{M}\p{N}_]|_)+/gu, '_')
    .slice(0, LONGEST)
    .replace(/^_+|_+$/g, '');
  let proposed = words;
  if (!WORD.test(words)) {
    proposed = words ? `files_${words}` : 'files';
  } else if (faultOf(words)) {
    proposed = `${words}_files`;
  }
  let free = proposed;
  for (let number = 2; taken.has(free); number++) {
    free = `${proposed}_${number}`;
  }
  return free;
}

/**
 * Return the names that the code of a notebook assigns or attaches.
 */
export function assignedNames(source: string): string[] {
  const assigned = source.matchAll(/^[ \t]*([\p{L}_][\p{L}\p{N}_]*)[ \t]*=(?!=)/gmu);
  return [...[...assigned].map(match => match[1]), ...attachedNames(source)];
}

/**
 * Return the names of the variables that code attaches.
 *
 * @param words - Return only variables for this argument of the magic.
 */
export function attachedNames(source: string, words?: string): string[] {
  const lines = source.matchAll(/^[ \t]*%rucio_attach (.*) as ([\p{L}_][\p{L}\p{N}_]*)/gmu);
  return [...lines]
    .filter(([, attached]) => words === undefined || attached.trim() === words)
    .map(([, , name]) => name);
}
