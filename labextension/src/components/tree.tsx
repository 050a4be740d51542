/**
 * The tree of results. Only the visible rows are in the page, so 10,000 rows cost as much as 30.
 */
import { LabIcon, caretDownIcon, caretRightIcon, fileIcon } from '@jupyterlab/ui-components';
import * as React from 'react';

import { DidType } from '../api';
import { LakeModel } from '../model';
import { attachIcon, containerIcon, datasetIcon } from '../icons';
import { printable } from '../text';
import { INode, IRemark, Row, isCollection, isNode } from '../tree';
import { TREE_CLASS } from '../tokens';
import { sizeText, wordsOf } from '../words';
import { Action, IViewProps, Message, Wait } from './common';

/** Number of rows to render above and below the visible ones. */
const SPARE = 10;

/** Number of characters at the end of a name that are always shown. */
const TAIL = 11;

const ICONS: Record<DidType, LabIcon> = {
  container: containerIcon,
  dataset: datasetIcon,
  file: fileIcon
};

interface ITreeProps extends IViewProps {
  attach: () => void;
}

/** The results, or why there are none. */
export function Found(props: ITreeProps): JSX.Element {
  const { model, trans } = props;
  const { found, rows } = model;
  return (
    <>
      <Wait
        asking={found.asking}
        whom={model.query.instance}
        trans={trans}
        retry={() => void model.search()}
      />
      {rows.length > 0 ? <Tree {...props} /> : <Nothing {...props} />}
    </>
  );
}

function Nothing({ model, trans }: IViewProps): JSX.Element | null {
  const { query, found, pattern } = model;
  if (!query.scope) {
    return (
      <Message
        words={{
          message: trans.__('Choose a scope to search in.'),
          remedy: trans.__('Type part of its name and select it from the list.')
        }}
      />
    );
  }
  if (!pattern) {
    return (
      <Message
        words={{
          message: trans.__('Type part of a name to search in %1.', printable(query.scope)),
          remedy: ''
        }}
      >
        <Action
          label={trans.__('Show everything in this scope')}
          onClick={() => {
            model.setText('*');
            void model.search();
          }}
        />
      </Message>
    );
  }
  if (!found.isEmpty) {
    return null;
  }
  return (
    <Message
      words={{
        message: trans.__('Nothing matches %1.', printable(pattern)),
        remedy: trans.__('The search is case-sensitive. Try a shorter part of the name.')
      }}
    >
      {query.type !== 'all' && (
        <Action label={trans.__('Search all types')} onClick={() => void model.setType('all')} />
      )}
    </Message>
  );
}

interface IWindow {
  top: number;
  height: number;
  /** Height of a row, which depends on the font size. */
  line: number;
}

/** Track the visible part of a scrolling element. */
function useWindow(element: React.RefObject<HTMLElement>): [IWindow, () => void] {
  const [window, setWindow] = React.useState<IWindow>({
    top: 0,
    height: 600,
    line: 24
  });
  const measure = React.useCallback(() => {
    const { scrollTop, clientHeight } = element.current!;
    const font = parseFloat(getComputedStyle(element.current!).fontSize);
    const line = Math.round((font || 13) * 1.85);
    setWindow({ top: scrollTop, height: clientHeight, line });
  }, [element]);
  React.useLayoutEffect(() => {
    const observer = new ResizeObserver(measure);
    observer.observe(element.current!);
    return () => observer.disconnect();
  }, [element, measure]);
  return [window, measure];
}

function Tree(props: ITreeProps): JSX.Element {
  const { model, trans } = props;
  const { rows, currentIndex } = model;
  const element = React.useRef<HTMLDivElement>(null);
  const [{ top, height, line }, measure] = useWindow(element);
  const focus = useFocus(element, model, line);
  const first = Math.max(0, Math.floor(top / line) - SPARE);
  const last = Math.min(rows.length, Math.ceil((top + height) / line) + SPARE);
  const shown = new Set([Math.max(0, currentIndex)]); // always rendered, because it has the focus
  for (let index = first; index < last; index++) {
    shown.add(index);
  }
  return (
    <div
      ref={element}
      className={TREE_CLASS}
      role="tree"
      aria-label={trans.__('Search results')}
      aria-busy={model.found.asking.isOpen}
      {...focus}
      onScroll={measure}
      onKeyDown={event => onKey(event, props)}
    >
      <div role="none" style={{ height: rows.length * line }}>
        {[...shown]
          .sort((a, b) => a - b)
          .map(index => (
            <Line
              key={rows[index].key}
              {...props}
              row={rows[index]}
              index={index}
              height={line}
              isCurrent={index === currentIndex}
              hasTabStop={index === Math.max(0, currentIndex)}
            />
          ))}
      </div>
    </div>
  );
}

/**
 * Keep the current row visible, and focused while the focus is in the tree. The tree keeps the focus if the focused row
 * is removed.
 */
function useFocus(
  element: React.RefObject<HTMLDivElement>,
  { currentIndex, current }: LakeModel,
  line: number
): React.DOMAttributes<HTMLElement> {
  const isFocused = React.useRef(false);
  React.useLayoutEffect(() => {
    const tree = element.current!;
    if (currentIndex < 0) {
      return;
    }
    const [top, bottom] = [currentIndex * line, (currentIndex + 1) * line];
    if (top < tree.scrollTop) {
      tree.scrollTop = top;
    } else if (bottom > tree.scrollTop + tree.clientHeight) {
      tree.scrollTop = bottom - tree.clientHeight;
    }
    if (isFocused.current) {
      tree.querySelector<HTMLElement>('[tabindex="0"]')?.focus({ preventScroll: true });
    }
  }, [element, currentIndex, current?.key, line]);
  return {
    onFocus: () => (isFocused.current = true),
    onBlur: event => (isFocused.current = !event.target.isConnected)
  };
}

interface ILineProps extends ITreeProps {
  row: Row;
  index: number;
  height: number;
  isCurrent: boolean;
  hasTabStop: boolean;
}

function Line(props: ILineProps): JSX.Element {
  const { model, row, index, height, isCurrent, hasTabStop } = props;
  return (
    <div
      className="jp-RucioLab-row"
      role="treeitem"
      aria-level={row.level}
      {...placeOf(row, model)}
      aria-selected={isCurrent}
      aria-expanded={isNode(row) && isCollection(row.did) ? row.isOpen : undefined}
      tabIndex={hasTabStop ? 0 : -1}
      style={{
        top: index * height,
        height,
        paddingLeft: 4 + (row.level - 1) * 14
      }}
      onMouseDown={() => model.setCurrent(row)}
      onFocus={() => model.setCurrent(row)}
      onDoubleClick={() => activate(row, props)}
    >
      {isNode(row) ? <NodeLine {...props} node={row} /> : <RemarkLine {...props} remark={row} />}
    </div>
  );
}

/** The position of a row among its siblings, because not all of them are in the page. */
function placeOf(row: Row, { found }: LakeModel): React.AriaAttributes {
  if (!isNode(row)) {
    return { 'aria-setsize': 1, 'aria-posinset': 1 };
  }
  const { nodes } = row.parent?.children ?? found;
  return { 'aria-setsize': nodes.length, 'aria-posinset': nodes.indexOf(row) + 1 };
}

function NodeLine(props: ILineProps & { node: INode }): JSX.Element {
  const { model, trans, attach, node } = props;
  const { did, isOpen } = node;
  const Caret = isOpen ? caretDownIcon : caretRightIcon;
  const Icon = ICONS[did.type];
  return (
    <>
      <span
        className="jp-RucioLab-caret"
        onClick={() => void model.toggle(node)}
        onDoubleClick={event => event.stopPropagation()} // the two clicks have already toggled it
      >
        {isCollection(did) && <Caret.react tag="span" />}
      </span>
      <Icon.react tag="span" className="jp-RucioLab-type" />
      <span className="jp-RucioLab-name" title={printable(did.did)}>
        <Name
          text={node.parent?.did.scope === did.scope || node.level === 1 ? did.name : did.did}
        />
      </span>
      {did.bytes !== null && <span className="jp-RucioLab-size">{sizeText(did.bytes)}</span>}
      <button
        className="jp-RucioLab-attach"
        title={trans.__('Attach to a variable (Shift+Enter)')}
        aria-label={trans.__('Attach %1', printable(did.did))}
        tabIndex={-1}
        onClick={() => {
          model.setCurrent(node);
          attach();
        }}
        onDoubleClick={event => event.stopPropagation()}
      >
        <attachIcon.react tag="span" />
      </button>
    </>
  );
}

/** A name, shortened in the middle if it does not fit: names of data often differ only at the end. */
function Name({ text }: { text: string }): JSX.Element {
  const letters = [...printable(text)];
  const tail = letters.length > 2 * TAIL ? TAIL : 0;
  return (
    <>
      <span>{letters.slice(0, letters.length - tail).join('')}</span>
      {tail > 0 && <span>{letters.slice(-tail).join('')}</span>}
    </>
  );
}

/** A row with the state of a branch. */
function RemarkLine(props: ILineProps & { remark: IRemark }): JSX.Element {
  const { model, trans, remark } = props;
  const { phase, error } = remark.branch.asking;
  const again = () => void model.reload(remark.parent);
  if (error) {
    const { message, remedy } = wordsOf(error, trans);
    return (
      <span className="jp-RucioLab-remark jp-mod-alert" onClick={again}>
        <span title={`${message} ${remedy}`}>{message}</span>
        <u>{trans.__('Try again')}</u>
      </span>
    );
  }
  const words: Partial<Record<typeof phase, string>> = {
    done: trans.__('empty'),
    loading: trans.__('loading…'),
    slow: trans.__('still loading… press Enter to cancel'),
    cancelled: trans.__('cancelled; press Enter to try again')
  };
  return (
    <span className="jp-RucioLab-remark">
      <span>{words[phase] ?? ''}</span>
    </span>
  );
}

/** Enter or double click: open, close, attach or try again. */
function activate(row: Row, { model, attach }: ITreeProps): void {
  if (!isNode(row)) {
    const { asking } = row.branch;
    if (asking.isOpen) {
      asking.cancel();
    } else if (asking.phase !== 'done') {
      void model.reload(row.parent);
    }
  } else if (isCollection(row.did)) {
    void model.toggle(row);
  } else {
    attach();
  }
}

/** The keys of a tree, following the ARIA practices. */
function onKey(event: React.KeyboardEvent, props: ITreeProps): void {
  if (event.shiftKey || event.ctrlKey || event.altKey || event.metaKey) {
    return; // these are shortcuts of commands
  }
  const { model } = props;
  const { rows } = model;
  const index = Math.max(0, model.currentIndex);
  const page = Math.max(1, Math.floor(event.currentTarget.clientHeight / 24) - 1);
  const go = (to: number) => model.setCurrent(rows[Math.min(rows.length - 1, Math.max(0, to))]);
  const keys: Record<string, () => void> = {
    ArrowDown: () => go(index + 1),
    ArrowUp: () => go(index - 1),
    PageDown: () => go(index + page),
    PageUp: () => go(index - page),
    Home: () => go(0),
    End: () => go(rows.length - 1),
    ArrowRight: () => goIn(rows, index, props),
    ArrowLeft: () => goOut(rows[index], props),
    Enter: () => activate(rows[index], props)
  };
  if (keys[event.key]) {
    event.preventDefault();
    event.stopPropagation();
    keys[event.key]();
  }
}

function goIn(rows: readonly Row[], index: number, { model }: ITreeProps): void {
  const row = rows[index];
  if (!isNode(row) || !isCollection(row.did)) {
    return;
  }
  if (!row.isOpen) {
    void model.toggle(row, true);
  } else if (rows[index + 1]?.parent === row) {
    model.setCurrent(rows[index + 1]);
  }
}

function goOut(row: Row, { model }: ITreeProps): void {
  if (isNode(row) && row.isOpen) {
    void model.toggle(row, false);
  } else if (row.parent) {
    model.setCurrent(row.parent);
  }
}
