SELECT
  "t1"."day__month",
  COUNT(*) AS "measure_0",
  COUNT(DISTINCT "t1"."unit_") AS "measure_1",
  SUM("t1"."loss") AS "measure_2"
FROM (
  SELECT
    *
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
) AS "t1"
GROUP BY
  1
