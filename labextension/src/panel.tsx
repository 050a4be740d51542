/**
 * The sidebar: the header, and two sections below it.
 */
import { ReactWidget } from '@jupyterlab/apputils';
import { ITranslator, TranslationBundle } from '@jupyterlab/translation';
import { CommandToolbarButton, PanelWithToolbar, SidePanel } from '@jupyterlab/ui-components';
import { CommandRegistry } from '@lumino/commands';
import { Message } from '@lumino/messaging';
import { AccordionPanel } from '@lumino/widgets';
import * as React from 'react';

import { Details } from './components/details';
import { Header, Type } from './components/header';
import { Found } from './components/tree';
import { lakeIcon } from './icons';
import { LakeModel } from './model';
import { CommandIDs, PANEL_ID, TREE_CLASS } from './tokens';

/** A view of the model: rendered anew whenever it changes. */
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
  constructor(
    private readonly model: LakeModel,
    private readonly commands: CommandRegistry,
    translator: ITranslator
  ) {
    super({ translator });
    const trans = translator.load('rucio_lab');
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
      copyDid: run(CommandIDs.copyDid),
      copyList: run(CommandIDs.copyList)
    };
    const toTree = () => this._focus(`.${TREE_CLASS} [tabindex="0"]`);
    this.header.addWidget(
      new View(model, 'jp-RucioLab-top', () => (
        <Header model={model} trans={trans} toTree={toTree} />
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
    (this.content as AccordionPanel).setRelativeSizes([1, 1]);
  }

  private _addSection(label: string, view: View): PanelWithToolbar {
    const section = new PanelWithToolbar();
    section.title.label = label;
    section.addWidget(view);
    this.addWidget(section);
    return section;
  }

  /** Another tab may have signed in or out meanwhile. */
  handleEvent(event: Event): void {
    if (event.type === 'visibilitychange' && !document.hidden && this.isVisible) {
      void this.model.checkSession();
    }
  }

  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    document.addEventListener('visibilitychange', this);
  }

  protected override onBeforeDetach(message: Message): void {
    document.removeEventListener('visibilitychange', this);
    super.onBeforeDetach(message);
  }

  protected override onAfterShow(message: Message): void {
    super.onAfterShow(message);
    void this.model.checkSession();
  }

  protected override onActivateRequest(message: Message): void {
    super.onActivateRequest(message);
    this._focus('.jp-RucioLab-text', '.jp-RucioLab-signin input', 'button');
  }

  /** Focus the first of what is there. */
  private _focus(...selectors: string[]): void {
    const found = selectors.map(selector => this.node.querySelector<HTMLElement>(selector));
    found.find(element => element !== null)?.focus();
  }

  /** The sections make sense only where one can search. */
  private _update(): void {
    const { isReady, isForeignVersion } = this.model;
    this.content.setHidden(!isReady || isForeignVersion);
  }
}
