SELECT
  "t1"."colour" AS "key_0",
  COUNT(*) AS "measure_0"
FROM (
  SELECT
    *
  FROM "snapshot" AS "t0"
  WHERE
    "t0"."rank_" <= 1
    AND "t0"."day" IS NOT NULL
    AND COALESCE("t0"."day", 0) >= 20103
    AND COALESCE("t0"."day", 0) <= 20178
) AS "t1"
GROUP BY
  1;
