/**
 * The sidebar: the header and three sections below it.
 */
import { ReactWidget } from '@jupyterlab/apputils';
import { ITranslator, TranslationBundle } from '@jupyterlab/translation';
import { CommandToolbarButton, PanelWithToolbar, SidePanel } from '@jupyterlab/ui-components';
import { CommandRegistry } from '@lumino/commands';
import { Message, MessageLoop } from '@lumino/messaging';
import { AccordionPanel, Widget } from '@lumino/widgets';
import * as React from 'react';

import { IJob } from './api';
import { Details } from './components/details';
import { Header, Type } from './components/header';
import { Jobs } from './components/jobs';
import { Found } from './components/tree';
import { lakeIcon } from './icons';
import { LakeModel } from './model';
import { CommandIDs, PANEL_ID, TREE_CLASS } from './tokens';

/** Index of the section for the downloads. */
const DOWNLOADS = 2;

/** A view of the model, rendered again when the model changes. */
class View extends ReactWidget {
  constructor(
    model: LakeModel,
    className: string,
    private readonly view: () => JSX.Element
  ) {
    super();
    this.addClass(className);
    model.stateChanged.connect(() => this.update(), this);
  }

  protected override render(): JSX.Element {
    return this.view();
  }
}

/**
 * The sidebar.
 */
export class LakePanel extends SidePanel {
  private readonly trans: TranslationBundle;

  constructor(
    private readonly model: LakeModel,
    private readonly commands: CommandRegistry,
    translator: ITranslator
  ) {
    super({ translator });
    const trans = (this.trans = translator.load('rucio_lab'));
    this.id = PANEL_ID;
    this.title.icon = lakeIcon;
    this.title.caption = trans.__('Rucio Data Lake');
    this.addClass('jp-RucioLab');
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', trans.__('Rucio Data Lake'));
    this._addViews(trans);
    model.stateChanged.connect(() => this._update(), this);
    this._update();
  }

  private _addViews(trans: TranslationBundle): void {
    const { model } = this;
    const run = (command: string) => () => void this.commands.execute(command);
    const actions = {
      attach: run(CommandIDs.attach),
      download: run(CommandIDs.download),
      attachJob: ({ dids: [did], instance }: IJob) =>
        void this.commands.execute(CommandIDs.attachJob, { did, instance }),
      copyDid: run(CommandIDs.copyDid),
      copyList: run(CommandIDs.copyList)
    };
    const toTree = () => this._focus(`.${TREE_CLASS} [tabindex="0"]`);
    this.header.addWidget(
      new View(model, 'jp-RucioLab-top', () => (
        <>
          <Header model={model} trans={trans} toTree={toTree} />
          {!model.isReady && model.jobs.active > 0 && (
            <Jobs model={model} trans={trans} {...actions} />
          )}
        </>
      ))
    );
    const found = this._addSection(
      trans.__('Results'),
      new View(model, 'jp-RucioLab-found', () => (
        <Found model={model} trans={trans} attach={actions.attach} />
      ))
    );
    found.toolbar.addItem(
      'type',
      new View(model, 'jp-RucioLab-filter', () => <Type model={model} trans={trans} />)
    );
    found.toolbar.addItem(
      'refresh',
      new CommandToolbarButton({
        commands: this.commands,
        id: CommandIDs.refresh,
        label: ''
      })
    );
    this._addSection(
      trans.__('Details'),
      new View(model, 'jp-RucioLab-about', () => (
        <Details model={model} trans={trans} {...actions} />
      ))
    );
    this._downloads = this._addSection(
      trans.__('Downloads'),
      new View(model, 'jp-RucioLab-about', () => <Jobs model={model} trans={trans} {...actions} />)
    );
    const content = this.content as AccordionPanel;
    content.expansionToggled.connect((_, index) => index === DOWNLOADS && this._share());
    content.collapse(DOWNLOADS);
  }

  /** Give all open sections the same size; a section has no size before it is first opened. */
  private _share(): void {
    const content = this.content as AccordionPanel;
    content.setRelativeSizes(content.widgets.map(section => (section.isHidden ? 0 : 1)));
  }

  private _addSection(label: string, view: View): PanelWithToolbar {
    const section = new PanelWithToolbar();
    section.title.label = label;
    section.addWidget(view);
    this.addWidget(section);
    return section;
  }

  /** When the tab becomes visible, another tab may have signed in or out. */
  handleEvent(event: Event): void {
    if (event.type !== 'visibilitychange') {
      return;
    }
    this._follow();
    if (!document.hidden && this.isVisible) {
      void this.model.checkSession();
    }
  }

  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    document.addEventListener('visibilitychange', this);
    this._observer.observe(this.content.node);
  }

  protected override onBeforeDetach(message: Message): void {
    document.removeEventListener('visibilitychange', this);
    this._observer.disconnect();
    super.onBeforeDetach(message);
  }

  protected override onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this._follow();
    void this.model.checkSession();
  }

  protected override onAfterHide(message: Message): void {
    super.onAfterHide(message);
    this._follow();
  }

  protected override onActivateRequest(message: Message): void {
    super.onActivateRequest(message);
    this._focus('.jp-RucioLab-text', '.jp-RucioLab-signin input', 'button');
  }

  /** Focus the first element that exists. */
  private _focus(...selectors: string[]): void {
    const found = selectors.map(selector => this.node.querySelector<HTMLElement>(selector));
    found.find(element => element !== null)?.focus();
  }

  /** Show the sections only if the user can search. */
  private _update(): void {
    const { isReady, isForeignVersion } = this.model;
    this.content.setHidden(!isReady || isForeignVersion);
    this._updateDownloads();
    this._follow();
  }

  /** Open the section for the downloads when one starts, and close it when the list is empty. */
  private _updateDownloads(): void {
    const { all, active } = this.model.jobs;
    const content = this.content as AccordionPanel;
    if (active > this._active) {
      content.expand(DOWNLOADS);
    } else if (this._count && !all.length) {
      content.collapse(DOWNLOADS);
    }
    [this._count, this._active] = [all.length, active];
    const label = this.trans.__('Downloads');
    this._downloads.title.label = active ? `${label} (${active})` : label;
  }

  /** Follow the downloads only while visible: a browser allows few connections to a server for all tabs together. */
  private _follow(): void {
    const { known, isForeignVersion, jobs } = this.model;
    if (known && !isForeignVersion && this.isVisible && !document.hidden) {
      jobs.follow();
    } else {
      jobs.leave();
    }
  }

  /** The sections below the header must adapt when its height changes. */
  private readonly _observer = new ResizeObserver(() =>
    MessageLoop.postMessage(this.content, Widget.ResizeMessage.UnknownSize)
  );
  private _count = 0;
  private _active = 0;
  private _downloads!: PanelWithToolbar;
}
