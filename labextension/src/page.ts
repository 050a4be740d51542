/**
 * A new browser tab for the page of an identity provider.
 */
import { IPage } from './model';

/** Opens at once, because browsers only allow it during a click; the page is loaded later. */
export class NewTab implements IPage {
  /**
   * @param words - The text to show until then.
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
      this._window.opener = null; // like noopener, with which window.open would return null
      this._window.location.replace(url);
    }
  }

  close(): void {
    this._window?.close();
  }

  private _window: Window | null;
}
