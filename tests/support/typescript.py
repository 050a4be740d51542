"""Call functions of the sidebar's TypeScript sources from Python, through Node."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

FOLDER = Path(__file__).parents[2] / "labextension"

_SERVE = """
const [fs, ts] = [require('fs'), require('typescript')];
const compilerOptions = { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2022 };
require.extensions['.ts'] = (module, path) =>
  module._compile(ts.transpileModule(fs.readFileSync(path, 'utf8'), { compilerOptions }).outputText, path);
require('readline').createInterface({ input: process.stdin }).on('line', line => {
  const [path, name, given] = JSON.parse(line);
  console.log(JSON.stringify(require(`./src/${path}.ts`)[name](...given)));
});
"""


class TypeScript:
    """Functions of the sidebar, as a context manager."""

    def __enter__(self) -> TypeScript:
        self._node = subprocess.Popen(
            ["node", "-e", _SERVE], cwd=FOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._node.communicate(timeout=60)

    def call(self, function: str, *given: Any) -> Any:
        """Call an exported function, such as ``code.quote``."""
        assert self._node.stdin
        assert self._node.stdout
        path, _, name = function.rpartition(".")
        self._node.stdin.write(json.dumps([path, name, given]) + "\n")
        self._node.stdin.flush()
        return json.loads(self._node.stdout.readline())
