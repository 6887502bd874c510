SELECT
  CAST(FLOOR((
    "t1"."loss"
  ) / (
    25
  )) AS BIGINT) AS "key_0",
  CAST(FLOOR((
    "t1"."day__month"
  ) / (
    3
  )) AS BIGINT) AS "key_1",
  COUNT(*) FILTER(WHERE
    "t1"."role" IN (1)) AS "measure_0",
  SUM("t1"."loss" - 40) FILTER(WHERE
    "t1"."day" IS NOT NULL) AS "measure_1",
  SUM((
    (
      "t1"."loss" - -3
    ) * (
      "t1"."loss" - -3
    )
  ) - 50) AS "measure_2"
FROM (
  SELECT
    *
  FROM "snapshot" AS "t0"
  WHERE
    "t0"."rank_" <= 3 AND "t0"."loss" IS NOT NULL AND "t0"."day" IS NOT NULL
) AS "t1"
GROUP BY
  1,
  2;
