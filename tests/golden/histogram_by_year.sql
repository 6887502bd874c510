SELECT
  CAST(FLOOR((
    "t1"."day__month"
  ) / (
    12
  )) AS BIGINT) AS "key_0",
  CAST(FLOOR((
    "t1"."loss" - -20
  ) / (
    4
  )) AS BIGINT) AS "bin",
  COUNT(*) AS "measure_0"
FROM (
  SELECT
    *
  FROM "snapshot" AS "t0"
  WHERE
    "t0"."rank_" <= 3
    AND "t0"."day" IS NOT NULL
    AND COALESCE("t0"."day", 0) >= 20100
    AND "t0"."loss" IS NOT NULL
    AND "t0"."role" IN (1)
) AS "t1"
GROUP BY
  1,
  2;
