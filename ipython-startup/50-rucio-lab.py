# ruff: noqa: D100, I002 - this runs among the user's variables: a docstring or a __future__ import would be one of them.
# Makes the magics of rucio_lab known to every IPython of this environment. It prints nothing and never fails: a file
# here that raises would keep those after it from running.


def _rucio_lab_startup():
    import os
    import sys
    from pathlib import Path

    del globals()["_rucio_lab_startup"]
    path = sys.path[:]
    try:  # not from the working folder, which may be anybody's: "", or one that stands before Python's own modules
        own, here = path.index(str(Path(os.__file__).parent)), Path.cwd()
        sys.path[:] = [each for i, each in enumerate(path) if each and (i > own or Path(each).resolve() != here)]
        import rucio_lab

        rucio_lab.load_ipython_extension(get_ipython())  # noqa: F821 - IPython puts it there
    except Exception:  # noqa: BLE001, S110 - `%load_ext rucio_lab` and `rucio-lab doctor` say what is wrong
        pass
    finally:
        sys.path[:] = path


_rucio_lab_startup()
