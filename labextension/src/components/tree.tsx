/**
 * The tree of what was found. Only the lines in sight are in the page, so that 10,000 cost as much as 30.
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

/** Lines above and below those in sight. */
const SPARE = 10;

/** Letters at the end of a name that are always shown. */
const TAIL = 11;

const ICONS: Record<DidType, LabIcon> = {
  container: containerIcon,
  dataset: datasetIcon,
  file: fileIcon
};

interface ITreeProps extends IViewProps {
  attach: () => void;
}

/** What was found, or why there is nothing. */
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
          remedy: trans.__('Type a part of its name, and take it from the list.')
        }}
      />
    );
  }
  if (!pattern) {
    return (
      <Message
        words={{
          message: trans.__('Type a part of a name to search %1.', printable(query.scope)),
          remedy: ''
        }}
      >
        <Action
          label={trans.__('Show everything in it')}
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
        message: trans.__('Nothing fits %1.', printable(pattern)),
        remedy: trans.__('Capitals count. Try a shorter part of the name.')
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
  /** Height of a line, which follows the size of the font. */
  line: number;
}

/** Follow what is in sight of an element that scrolls. */
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
  const shown = new Set([Math.max(0, currentIndex)]); // always there, since it holds the focus
  for (let index = first; index < last; index++) {
    shown.add(index);
  }
  return (
    <div
      ref={element}
      className={TREE_CLASS}
      role="tree"
      aria-label={trans.__('What was found')}
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
 * Keep the current line in sight, and focused while the focus is in the tree. A line that is taken away takes the focus
 * with it, without leaving the tree.
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

/** Where a line stands among those beside it, since not all of them are in the page. */
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
        onDoubleClick={event => event.stopPropagation()} // two clicks are enough
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

/** A name that is cut in its middle where there is no room: names of data begin alike, and differ at their ends. */
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

/** The state of a branch, in a line of its own. */
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
    loading: trans.__('asking…'),
    slow: trans.__('still asking… Enter cancels'),
    cancelled: trans.__('cancelled; Enter asks again')
  };
  return (
    <span className="jp-RucioLab-remark">
      <span>{words[phase] ?? ''}</span>
    </span>
  );
}

/** What Enter and a double click do: open or close, attach, or ask again. */
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

/** The keys of a tree, as the ARIA practices have them. */
function onKey(event: React.KeyboardEvent, props: ITreeProps): void {
  if (event.shiftKey || event.ctrlKey || event.altKey || event.metaKey) {
    return; // commands have shortcuts of their own
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
