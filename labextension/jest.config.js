const jupyterlab = require('@jupyterlab/testutils/lib/jest-config')(__dirname);

// JupyterLab's packages are ES modules, too.
const [ignored] = jupyterlab.transformIgnorePatterns;

module.exports = {
  ...jupyterlab,
  coverageReporters: ['text'],
  reporters: ['default'],
  testEnvironment: '<rootDir>/jest-env.js',
  testRegex: '/src/__tests__/.*\\.spec\\.tsx?$',
  transformIgnorePatterns: [ignored.replace('(?!', '(?!@jupyterlab/|')]
};
