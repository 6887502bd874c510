SELECT
  "t1"."day__month" AS "key_1",
  COUNT(*) AS "measure_0",
  SUM("t1"."loss") AS "measure_1"
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
    AND "t0"."day" IS NOT NULL
) AS "t1"
GROUP BY
  1;
SELECT
  "t1"."day__month" AS "key_1",
  COUNT(DISTINCT "t1"."unit_") AS "measure_0"
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
    AND "t0"."day" IS NOT NULL
) AS "t1"
GROUP BY
  1;
