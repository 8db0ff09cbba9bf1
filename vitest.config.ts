import { defineConfig } from 'vitest/config';

/** Unit tests stand beside their code; tests that cross folders are in test/. */
export default defineConfig({
  test: {
    include: ['**/*.test.ts'],
    // What is waited for may come late on a busy machine; how fast it comes is measured elsewhere.
    expect: { poll: { timeout: 20_000 } },
    exclude: ['node_modules', '.venv', '.venv-notebooks', '.p2r', 'dist'],
    testTimeout: 30_000,
    // By itself vitest leaves a core free; most tests wait for processes of their own, so that two files side by side are done sooner.
    maxWorkers: '100%',
  },
});
