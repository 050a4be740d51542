/**
 * Names and ids that the plugins share.
 */
import { Token } from '@lumino/coreutils';

import { LakeModel } from './model';

export const ILakeModel = new Token<LakeModel>(
  'rucio-lab:ILakeModel',
  'The state of the sidebar: instances, search and results.'
);

/** Names of the commands. */
export const CommandIDs = {
  show: 'rucio-lab:show',
  attach: 'rucio-lab:attach',
  download: 'rucio-lab:download',
  attachJob: 'rucio-lab:attach-job',
  copyDid: 'rucio-lab:copy-did',
  copyList: 'rucio-lab:copy-list',
  refresh: 'rucio-lab:refresh',
  signIn: 'rucio-lab:sign-in',
  signOut: 'rucio-lab:sign-out'
} as const;

/** Class of the tree, for the context menu and the shortcuts. */
export const TREE_CLASS = 'jp-RucioLab-tree';

/** Id of the sidebar. */
export const PANEL_ID = 'rucio-lab';
