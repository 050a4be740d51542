/**
 * The visible text of a view.
 */
import { ReactWidget } from '@jupyterlab/apputils';
import { Widget } from '@lumino/widgets';

import { until } from './server';

/**
 * Return the texts of a view, including attributes with text.
 *
 * @param skip - Selector for elements to ignore: code and images.
 */
export async function textsOf(view: JSX.Element, skip = 'pre, svg'): Promise<string[]> {
  const widget = ReactWidget.create(view);
  Widget.attach(widget, document.body);
  const { node } = widget;
  await until(() => node.textContent !== '');
  node.querySelectorAll(skip).forEach(each => each.remove());
  const named = ['aria-label', 'title', 'placeholder', 'alt'];
  const attributes = [...node.querySelectorAll('*')].flatMap(each =>
    named.map(name => each.getAttribute(name) ?? '')
  );
  const walker = document.createTreeWalker(node, NodeFilter.SHOW_TEXT);
  const texts = [];
  while (walker.nextNode()) {
    texts.push(walker.currentNode.textContent!);
  }
  widget.dispose();
  return [...attributes, ...texts];
}
