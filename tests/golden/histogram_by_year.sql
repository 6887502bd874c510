SELECT
  "t0"."unit_",
  CAST(FLOOR((
    "t0"."day__month"
  ) / (
    12
  )) AS BIGINT) AS "key_0",
  "t0"."role" IN (1) AS "passes_0",
  CAST(FLOOR((
    "t0"."loss" - -20
  ) / (
    4
  )) AS BIGINT) AS "value_0"
FROM "snapshot" AS "t0"
WHERE
  "t0"."rank_" <= 3 AND "t0"."day" IS NOT NULL AND COALESCE("t0"."day", 0) >= 20100;
SELECT
  "t1"."key_0",
  "t1"."value_0",
  COUNT(*) AS "measure"
FROM (
  SELECT
    *
  FROM "kept" AS "t0"
  WHERE
    "t0"."value_0" IS NOT NULL AND "t0"."passes_0"
) AS "t1"
GROUP BY
  1,
  2
