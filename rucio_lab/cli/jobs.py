"""``rucio-lab jobs`` and ``rucio-lab job``: the downloads that run in the background."""

from __future__ import annotations

import argparse
import sys
from datetime import datetime

from rucio_lab.api.tables import text_table
from rucio_lab.core.jobs.job import Job
from rucio_lab.core.jobs.registry import Jobs
from rucio_lab.core.text import printable
from rucio_lab.core.words import several, size

_ACTIONS = {
    "run": "run it in this process; for internal use",
    "log": "print what happened",
    "cancel": "stop it; finished and partial files are kept",
    "retry": "start it again",
    "forget": "remove it from the list; its files are kept",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb ``job``; ``jobs`` has none."""
    if parser.prog.endswith(" job"):
        does = "; ".join(f"{action}: {what}" for action, what in _ACTIONS.items())
        parser.add_argument("action", choices=tuple(_ACTIONS), help=does)
        parser.add_argument("id", metavar="ID", help="as `rucio-lab jobs` shows it")


def run(options: argparse.Namespace) -> int:
    """List all jobs, or do something with one.

    Returns
    -------
    int
        0; for ``run``, 1 if some files could not be downloaded.
    """
    jobs = Jobs()
    if options.verb == "jobs":
        print(_table(jobs.all()))
    elif options.action == "run":
        from rucio_lab.core.jobs.run import run as run_job

        return run_job(jobs, options.id)
    elif options.action == "log":
        sys.stdout.write(jobs.log(options.id))
    elif options.action == "forget":
        jobs.forget(options.id)
    else:
        job = jobs.cancel(options.id) if options.action == "cancel" else jobs.retry(options.id)
        print(f"{job.id}: {job.state}. {printable(job.message)}".strip())
    return 0


def _table(jobs: list[Job]) -> str:
    if not jobs:
        return "There are no jobs. The sidebar in JupyterLab starts them."
    rows = [(job.id, _when(job.created), several(job.dids), job.state, _progress(job), job.message) for job in jobs]
    return text_table(("id", "since", "what", "state", "progress", ""), rows)


def _when(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds).astimezone():%m-%d %H:%M}"


def _progress(job: Job) -> str:
    if job.bytes is None:
        return ""
    parts = [f"{job.files_done:,}/{job.files:,} files", f"{size(job.bytes_done)} of {size(job.bytes)}"]
    if job.active and job.rate:
        parts.append(f"{size(job.rate)}/s")
    if job.active and job.seconds_left is not None:
        parts.append(f"{job.seconds_left:,.0f} s left")
    return ", ".join(parts)
