/**
 * A new tab of the browser for the page of an identity provider.
 */
import { IPage } from './model';

/** Is there at once, within the click, since browsers let no page be opened later; what it shows comes later. */
export class NewTab implements IPage {
  /**
   * @param words - What it says until then.
   */
  constructor(words: string) {
    this._window = window.open('', '_blank');
    if (this._window) {
      this._window.document.title = words;
      this._window.document.body.textContent = words;
    }
  }

  show(url: string): void {
    if (this._window && !this._window.closed) {
      this._window.opener = null; // as noopener has it, with which there would be no window to send on
      this._window.location.replace(url);
    }
  }

  close(): void {
    this._window?.close();
  }

  private _window: Window | null;
}
