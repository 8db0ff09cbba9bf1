/** Comma-separated files of ordinary size, through DuckDB's reader. */
import { BenchmarkError } from '../item.ts';

/** Records with all cells as text. Throws a BenchmarkError with DuckDB's first line when the file is no CSV. */
export async function* csvRecords(file: string): AsyncGenerator<Record<string, string>> {
  // Loaded here: its library takes tens of megabytes that only this format needs.
  const { DuckDBInstance } = await import('@duckdb/node-api');
  const instance = await DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  try {
    const literal = file.replaceAll("'", "''");
    const result = await connection
      .stream(
        `SELECT * FROM read_csv('${literal}', all_varchar = true, header = true, max_line_size = 20000000)`,
      )
      .catch((error: Error) => {
        throw new BenchmarkError(file, error.message.split('\n')[0] ?? 'it is no CSV');
      });
    const names = result.columnNames();
    for (;;) {
      const chunk = await result.fetchChunk();
      if (chunk === null || chunk.rowCount === 0) return;
      for (const row of chunk.getRows())
        yield Object.fromEntries(names.map((name, index) => [name, String(row[index] ?? '')]));
    }
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
}
