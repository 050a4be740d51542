/**
 * Attach: a visible cell in the user's notebook, run as if the user had written it.
 */
import { Cell, isCodeCellModel } from '@jupyterlab/cells';
import { JupyterFrontEnd } from '@jupyterlab/application';
import { INotebookTracker, NotebookActions, NotebookPanel } from '@jupyterlab/notebook';
import { Kernel } from '@jupyterlab/services';

import { Api, IResolvedFile, readAll } from './api';
import { LOAD, MOST_INLINE, attachLine, loads, pythonList } from './code';
import { IProbe, probe, within } from './kernel';
import { assignedNames } from './names';

const START_MS = 30_000;

/** Why nothing was attached. */
export type Refusal = 'closed' | 'no notebook' | 'no python' | 'read-only' | 'too many';

export class AttachRefused extends Error {
  constructor(readonly reason: Refusal) {
    super(reason);
  }
}

/** How an attach went on. */
export type Outcome = 'queued' | 'dropped' | 'inline' | 'no kernel';

/** What is to be attached. */
export interface IAttachment {
  did: string;
  /** Name of the variable. */
  name: string;
  instance: string;
  isDefaultInstance: boolean;
}

/**
 * A notebook to attach into, and what its kernel said.
 */
export class Target {
  private constructor(
    readonly panel: NotebookPanel,
    private readonly kernel: Kernel.IKernelConnection | null,
    private readonly probe: IProbe | null
  ) {}

  /**
   * Look at a notebook, once its kernel is up.
   */
  static async of(panel: NotebookPanel): Promise<Target> {
    await panel.revealed;
    await within(START_MS, panel.sessionContext.ready);
    const kernel = panel.sessionContext.session?.kernel ?? null;
    if (kernel && (await languageOf(kernel)) !== 'python') {
      throw new AttachRefused('no python');
    }
    return new Target(panel, kernel, kernel && (await probe(kernel)));
  }

  /** Names that a new variable is not to have. */
  get taken(): Set<string> {
    const written = this._sources().flatMap(assignedNames);
    return new Set([...(this.probe?.names ?? []), ...written]);
  }

  /** Whether the kernel cannot run our magics. */
  get lacksPackage(): boolean {
    return this.probe !== null && !this.probe.hasPackage;
  }

  /** Whether the kernel is at something else. */
  get isBusy(): boolean {
    return this.kernel !== null && this.probe === null;
  }

  get hasKernel(): boolean {
    return this.kernel !== null;
  }

  /**
   * Write the cell, and run it.
   *
   * @param tell - Is told how it goes on; this may be long after the cell is written.
   * @throws AttachRefused if the notebook was closed, cannot be written, or would need too many addresses.
   */
  async attach(attachment: IAttachment, api: Api, tell: (outcome: Outcome) => void): Promise<void> {
    const code = this.lacksPackage
      ? await inlineCode(attachment, api)
      : this._magicCode(attachment);
    const cell = this._insert(code);
    if (!this.kernel) {
      tell('no kernel');
      return;
    }
    if (this.isBusy) {
      tell('queued');
    } else if (this.lacksPackage) {
      tell('inline');
    }
    void this._run(cell).then(succeeded => {
      if (!succeeded && wasDropped(cell)) {
        tell('dropped');
      }
    });
  }

  private _magicCode(attachment: IAttachment): string {
    const { did, name, instance, isDefaultInstance } = attachment;
    const line = attachLine(did, name, isDefaultInstance ? null : instance);
    const isLoaded = this._sources().some(loads) && (this.probe?.hasMagics ?? true);
    return isLoaded ? line : `${LOAD}\n${line}`;
  }

  /** Write a code cell below the active one, or into it where it is empty. */
  private _insert(code: string): Cell {
    const { panel } = this;
    if (panel.isDisposed) {
      throw new AttachRefused('closed');
    }
    const notebook = panel.content;
    if (!notebook.model || notebook.model.readOnly) {
      throw new AttachRefused('read-only');
    }
    const active = notebook.activeCell?.model;
    if (active?.type !== 'code' || active.sharedModel.getSource().trim()) {
      notebook.deselectAll();
      NotebookActions.insertBelow(notebook);
      NotebookActions.changeCellType(notebook, 'code');
    }
    const cell = notebook.activeCell!;
    cell.model.sharedModel.setSource(code);
    void notebook.scrollToItem(notebook.activeCellIndex);
    return cell;
  }

  private async _run(cell: Cell): Promise<boolean> {
    const { content, sessionContext } = this.panel;
    return NotebookActions.runCells(content, [cell], sessionContext);
  }

  private _sources(): string[] {
    const cells = this.panel.content.model?.cells ?? [];
    return Array.from(cells)
      .filter(cell => cell.type === 'code')
      .map(cell => cell.sharedModel.getSource());
  }
}

/**
 * Give the notebook that one works in; a new one where none is open.
 *
 * @throws AttachRefused if none can be made.
 */
export async function currentNotebook(
  app: JupyterFrontEnd,
  tracker: INotebookTracker
): Promise<NotebookPanel> {
  const panel = tracker.currentWidget;
  if (panel && !panel.isDisposed) {
    if (!panel.isVisible) {
      app.shell.activateById(panel.id); // the user is to see what is written
    }
    return panel;
  }
  const kernelName = await pythonKernelName(app);
  const made: unknown = await app.commands.execute('notebook:create-new', {
    kernelName
  });
  if (!(made instanceof NotebookPanel)) {
    throw new AttachRefused('no notebook'); // Notebook 7 opens it in a new tab of the browser
  }
  return made;
}

async function pythonKernelName(app: JupyterFrontEnd): Promise<string> {
  const { kernelspecs } = app.serviceManager;
  await kernelspecs.ready;
  const { default: preferred = '', kernelspecs: known = {} } = kernelspecs.specs ?? {};
  const isPython = (name: string) => known[name]?.language === 'python';
  return [preferred, ...Object.keys(known)].find(isPython) ?? preferred;
}

async function languageOf(kernel: Kernel.IKernelConnection): Promise<string | undefined> {
  return (await kernel.spec)?.language.toLowerCase();
}

/** Write a list of addresses, for a kernel that cannot resolve. */
async function inlineCode({ did, name, instance }: IAttachment, api: Api): Promise<string> {
  const files: IResolvedFile[] = [];
  const { signal } = new AbortController();
  await readAll(api.resolve(instance, did, MOST_INLINE + 1, signal), batch => files.push(...batch));
  if (files.length > MOST_INLINE) {
    throw new AttachRefused('too many');
  }
  return `${name} = ${pythonList(files)}`;
}

/** Whether the kernel did not even take a cell up. */
function wasDropped(cell: Cell): boolean {
  const { model } = cell;
  return !cell.isDisposed && isCodeCellModel(model) && model.executionCount === null;
}
