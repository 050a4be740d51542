/**
 * The top of the sidebar: the instance, the account and the search.
 */
import { TranslationBundle } from '@jupyterlab/translation';
import { HTMLSelect } from '@jupyterlab/ui-components';
import * as React from 'react';

import { SearchType } from '../api';
import { isPrintable, printable } from '../text';
import { Branch } from '../tree';
import { numberText, timeText, wordsOf } from '../words';
import { Action, IViewProps, Message } from './common';
import { Notice } from './notice';
import { Storage } from './storage';

/** The whole header. */
export function Header(props: IViewProps & { toTree: () => void }): JSX.Element {
  const { model, trans } = props;
  return (
    <div className="jp-RucioLab-header">
      {model.instance && !model.isForeignVersion && <Place model={model} trans={trans} />}
      <Problems model={model} trans={trans} />
      {model.isReady && model.signingIn.error && (
        <Message role="alert" words={wordsOf(model.signingIn.error, trans)} />
      )}
      {model.isReady && !model.isForeignVersion ? (
        <>
          <Storage model={model} trans={trans} />
          <Search {...props} />
        </>
      ) : (
        <Notice model={model} trans={trans} />
      )}
    </div>
  );
}

function Place({ model, trans }: IViewProps): JSX.Element {
  const names = model.known!.instances.map(instance => instance.name);
  return (
    <div className="jp-RucioLab-place">
      {names.length > 1 ? (
        <HTMLSelect
          aria-label={trans.__('Rucio instance')}
          value={model.query.instance}
          options={names.map(value => ({ value, label: printable(value) }))}
          onChange={event => void model.setInstance(event.target.value)}
        />
      ) : (
        <span className="jp-RucioLab-instance" title={printable(model.instance!.url)}>
          {printable(names[0])}
        </span>
      )}
      {model.isReady && <Account model={model} trans={trans} />}
    </div>
  );
}

function Account({ model, trans }: IViewProps): JSX.Element {
  const { account, state, renewed } = model.session!;
  const { timeLeft } = model;
  if (state === 'renewable') {
    return <span className="jp-RucioLab-account">{trans.__('signs in automatically')}</span>;
  }
  const left = renewed || timeLeft === null ? '' : timeText(timeLeft, trans);
  return (
    <>
      <span
        className="jp-RucioLab-account"
        title={
          renewed
            ? trans.__('Your sign-in is renewed automatically.')
            : left && trans.__('Your sign-in expires in %1.', left)
        }
      >
        {[account && printable(account), left].filter(Boolean).join(' · ')}
      </span>
      <Action label={trans.__('Sign out')} onClick={() => void model.signOut()} />
    </>
  );
}

/** Problems in the configuration, if there are instances. */
function Problems({ model, trans }: IViewProps): JSX.Element | null {
  const problems = model.known?.problems ?? [];
  if (!problems.length || !model.instance) {
    return null;
  }
  return (
    <details className="jp-RucioLab-problems">
      <summary>
        {trans._n(
          '%1 problem in the configuration',
          '%1 problems in the configuration',
          problems.length
        )}
      </summary>
      <ul>
        {problems.map(problem => (
          <li key={problem}>{printable(problem)}</li>
        ))}
      </ul>
    </details>
  );
}

function Search(props: IViewProps & { toTree: () => void }): JSX.Element {
  const { model, trans, toTree } = props;
  return (
    <form
      className="jp-RucioLab-search"
      role="search"
      onSubmit={event => {
        event.preventDefault();
        void model.search();
      }}
    >
      <Scope model={model} trans={trans} />
      <input
        type="search"
        className="jp-mod-styled jp-RucioLab-input jp-RucioLab-text"
        aria-label={trans.__('Name to search for')}
        placeholder={trans.__('Part of a name; * is a wildcard')}
        spellCheck={false}
        autoComplete="off"
        value={model.query.text}
        onChange={event => model.setText(event.target.value)}
        onKeyDown={event => {
          if (event.key === 'ArrowDown') {
            event.preventDefault();
            toTree();
          }
        }}
      />
      <p className="jp-RucioLab-status" role="status">
        <Status model={model} trans={trans} />
      </p>
    </form>
  );
}

/** Choose a scope: type it, or select it from the list. It is set when it is in the list, or on Enter. */
function Scope({ model, trans }: IViewProps): JSX.Element {
  const { scope, instance } = model.query;
  const [text, setText] = React.useState(scope);
  React.useEffect(() => setText(scope), [scope, instance]);
  const settle = (value: string) => {
    if (value.trim() !== scope) {
      void model.setScope(value.trim());
    }
  };
  React.useEffect(() => {
    if (model.scopes.includes(text)) {
      settle(text); // typed before the list was loaded
    }
  }, [model.scopes]);
  return (
    <>
      <input
        className="jp-mod-styled jp-RucioLab-input"
        list="jp-RucioLab-scopes"
        aria-label={trans.__('Scope')}
        placeholder={trans.__('Scope')}
        title={printable(scope)}
        spellCheck={false}
        autoComplete="off"
        value={text}
        onChange={event => {
          const { value } = event.target;
          setText(value);
          if (model.scopes.includes(value)) {
            settle(value);
          }
        }}
        onBlur={() => settle(text)}
        onKeyDown={event => {
          if (event.key === 'Enter') {
            settle(text);
          }
        }}
      />
      <Scopes scopes={model.scopes} text={text} />
    </>
  );
}

/** Maximum number of scopes to offer, because large instances have many thousands. */
const MOST_SCOPES = 200;

const Scopes = React.memo(function Scopes(props: {
  scopes: readonly string[];
  text: string;
}): JSX.Element {
  const part = props.text.trim().toLowerCase();
  const fitting = props.scopes.filter(
    scope => scope.toLowerCase().includes(part) && isPrintable(scope)
  );
  return (
    <datalist id="jp-RucioLab-scopes">
      {fitting.slice(0, MOST_SCOPES).map(scope => (
        <option key={scope} value={scope} />
      ))}
    </datalist>
  );
});

/** The type to search for. */
export function Type({ model, trans }: IViewProps): JSX.Element {
  return (
    <HTMLSelect
      aria-label={trans.__('Type')}
      value={model.query.type}
      options={[
        { value: 'collection', label: trans.__('Collections') },
        { value: 'container', label: trans.__('Containers') },
        { value: 'dataset', label: trans.__('Datasets') },
        { value: 'file', label: trans.__('Files') },
        { value: 'all', label: trans.__('All types') }
      ]}
      onChange={event => void model.setType(event.target.value as SearchType)}
    />
  );
}

/** The number of results, and the pattern of the search. */
function Status({ model, trans }: IViewProps): JSX.Element | null {
  const { pattern, found } = model;
  if (!pattern || found.asking.phase === 'idle') {
    return null;
  }
  return (
    <>
      <span>{countText(found, trans)}</span> <code>{printable(pattern)}</code>
    </>
  );
}

function countText({ asking, nodes, more }: Branch, trans: TranslationBundle): string {
  const count = numberText(nodes.length);
  if (asking.isOpen) {
    return nodes.length ? trans.__('%1 so far', count) : trans.__('Searching');
  }
  if (asking.phase !== 'done') {
    return nodes.length ? trans.__('%1, incomplete', count) : '';
  }
  return more
    ? trans.__('The first %1. There are more: narrow the search', count)
    : trans.__('%1 found', count);
}
