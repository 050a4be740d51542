/**
 * What is said to the user in more than one place.
 */
import { TranslationBundle } from '@jupyterlab/translation';

import { LakeError } from './api';
import { Fault } from './names';
import { printable } from './text';

/** One sentence on what happened, and one on what to do. */
export interface IWords {
  message: string;
  remedy: string;
}

/** Put an error into words: what the server says of it, and what can be done in the page. */
export function wordsOf(error: LakeError, trans: TranslationBundle): IWords {
  return (
    ownWords(error.code, trans) ?? {
      message: printable(error.message) || trans.__('Something went wrong.'),
      remedy: remedyOf(error, trans)
    }
  );
}

/**
 * The server's remedies fit wherever the cause lies outside of the page: configuration, network, Rucio itself. For what
 * can be mended in the page they speak of notebooks, and it has ways of its own.
 */
function remedyOf({ code, rucio, remedy }: LakeError, trans: TranslationBundle): string {
  if (rucio === 'ScopeNotFound') {
    return printable(remedy); // it names those that there are
  }
  const own: Record<string, string> = {
    files_unavailable: trans.__(
      'A rule can bring a copy to a disk that can be read; those who run the instance know how.'
    ),
    not_found: trans.__('Check the scope and the name; the search shows what there is.'),
    sign_in_needed: trans.__('Sign in again to go on.')
  };
  return own[code] ?? printable(remedy);
}

/** The words for what the server cannot tell. */
function ownWords(code: string, trans: TranslationBundle): IWords | undefined {
  const own: Record<string, IWords> = {
    cut: {
      message: trans.__('The answer broke off before its end.'),
      remedy: trans.__('Ask again; what is shown may be incomplete.')
    },
    expired: {
      message: trans.__('Your sign-in ran out.'),
      remedy: trans.__('Sign in again to go on.')
    },
    signed_out: {
      message: trans.__('You were signed out elsewhere.'),
      remedy: trans.__('Sign in again to go on.')
    },
    jupyter: {
      message: trans.__('Jupyter no longer knows who you are.'),
      remedy: trans.__('Reload the page and sign in to Jupyter.')
    },
    network: {
      message: trans.__('The Jupyter server does not answer.'),
      remedy: trans.__('Check that it runs and that you are online.')
    }
  };
  return own[code];
}

/** Say why a name cannot be a variable's. */
export function faultWords(fault: Fault, trans: TranslationBundle): string {
  return {
    empty: trans.__('The variable needs a name.'),
    'no name': trans.__('A name has letters, digits and _ only, no digit first.'),
    keyword: trans.__('This is a keyword of Python.'),
    builtin: trans.__('This is a builtin of Python.'),
    ipython: trans.__('This name belongs to IPython.')
  }[fault];
}

/** Write a size in the units of people: 1.5 GB. */
export function sizeText(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB'];
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  const digits = unit && value < 99.5 ? (value < 9.95 ? 2 : 1) : 0;
  return `${value.toFixed(digits)} ${units[unit]}`;
}

/** Write a number with its thousands apart. */
export function numberText(value: number): string {
  return value.toLocaleString('en-US');
}

/** Write how long something still lasts: 2 h 5 min. */
export function timeText(milliseconds: number, trans: TranslationBundle): string {
  const minutes = Math.floor(milliseconds / 60_000);
  if (minutes < 1) {
    return trans.__('less than 1 min');
  }
  if (minutes < 60) {
    return trans.__('%1 min', minutes);
  }
  const hours = Math.floor(minutes / 60);
  if (hours >= 48) {
    return trans.__('%1 days', Math.floor(hours / 24));
  }
  return minutes % 60 ? trans.__('%1 h %2 min', hours, minutes % 60) : trans.__('%1 h', hours);
}
