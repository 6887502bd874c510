SELECT
  "t0"."unit_",
  CAST(FLOOR((
    "t0"."loss"
  ) / (
    25
  )) AS BIGINT) AS "key_0",
  CAST(FLOOR((
    "t0"."day__month"
  ) / (
    3
  )) AS BIGINT) AS "key_1",
  "t0"."role" IN (1) AS "passes_0",
  "t0"."day" IS NOT NULL AS "passes_1",
  "t0"."loss" - 40 AS "value_1",
  (
    (
      "t0"."loss" - -3
    ) * (
      "t0"."loss" - -3
    )
  ) - 50 AS "value_2"
FROM "snapshot" AS "t0"
WHERE
  "t0"."rank_" <= 3 AND "t0"."loss" IS NOT NULL AND "t0"."day" IS NOT NULL;
SELECT
  "t0"."key_0",
  "t0"."key_1",
  COUNT(*) FILTER(WHERE
    "t0"."passes_0") AS "measure_0",
  SUM("t0"."value_1") FILTER(WHERE
    "t0"."passes_1") AS "measure_1",
  SUM("t0"."value_2") AS "measure_2"
FROM "kept" AS "t0"
GROUP BY
  1,
  2
