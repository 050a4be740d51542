/**
 * Long waits outside of the sidebar: what is waited for stands in a notification.
 */
import { Notification } from '@jupyterlab/apputils';
import { TranslationBundle } from '@jupyterlab/translation';

/** A wait shorter than this is not shown. */
const PATIENCE_MS = 700;

/**
 * Wait for something, and say so where it takes long.
 *
 * @param work - What is waited for.
 * @param message - Says so.
 * @param trans - Translates.
 * @param controller - Stops the work; where there is one, the notification has a button for it.
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
