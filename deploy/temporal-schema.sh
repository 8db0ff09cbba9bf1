#!/bin/sh
# Makes or updates Temporal's two databases; run again after every change of TEMPORAL_VERSION. SQL_PASSWORD comes from the environment.
set -eu
for pair in temporal:temporal temporal_visibility:visibility; do
  database=${pair%%:*}
  schema=${pair##*:}
  tool="temporal-sql-tool --plugin postgres12 --ep $POSTGRES_SEEDS -p $DB_PORT -u $POSTGRES_USER --db $database"
  $tool create || echo "$database is there already"
  $tool setup-schema -v 0.0 || echo "$database has its schema already"
  $tool update-schema -d "/etc/temporal/schema/postgresql/v12/$schema/versioned"
done
