/**
 * Messages that are used in more than one place.
 */
import { TranslationBundle } from '@jupyterlab/translation';

import { LakeError } from './api';
import { Fault } from './names';
import { printable } from './text';

/** A sentence that says what happened, and one that says what to do. */
export interface IWords {
  message: string;
  remedy: string;
}

/** Describe an error: the server's message, and what can be done in the page. */
export function wordsOf(error: LakeError, trans: TranslationBundle): IWords {
  return (
    ownWords(error.code, trans) ?? {
      message: printable(error.message) || trans.__('Something went wrong.'),
      remedy: remedyOf(error, trans)
    }
  );
}

/**
 * The server's remedies fit causes outside the page: configuration, network, Rucio itself. For what can be fixed in the
 * page they are written for notebooks, so the page has remedies of its own.
 */
function remedyOf({ code, rucio, remedy }: LakeError, trans: TranslationBundle): string {
  if (rucio === 'ScopeNotFound') {
    return printable(remedy); // it lists the scopes
  }
  const own: Record<string, string> = {
    files_unavailable: trans.__(
      'A replication rule can copy the files to a disk; ask the people who run this instance.'
    ),
    not_found: trans.__('Check the scope and the name, or search for it.'),
    sign_in_needed: trans.__('Sign in again to continue.')
  };
  return own[code] ?? printable(remedy);
}

/** Messages for what the server cannot report. */
function ownWords(code: string, trans: TranslationBundle): IWords | undefined {
  const own: Record<string, IWords> = {
    cut: {
      message: trans.__('The answer was cut off.'),
      remedy: trans.__('Try again. The results shown may be incomplete.')
    },
    expired: {
      message: trans.__('Your sign-in expired.'),
      remedy: trans.__('Sign in again to continue.')
    },
    signed_out: {
      message: trans.__('You were signed out elsewhere.'),
      remedy: trans.__('Sign in again to continue.')
    },
    jupyter: {
      message: trans.__('You are no longer signed in to Jupyter.'),
      remedy: trans.__('Reload the page and sign in to Jupyter.')
    },
    network: {
      message: trans.__('The Jupyter server does not answer.'),
      remedy: trans.__('Check that it is running and that you are online.')
    }
  };
  return own[code];
}

/** Explain why a name cannot be used for a variable. */
export function faultWords(fault: Fault, trans: TranslationBundle): string {
  return {
    empty: trans.__('The variable needs a name.'),
    'no name': trans.__('Use only letters, digits and _, and do not start with a digit.'),
    keyword: trans.__('This is a Python keyword.'),
    builtin: trans.__('This is a Python builtin.'),
    ipython: trans.__('IPython uses this name.')
  }[fault];
}

/** Format a size: 1.5 GB. */
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

/** Format a number with thousands separators. */
export function numberText(value: number): string {
  return value.toLocaleString('en-US');
}

/** Format the time left: 2 h 5 min. */
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
