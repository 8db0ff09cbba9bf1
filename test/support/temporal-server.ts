/** A Temporal server for one test file: the binary that setup installed, with the project's search attributes. */
import path from 'node:path';
import { TestWorkflowEnvironment } from '@temporalio/testing';
import { SEARCH_ATTRIBUTES } from '../../workflows/search-attributes.ts';

const TEMPORAL = path.resolve(import.meta.dirname, '..', '..', '.venv', 'bin', 'temporal');

/** Starts it; the caller tears it down. */
export function temporalServer(): Promise<TestWorkflowEnvironment> {
  return TestWorkflowEnvironment.createLocal({
    server: {
      executable: { type: 'existing-path', path: TEMPORAL },
      searchAttributes: Object.values(SEARCH_ATTRIBUTES),
    },
  });
}
