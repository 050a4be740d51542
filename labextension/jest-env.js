const { default: JSDOMEnvironment } = require('@jupyterlab/testing/lib/jest-env');

// JupyterLab's environment has Node's fetch, which takes Node's signals only.
module.exports = class extends JSDOMEnvironment {
  constructor(...given) {
    super(...given);
    this.global.AbortController = AbortController;
    this.global.AbortSignal = AbortSignal;
  }
};
