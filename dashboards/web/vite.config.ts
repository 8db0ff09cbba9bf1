import { defineConfig } from 'vite';
import { pageFolder } from './sources.ts';

/** Everything the page needs, in files of its own: no inline script, no data URL, no address outside. */
export default defineConfig({
  root: import.meta.dirname,
  base: '/',
  logLevel: 'warn',
  // The same page whoever builds it: a test's environment would ask for a development build, which names the files of its machine.
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact', development: false } },
  build: {
    outDir: pageFolder(),
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: false,
    chunkSizeWarningLimit: 2000,
    target: 'es2022',
    rolldownOptions: {
      output: {
        codeSplitting: { groups: [{ name: 'plotly', test: /plotly\.js-basic-dist-min/ }] },
      },
    },
  },
});
