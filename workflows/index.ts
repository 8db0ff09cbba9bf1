/** Everything the worker bundles. */
export { evaluation } from './evaluation.ts';
export { experiment } from './experiment.ts';
export { iteration } from './iteration.ts';
export { phase } from './phase.ts';
