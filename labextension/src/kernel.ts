/**
 * Requests to a kernel that leave no trace in the notebook.
 */
import { Kernel } from '@jupyterlab/services';

/** A kernel that takes longer than this to answer is busy. */
const PATIENCE_MS = 2000;

/** The state of a kernel. */
export interface IProbe {
  /** Whether `rucio_lab` can be imported. */
  hasPackage: boolean;
  /** Whether our magics are registered. */
  hasMagics: boolean;
  /** Names of the user's variables. */
  names: string[];
}

const EXPRESSIONS: Record<keyof IProbe, string> = {
  hasPackage: "__import__('importlib.util').util.find_spec('rucio_lab') is not None",
  hasMagics: "'rucio_attach' in get_ipython().magics_manager.magics['line']",
  names: "','.join(globals())"
};

/**
 * Return the state of a Python kernel, or null if it is too busy to answer.
 */
export async function probe(kernel: Kernel.IKernelConnection): Promise<IProbe | null> {
  if (kernel.status === 'busy') {
    return null;
  }
  const future = kernel.requestExecute({
    code: '',
    silent: true,
    store_history: false,
    user_expressions: EXPRESSIONS
  });
  const reply = await within(PATIENCE_MS, future.done);
  if (reply?.content.status !== 'ok') {
    return null;
  }
  const answers = reply.content.user_expressions as Record<string, unknown>;
  return {
    hasPackage: textOf(answers.hasPackage) === 'True',
    hasMagics: textOf(answers.hasMagics) === 'True',
    names: textOf(answers.names).slice(1, -1).split(',')
  };
}

/** Return the result of a promise, or null if it takes too long. */
export function within<T>(milliseconds: number, promise: Promise<T>): Promise<T | null> {
  return Promise.race([
    promise,
    new Promise<null>(resolve => {
      window.setTimeout(() => resolve(null), milliseconds);
    })
  ]);
}

function textOf(answer: unknown): string {
  const { data } = (answer ?? {}) as { data?: Record<string, string> };
  return data?.['text/plain'] ?? '';
}
