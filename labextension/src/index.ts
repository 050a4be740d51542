/**
 * The plugins.
 */
import { ILayoutRestorer, JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { INotebookTracker } from '@jupyterlab/notebook';
import { IStateDB } from '@jupyterlab/statedb';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { Api } from './api';
import { addDidCommands, addPanelCommands } from './commands';
import { LakeModel } from './model';
import { LakePanel } from './panel';
import { CommandIDs, ILakeModel, PANEL_ID } from './tokens';

const model: JupyterFrontEndPlugin<LakeModel> = {
  id: 'rucio-lab:model',
  description: 'The state of the Rucio sidebar.',
  autoStart: true,
  provides: ILakeModel,
  optional: [IStateDB],
  activate: (app: JupyterFrontEnd, state: IStateDB | null) =>
    new LakeModel(new Api(app.serviceManager.serverSettings), state)
};

const panel: JupyterFrontEndPlugin<void> = {
  id: 'rucio-lab:panel',
  description: 'The Rucio sidebar.',
  autoStart: true,
  requires: [ILakeModel],
  optional: [ITranslator, ILayoutRestorer],
  activate: (
    app: JupyterFrontEnd,
    model: LakeModel,
    translator: ITranslator | null,
    restorer: ILayoutRestorer | null
  ) => {
    const panel = new LakePanel(model, app.commands, translator ?? nullTranslator);
    app.shell.add(panel, 'left', { rank: 350 });
    restorer?.add(panel, PANEL_ID);
    void app.restored.then(() => model.start());
  }
};

const commands: JupyterFrontEndPlugin<void> = {
  id: 'rucio-lab:commands',
  description: 'The commands of the Rucio sidebar.',
  autoStart: true,
  requires: [ILakeModel, INotebookTracker],
  optional: [ITranslator, ICommandPalette],
  activate: (
    app: JupyterFrontEnd,
    model: LakeModel,
    tracker: INotebookTracker,
    translator: ITranslator | null,
    palette: ICommandPalette | null
  ) => {
    const trans = (translator ?? nullTranslator).load('rucio_lab');
    addPanelCommands(app, model, trans);
    addDidCommands(app, tracker, model, trans);
    for (const command of Object.values(CommandIDs)) {
      if (command !== CommandIDs.attachJob) {
        palette?.addItem({ command, category: trans.__('Rucio') }); // the palette passes no arguments
      }
    }
  }
};

export default [model, panel, commands];
