/**
 * Long waits outside the sidebar, shown in a notification.
 */
import { Notification } from '@jupyterlab/apputils';
import { TranslationBundle } from '@jupyterlab/translation';

/** A wait shorter than this is not shown. */
const PATIENCE_MS = 700;

/**
 * Wait for a promise, with a notification if it takes long.
 *
 * @param work - The promise.
 * @param message - Text of the notification.
 * @param trans - Translator.
 * @param controller - If given, the notification has a button that aborts the work.
 */
export async function waitFor<T>(
  work: Promise<T>,
  message: string,
  trans: TranslationBundle,
  controller?: AbortController
): Promise<T> {
  let shown = '';
  const actions = controller
    ? [{ label: trans.__('Cancel'), callback: () => controller.abort() }]
    : [];
  const timer = window.setTimeout(() => {
    shown = Notification.emit(message, 'in-progress', { autoClose: false, actions });
  }, PATIENCE_MS);
  try {
    return await work;
  } finally {
    window.clearTimeout(timer);
    if (shown) {
      Notification.dismiss(shown);
    }
  }
}
