/**
 * The commands, for buttons, menus, shortcuts and the palette.
 */
import { JupyterFrontEnd } from '@jupyterlab/application';
import { INotebookTracker } from '@jupyterlab/notebook';
import { TranslationBundle } from '@jupyterlab/translation';
import { copyIcon, downloadIcon, refreshIcon } from '@jupyterlab/ui-components';

import { Attacher } from './attach';
import { ListCopier, copy } from './copy';
import { attachIcon, lakeIcon } from './icons';
import { LakeModel } from './model';
import { printable } from './text';
import { CommandIDs, PANEL_ID } from './tokens';

const NO_ARGUMENTS = { args: { type: 'object', properties: {} } };

/**
 * Add the commands on the current DID.
 */
export function addDidCommands(
  app: JupyterFrontEnd,
  tracker: INotebookTracker,
  model: LakeModel,
  trans: TranslationBundle
): void {
  const { commands } = app;
  const attacher = new Attacher(app, tracker, model, trans);
  const copier = new ListCopier(model, trans);
  const isEnabled = () => model.node !== null;
  commands.addCommand(CommandIDs.attach, {
    describedBy: NO_ARGUMENTS,
    label: trans.__('Attach to a Variable…'),
    caption: trans.__('Add and run a cell that attaches the DID'),
    icon: attachIcon,
    isEnabled,
    execute: () => attacher.attach(model.node!.did)
  });
  commands.addCommand(CommandIDs.download, {
    describedBy: NO_ARGUMENTS,
    label: trans.__('Download'),
    caption: trans.__('Download and verify all files; continues without this page'),
    icon: downloadIcon,
    isEnabled,
    execute: () => model.download()
  });
  commands.addCommand(CommandIDs.attachJob, {
    describedBy: {
      args: {
        type: 'object',
        properties: { did: { type: 'string' }, instance: { type: 'string' } },
        required: ['did', 'instance']
      }
    },
    label: trans.__('Attach Downloaded Files…'),
    execute: args => attacher.attachDownload(args.did as string, args.instance as string)
  });
  commands.addCommand(CommandIDs.copyDid, {
    describedBy: NO_ARGUMENTS,
    label: trans.__('Copy DID'),
    icon: copyIcon,
    isEnabled,
    execute: () => copy(printable(model.node!.did.did)) // a pasted line break would run a command
  });
  commands.addCommand(CommandIDs.copyList, {
    describedBy: NO_ARGUMENTS,
    label: trans.__('Copy as Python List'),
    caption: trans.__('Copy the addresses of all files'),
    isEnabled,
    execute: () => copier.copy(model.node!.did.did)
  });
  model.stateChanged.connect(() => commands.notifyCommandChanged());
}

/**
 * Add the commands on the sidebar itself.
 */
export function addPanelCommands(
  app: JupyterFrontEnd,
  model: LakeModel,
  trans: TranslationBundle
): void {
  const { commands } = app;
  commands.addCommand(CommandIDs.show, {
    describedBy: NO_ARGUMENTS,
    label: trans.__('Show Rucio Data Lake'),
    icon: lakeIcon,
    execute: () => app.shell.activateById(PANEL_ID)
  });
  commands.addCommand(CommandIDs.refresh, {
    describedBy: NO_ARGUMENTS,
    label: trans.__('Refresh Rucio Data Lake'),
    caption: trans.__('Reload everything'),
    icon: refreshIcon,
    execute: () => model.refresh()
  });
  commands.addCommand(CommandIDs.signIn, {
    describedBy: NO_ARGUMENTS,
    label: trans.__('Sign In to Rucio'),
    isEnabled: () => model.session?.state === 'signed_out',
    execute: () => app.shell.activateById(PANEL_ID)
  });
  commands.addCommand(CommandIDs.signOut, {
    describedBy: NO_ARGUMENTS,
    label: trans.__('Sign Out of Rucio'),
    isEnabled: () => model.session?.state === 'signed_in',
    execute: () => model.signOut()
  });
}
