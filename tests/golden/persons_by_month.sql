SELECT
  "t0"."unit_",
  "t0"."day__month" AS "key_1",
  "t0"."loss" AS "value_2"
FROM "snapshot" AS "t0"
WHERE
  "t0"."rank_" <= 3
  AND "t0"."role" IN (0, 2)
  AND "t0"."loss" IS NOT NULL
  AND COALESCE("t0"."loss", 0) <= 20
  AND (
    (
      (
        "t0"."day" IS NOT NULL
      ) AND (
        COALESCE("t0"."day", 0) >= 20393
      )
    )
    OR "t0"."role" IN (2)
  )
  AND "t0"."day" IS NOT NULL;
SELECT
  "t0"."key_1",
  COUNT(*) AS "measure_0",
  COUNT(DISTINCT "t0"."unit_") AS "measure_1",
  SUM("t0"."value_2") AS "measure_2"
FROM "kept" AS "t0"
GROUP BY
  1
