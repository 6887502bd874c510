SELECT
  "t0"."unit_",
  "t0"."day" AS "key_0",
  "t0"."role" AS "key_1",
  "t0"."loss" IS NULL AS "passes_1"
FROM "snapshot" AS "t0"
WHERE
  "t0"."rank_" <= 3
  AND "t0"."day" IS NOT NULL
  AND COALESCE("t0"."day", 0) >= 20089
  AND COALESCE("t0"."day", 0) <= 20093;
SELECT
  "t0"."key_0",
  "t0"."key_1",
  COUNT(*) AS "measure_0",
  COUNT(DISTINCT "t0"."unit_") FILTER(WHERE
    "t0"."passes_1") AS "measure_1"
FROM "kept" AS "t0"
GROUP BY
  1,
  2;
SELECT
  "t0"."key_1",
  COUNT(*) AS "measure_0",
  COUNT(DISTINCT "t0"."unit_") FILTER(WHERE
    "t0"."passes_1") AS "measure_1"
FROM "kept" AS "t0"
GROUP BY
  1;
SELECT
  COUNT(*) AS "measure_0",
  COUNT(DISTINCT "t0"."unit_") FILTER(WHERE
    "t0"."passes_1") AS "measure_1"
FROM "kept" AS "t0"
