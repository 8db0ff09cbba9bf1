/** Turning a history into a file that names no machine: no stack traces, no worker identities, no absolute paths. */
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';

type History = Parameters<typeof historyToJSON>[0];

const withoutPaths = (text: string) =>
  text.replaceAll(/\d+@[\w.-]+/g, '1@worker').replaceAll(/(?:\/[\w.+-]+){2,}(?=\/[\w.+-]+)/g, '/p2r');

function cleaned(value: unknown, key: string): unknown {
  if (Array.isArray(value)) return value.map((item) => cleaned(item, key));
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, cleaned(item, name)]));
  if (typeof value !== 'string') return value;
  if (key === 'stackTrace') return '';
  if (key === 'data')
    return Buffer.from(withoutPaths(Buffer.from(value, 'base64').toString('utf8'))).toString('base64');
  return key === 'identity' || key === 'message' ? withoutPaths(value) : value;
}

/** JSON of a history for test/replay.test.ts. */
export function recordedHistory(history: History): string {
  return `${JSON.stringify(cleaned(JSON.parse(historyToJSON(history)), ''), null, 1)}\n`;
}
