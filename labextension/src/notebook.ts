/**
 * Attach adds a visible cell to the user's notebook and runs it, as the user could.
 */
import { Cell, isCodeCellModel } from '@jupyterlab/cells';
import { JupyterFrontEnd } from '@jupyterlab/application';
import { INotebookTracker, NotebookActions, NotebookPanel } from '@jupyterlab/notebook';
import { Kernel } from '@jupyterlab/services';

import { LOAD, loads, quote } from './code';
import { IProbe, probe, within } from './kernel';
import { assignedNames, attachedNames } from './names';

const START_MS = 30_000;

/** Why nothing was attached. */
export type Refusal = 'closed' | 'no notebook' | 'no python' | 'read-only';

export class AttachRefused extends Error {
  constructor(readonly reason: Refusal) {
    super(reason);
  }
}

/** What happened to the cell. */
export type Outcome = 'queued' | 'dropped' | 'inline' | 'no kernel';

/**
 * A notebook to attach to, and the state of its kernel.
 */
export class Target {
  private constructor(
    readonly panel: NotebookPanel,
    private readonly kernel: Kernel.IKernelConnection | null,
    private readonly probe: IProbe | null
  ) {}

  /**
   * Check a notebook after its kernel has started.
   *
   * @throws AttachRefused if it is closed meanwhile, or its kernel is not a Python kernel.
   */
  static async of(panel: NotebookPanel): Promise<Target> {
    const closed = new Promise<never>((_, reject) => {
      panel.disposed.connect(() => reject(new AttachRefused('closed')));
    });
    return Promise.race([closed, Target._look(panel)]);
  }

  private static async _look(panel: NotebookPanel): Promise<Target> {
    await panel.revealed;
    await within(START_MS, panel.sessionContext.ready);
    const kernel = panel.sessionContext.session?.kernel ?? null;
    if (kernel && (await languageOf(kernel)) !== 'python') {
      throw new AttachRefused('no python');
    }
    return new Target(panel, kernel, kernel && (await probe(kernel)));
  }

  /** Names that a new variable should not have. */
  get taken(): Set<string> {
    const written = this._sources().flatMap(assignedNames);
    return new Set([...(this.probe?.names ?? []), ...written]);
  }

  /** Whether the kernel cannot run our magics. */
  get lacksPackage(): boolean {
    return this.probe !== null && !this.probe.hasPackage;
  }

  /** Whether the kernel is busy. */
  get isBusy(): boolean {
    return this.kernel !== null && this.probe === null;
  }

  get hasKernel(): boolean {
    return this.kernel !== null;
  }

  /** Whether the notebook file can be saved. */
  get canSave(): boolean {
    return this.panel.context.contentsModel?.writable !== false;
  }

  /** Names of the variables that the notebook attaches a DID to. */
  namesOf(did: string): string[] {
    return this._sources().flatMap(source => attachedNames(source, quote(did)));
  }

  /**
   * Add a cell and run it.
   *
   * @param code - Its code; the line that loads the magics is added if needed.
   * @param tell - Called with what happens to the cell, possibly long after it was added.
   * @throws AttachRefused if the notebook was closed or is read-only.
   */
  write(code: string, tell: (outcome: Outcome) => void): void {
    if (this.panel.isDisposed) {
      throw new AttachRefused('closed');
    }
    const cell = this._insert(this._needsLoad ? `${LOAD}\n${code}` : code);
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

  private get _needsLoad(): boolean {
    const isLoaded = this._sources().some(loads) && (this.probe?.hasMagics ?? true);
    return !this.lacksPackage && !isLoaded;
  }

  /** Add a code cell below the active cell, or use the active one if it is empty. */
  private _insert(code: string): Cell {
    const notebook = this.panel.content;
    if (!notebook.model || notebook.model.readOnly) {
      throw new AttachRefused('read-only');
    }
    const active = notebook.activeCell?.model;
    const isFree = active?.type === 'code' && active.getMetadata('editable') !== false;
    if (!isFree || active.sharedModel.getSource().trim()) {
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
    try {
      return await NotebookActions.runCells(content, [cell], sessionContext);
    } catch {
      return false; // the notebook was closed, or its kernel died
    }
  }

  private _sources(): string[] {
    const cells = this.panel.content.model?.cells ?? [];
    return Array.from(cells)
      .filter(cell => cell.type === 'code')
      .map(cell => cell.sharedModel.getSource());
  }
}

/**
 * Return the active notebook, or a new one if none is open.
 *
 * @throws AttachRefused if none can be created.
 */
export async function currentNotebook(
  app: JupyterFrontEnd,
  tracker: INotebookTracker
): Promise<NotebookPanel> {
  const panel = tracker.currentWidget;
  if (panel && !panel.isDisposed) {
    if (!panel.isVisible) {
      app.shell.activateById(panel.id); // so that the user sees the new cell
    }
    return panel;
  }
  const kernelName = await pythonKernelName(app);
  const made: unknown = await app.commands.execute('notebook:create-new', {
    kernelName
  });
  if (!(made instanceof NotebookPanel)) {
    throw new AttachRefused('no notebook'); // Notebook 7 opens it in a new browser tab
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

/** Whether the kernel did not start to run a cell. */
function wasDropped(cell: Cell): boolean {
  const { model } = cell;
  return !cell.isDisposed && isCodeCellModel(model) && model.executionCount === null;
}
