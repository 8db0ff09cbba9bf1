/** The parquet file an engine trains from: one rendered prompt a row. */
import { rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { DuckDBInstance, LIST, listValue, VARCHAR } from '@duckdb/node-api';

/** A prompt as the engine sees it; `images` are absolute paths, shown before the user's text. */
export type TrainingRow = { sample_id: string; system: string; user: string; images: string[] };

/** Writes the rows in order, by rename, so that a reader sees all of them or no file. */
export async function writeTrainingSet(file: string, rows: TrainingRow[]): Promise<void> {
  const instance = await DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  const temporary = path.join(path.dirname(file), `.${path.basename(file)}.${process.pid}`);
  try {
    await connection.run(
      'CREATE TABLE rows (position INTEGER, sample_id VARCHAR, "system" VARCHAR, "user" VARCHAR, images VARCHAR[])',
    );
    const appender = await connection.createAppender('rows');
    rows.forEach((row, position) => {
      appender.appendInteger(position);
      appender.appendVarchar(row.sample_id);
      appender.appendVarchar(row.system);
      appender.appendVarchar(row.user);
      appender.appendList(listValue(row.images), LIST(VARCHAR));
      appender.endRow();
    });
    appender.closeSync();
    await connection.run(
      `COPY (SELECT sample_id, "system", "user", images FROM rows ORDER BY position) TO '${temporary.replaceAll("'", "''")}' (FORMAT parquet)`,
    );
    await rename(temporary, file);
  } finally {
    connection.closeSync();
    instance.closeSync();
    await rm(temporary, { force: true });
  }
}
