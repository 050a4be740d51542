/**
 * The dialog for files that cannot be read.
 */
import { Dialog, ReactWidget, showDialog } from '@jupyterlab/apputils';
import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { IListing } from '../api';
import { printable } from '../text';
import { numberText } from '../words';

/** Maximum number of files to name. */
const MOST_NAMED = 5;

/**
 * If some files cannot be read, name them and ask whether to use the others.
 *
 * @returns Whether to continue.
 */
export async function confirmGaps(
  did: string,
  listing: IListing,
  trans: TranslationBundle
): Promise<boolean> {
  const missing = Object.entries(listing.missing);
  if (!missing.length) {
    return true;
  }
  const { files } = listing;
  const { button } = await showDialog({
    title: trans.__('Some files cannot be read from here'),
    body: ReactWidget.create(<Gaps did={did} missing={missing} listing={listing} trans={trans} />),
    buttons: [
      Dialog.cancelButton({ label: trans.__('Cancel') }),
      Dialog.okButton({
        label: trans._n('Use the other file', 'Use the other %1 files', files.length)
      })
    ]
  });
  return button.accept;
}

function Gaps(props: {
  did: string;
  missing: [string, string][];
  listing: IListing;
  trans: TranslationBundle;
}): JSX.Element {
  const { did, missing, listing, trans } = props;
  const more = missing.length - MOST_NAMED;
  return (
    <div className="jp-RucioLab-form">
      <p>
        {trans.__(
          '%1 of the %2 files of %3:',
          numberText(missing.length),
          numberText(listing.total),
          printable(did)
        )}
      </p>
      <ul className="jp-RucioLab-gaps">
        {missing.slice(0, MOST_NAMED).map(([file, reason]) => (
          <li key={file}>
            <span className="jp-RucioLab-did">{printable(file)}</span>
            <span className="jp-RucioLab-remedy">{printable(reason)}</span>
          </li>
        ))}
      </ul>
      {more > 0 && <p>{trans._n('and one more', 'and %1 more', more)}</p>}
    </div>
  );
}
