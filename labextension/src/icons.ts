/**
 * Our own icons; all others come from JupyterLab.
 */
import { LabIcon } from '@jupyterlab/ui-components';

import attachSvg from '../style/icons/attach.svg';
import containerSvg from '../style/icons/container.svg';
import datasetSvg from '../style/icons/dataset.svg';
import lakeSvg from '../style/icons/lake.svg';

export const lakeIcon = new LabIcon({ name: 'rucio-lab:lake', svgstr: lakeSvg });

export const attachIcon = new LabIcon({
  name: 'rucio-lab:attach',
  svgstr: attachSvg
});

export const containerIcon = new LabIcon({
  name: 'rucio-lab:container',
  svgstr: containerSvg
});

export const datasetIcon = new LabIcon({
  name: 'rucio-lab:dataset',
  svgstr: datasetSvg
});
