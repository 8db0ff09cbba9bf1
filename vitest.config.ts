import { defineConfig } from 'vitest/config';

/** Unit tests stand beside their code; tests that cross folders are in test/. */
export default defineConfig({
  test: {
    include: ['**/*.test.ts'],
    exclude: ['node_modules', '.venv', '.venv-notebooks', '.p2r', 'dist'],
    testTimeout: 30_000,
  },
});
