SELECT
  "t0"."unit_",
  "t0"."colour" AS "key_0"
FROM "snapshot" AS "t0"
WHERE
  "t0"."rank_" <= 1
  AND "t0"."day" IS NOT NULL
  AND COALESCE("t0"."day", 0) >= 20103
  AND COALESCE("t0"."day", 0) <= 20178;
SELECT
  "t0"."key_0",
  COUNT(*) AS "measure_0"
FROM "kept" AS "t0"
GROUP BY
  1
